"""Which streams a codec, as offered, can decode; and how to say what a codec is in words.

Levels are never a reason to refuse. They state what a sender means to reach or a receiver
guarantees, clients leave them at their library's default (OBS says 3.1 for 1080p60), and
`level-asymmetry-allowed` exists because they differ. Profiles, which decoders do depend on,
must fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from live777py.protocol.codecs import KINDS, Codec, Kind

#: The codecs that are forwarded, by kind, in the spelling of their registration.
FORWARDED_CODECS: dict[Kind, tuple[str, ...]] = {
    "audio": ("opus", "multiopus", "G722", "PCMU", "PCMA"),
    "video": ("H264", "H265", "VP8", "VP9", "AV1"),
}

#: Receivers that offer Baseline alone (Firefox with OpenH264, players with FFmpeg's decoder) decode
#: Main and High none the less, and OBS streams High: refusing them would refuse a picture.
_LAST_RESORT = ("Constrained Baseline", "Baseline")

#: H.264 profiles, by what a decoder of the key can decode. The order is that of preference:
#: itself first, then from the narrowest to the widest. RFC 6184 table 5, H.264 annex A.2.
#: Two more liberties: Baseline counts as its constrained form too, and a decoder of Constrained
#: High (all that Safari offers beside Baseline) will do for High and Main. What sets them apart
#: (FMO and ASO; interlacing and B slices) live encoders do not make, but the flags that promise
#: so are often forgotten.
_H264_DECODERS: dict[str, tuple[str, ...]] = {
    "Constrained Baseline": (
        "Constrained Baseline",
        "Baseline",
        "Main",
        "Constrained High",
        "High",
        "High 10",
        "High 4:2:2",
        "High 4:4:4",
        "Extended",
    ),
    "Baseline": (
        "Baseline",
        "Constrained Baseline",
        "Extended",
        "Main",
        "Constrained High",
        "High",
        "High 10",
        "High 4:2:2",
        "High 4:4:4",
    ),
    "Main": (
        "Main",
        "High",
        "High 10",
        "High 4:2:2",
        "High 4:4:4",
        "Constrained High",
        *_LAST_RESORT,
    ),
    "Extended": ("Extended",),
    "Constrained High": (
        "Constrained High",
        "High",
        "High 10",
        "High 4:2:2",
        "High 4:4:4",
        "Main",
        *_LAST_RESORT,
    ),
    "High": (
        "High",
        "High 10",
        "High 4:2:2",
        "High 4:4:4",
        "Constrained High",
        "Main",
        *_LAST_RESORT,
    ),
    "High 10": ("High 10", "High 4:2:2", "High 4:4:4"),
    "High 4:2:2": ("High 4:2:2", "High 4:4:4"),
    "High 4:4:4": ("High 4:4:4",),
    "CAVLC 4:4:4 Intra": ("CAVLC 4:4:4 Intra", "High 4:4:4"),
}

_H264_PROFILES = {
    66: "Baseline",
    77: "Main",
    88: "Extended",
    100: "High",
    110: "High 10",
    122: "High 4:2:2",
    244: "High 4:4:4",
    44: "CAVLC 4:4:4 Intra",
}

#: What constraint_set0 and constraint_set1 make of the older profiles.
_H264_CONSTRAINED = {
    ("Baseline", False, True): "Constrained Baseline",
    ("Baseline", True, True): "Constrained Baseline",
    ("Main", True, False): "Constrained Baseline",
    ("Main", True, True): "Constrained Baseline",
    ("Extended", True, True): "Constrained Baseline",
    ("Extended", True, False): "Baseline",
    ("Extended", False, True): "Main",
}

#: H.265 profiles (general_profile_idc) and which decoders take them: Main is a subset of
#: Main 10, a still picture is one of Main (H.265 annex A.3).
_H265_DECODERS = {"1": ("1", "2"), "3": ("3", "1", "2")}
_H265_PROFILES = {"1": "Main", "2": "Main 10", "3": "Main Still Picture"}

#: AV1 profiles: High decodes Main, Professional decodes both (AV1 section 6.4.1).
_AV1_DECODERS = {"0": ("0", "1", "2"), "1": ("1", "2")}
_AV1_PROFILES = {"0": "Main", "1": "High", "2": "Professional"}


def matches(source: Codec, offered: Codec) -> bool:
    """Whether a peer that offers one codec can decode a stream of another."""
    return mismatch(source, offered) is not None


def mismatch(source: Codec, offered: Codec) -> tuple[int, ...] | None:
    """How far an offered codec is from what a stream needs.

    Returns:
        None when it cannot decode the stream, else a value that is smaller the closer the two
        are. Of several payload types that fit, the one with the smallest is to be used.
    """
    if (
        source.kind != offered.kind
        or source.name.lower() != offered.name.lower()
        or source.clock_rate != offered.clock_rate
        or source.channels != offered.channels
    ):
        return None
    match source.name.lower():
        case "h264":
            return _h264_mismatch(source, offered)
        case "h265":
            return _h265_mismatch(source, offered)
        case "av1":
            return _position(source, offered, "profile", "0", _AV1_DECODERS)
        case "vp9":
            # The profiles of VP9 are bit depths and samplings; none contains another.
            return _position(source, offered, "profile-id", "0", {})
        case "multiopus":
            return _equal(
                source, offered, "channel_mapping", "num_streams", "coupled_streams"
            )
        case _:
            return (0,)


def best_match(source: Codec, offered: Iterable[Codec]) -> Codec | None:
    """Of several offered codecs the closest that can decode the stream, the first of equals."""
    found = [
        (distance, codec)
        for codec in offered
        if (distance := mismatch(source, codec)) is not None
    ]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def lacks_fragments(source: Codec, offered: Iterable[Codec]) -> bool:
    """Whether H.264 fails by its packets alone: fragments and aggregates, and none are taken.

    Those of packetization-mode=1 mean nothing to a receiver of mode 0 (RFC 6184 section 6.2).
    """
    codecs = tuple(offered)
    kept = tuple(p for p in source.parameters if p[0] != "packetization-mode")
    in_single_units = replace(source, parameters=kept)
    return (
        best_match(source, codecs) is None
        and best_match(in_single_units, codecs) is not None
    )


def h264_profile(profile_level_id: str | None) -> str | None:
    """The profile that six hexadecimal digits stand for (RFC 6184 section 8.1).

    Returns:
        Its name, such as "Constrained Baseline"; None for a value that is missing, unknown
        or malformed, as FFmpeg 8.0 writes it ("422001e").
    """
    if profile_level_id is None or not re.fullmatch("[0-9A-Fa-f]{6}", profile_level_id):
        return None
    idc, iop, _ = bytes.fromhex(profile_level_id)
    name = _H264_PROFILES.get(idc)
    # A stream obeys every profile whose constraint_set flag it sets, whatever its profile_idc;
    # the flags are the bits from the top.
    flags = (bool(iop & 0x80), bool(iop & 0x40))
    if name is None:
        return None
    if name == "High" and iop & 0x0C == 0x0C:
        return "Constrained High"
    return _H264_CONSTRAINED.get((name, *flags), name)


def codec_from_sps(codec: Codec, profile_level_id: str) -> Codec:
    """The codec with the profile and level that the stream's own parameter set states.

    An offer may promise another profile than its encoder makes: OBS always says 42e01f.
    """
    parameters = dict(codec.parameters)
    parameters["profile-level-id"] = profile_level_id.lower()
    return replace(codec, parameters=tuple(parameters.items()))


def is_stereo(codec: Codec) -> bool:
    """Whether an Opus publisher may send two channels (RFC 7587 section 7.1).

    An offer without any parameter (FFmpeg, which encodes what it is given) says nothing, and
    a viewer that is told "stereo" plays mono just as well; the other way round it does not.
    """
    if codec.name.lower() != "opus":
        return False
    if not codec.parameters:
        return True
    return "1" in (codec.parameter("stereo"), codec.parameter("sprop-stereo"))


def describe(codec: Codec) -> str:
    """What the codec is, for people: "H264 High 4.0", "VP9 profile 2", "opus"."""
    match codec.name.lower():
        case "h264":
            return " ".join((codec.name, *_h264_words(codec)))
        case "h265":
            profile = codec.parameter("profile-id") or "1"
            return f"{codec.name} {_H265_PROFILES.get(profile, f'profile {profile}')}"
        case "av1":
            profile = codec.parameter("profile") or "0"
            return f"{codec.name} {_AV1_PROFILES.get(profile, f'profile {profile}')}"
        case "vp9":
            profile = codec.parameter("profile-id") or "0"
            return codec.name if profile == "0" else f"{codec.name} profile {profile}"
        case "multiopus":
            return f"{codec.name} of {codec.channels} channels"
        case _:
            return codec.name


def describe_all(codecs: Iterable[Codec]) -> str:
    """Several codecs for a sentence, each description once; "nothing" for none."""
    return ", ".join(dict.fromkeys(describe(codec) for codec in codecs)) or "nothing"


def describe_stream(source: Mapping[Kind, Codec]) -> str:
    """A stream for a sentence, picture first: "H264 High 4.0 and opus"."""
    return " and ".join(
        describe(source[kind]) for kind in reversed(KINDS) if kind in source
    )


def _h264_words(codec: Codec) -> tuple[str, ...]:
    value = codec.parameter("profile-level-id")
    profile = h264_profile(value)
    if value is None or profile is None:
        return ()
    _, iop, level = bytes.fromhex(value)
    # Level 1b is written as 9, or in the older profiles as 1.1 with constraint_set3.
    if level == 9 or (level == 11 and iop & 0x10 and not profile.startswith("High")):
        return profile, "1b"
    return profile, f"{level // 10}.{level % 10}"


def _h264_mismatch(source: Codec, offered: Codec) -> tuple[int, ...] | None:
    wanted = h264_profile(source.parameter("profile-level-id"))
    given = h264_profile(offered.parameter("profile-level-id"))
    mode = _h264_mode_mismatch(source, offered)
    decoders = _H264_DECODERS[wanted or "Constrained Baseline"]
    if mode is None or (given is not None and given not in decoders):
        return None
    # Who names no profile (GStreamer) decodes all; by the letter it is Baseline level 1.
    return mode, len(_H264_DECODERS) if given is None else decoders.index(given)


def _h264_mode_mismatch(source: Codec, offered: Codec) -> int | None:
    wanted = source.parameter("packetization-mode") or "0"
    given = offered.parameter("packetization-mode")
    if wanted == (given or "0"):
        return 0
    if given is None and offered.parameter("profile-level-id") is None:
        return 2
    # Receivers of the non-interleaved mode also take single NAL units (RFC 6184 section 6.3).
    return 1 if (wanted, given) == ("0", "1") else None


def _h265_mismatch(source: Codec, offered: Codec) -> tuple[int, ...] | None:
    """RFC 7798 section 7.1: profile and tier must suffice, a sufficient level is preferred."""
    profile = _position(source, offered, "profile-id", "1", _H265_DECODERS)
    if profile is None:
        return None
    if _number(source, "tier-flag", 0) > _number(offered, "tier-flag", 0):
        return None
    return (
        *profile,
        int(_number(source, "level-id", 93) > _number(offered, "level-id", 93)),
    )


def _number(codec: Codec, name: str, default: int) -> int:
    value = codec.parameter(name) or ""
    return int(value) if re.fullmatch("[0-9]{1,4}", value) else default


def _position(
    source: Codec,
    offered: Codec,
    name: str,
    default: str,
    decoders: Mapping[str, tuple[str, ...]],
) -> tuple[int, ...] | None:
    wanted = source.parameter(name) or default
    given = offered.parameter(name) or default
    order = decoders.get(wanted, (wanted,))
    return (order.index(given),) if given in order else None


def _equal(source: Codec, offered: Codec, *names: str) -> tuple[int, ...] | None:
    same = all(source.parameter(n) == offered.parameter(n) for n in names)
    return (0,) if same else None
