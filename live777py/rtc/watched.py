"""What our offers to other servers ask for: codecs and header extensions of a player, or a node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from live777py.protocol.codecs import Codec, Kind
from live777py.protocol.extensions import Extension
from live777py.rtc.outgoing_offer import OutgoingMedia

#: Channels of Opus beyond stereo: mapping, streams and coupled streams, in the order that libopus
#: gives them (RFC 7845 section 5.1.1.2). Where a server has others there is no sound.
_MULTIOPUS = {
    6: ("0,4,1,2,3,5", 4, 2),
    8: ("0,6,1,2,3,4,5,7", 5, 3),
    4: ("0,1,2,3", 2, 2),
    3: ("0,2,1", 2, 1),
    5: ("0,4,1,2,3", 3, 2),
    7: ("0,4,1,2,3,5,6", 4, 3),
}

#: Header extensions that describe a kind of media. They cross a node (`protocol.extensions`),
#: so every hop negotiates them, with ids of its own.
DESCRIBING: dict[Kind, tuple[Extension, ...]] = {
    "audio": (Extension.AUDIO_LEVEL,),
    "video": (
        Extension.VIDEO_ORIENTATION,
        Extension.PLAYOUT_DELAY,
        Extension.COLOR_SPACE,
        Extension.DEPENDENCY_DESCRIPTOR,
    ),
}


def _h264(profile_level_id: str, mode: str = "1") -> Codec:
    parameters = (
        ("level-asymmetry-allowed", "1"),
        ("packetization-mode", mode),
        ("profile-level-id", profile_level_id),
    )
    return Codec("video", "H264", 90_000, parameters=parameters)


def _h265(profile: int, level: int) -> Codec:
    parameters = (
        ("level-id", str(level)),
        ("profile-id", str(profile)),
        ("tier-flag", "0"),
    )
    return Codec("video", "H265", 90_000, parameters=parameters)


def _multiopus(channels: int) -> Codec:
    mapping, streams, coupled = _MULTIOPUS[channels]
    parameters = (
        ("channel_mapping", mapping),
        ("num_streams", str(streams)),
        ("coupled_streams", str(coupled)),
    )
    return Codec("audio", "multiopus", 48_000, channels, parameters)


#: Stereo is asked for (RFC 7587 section 7.1): many send what they have anyway, and in their
#: answers say just what they were asked.
_OPUS = Codec(
    "audio",
    "opus",
    48_000,
    2,
    (("minptime", "10"), ("stereo", "1"), ("useinbandfec", "1")),
)
_AV1 = Codec("video", "AV1", 90_000)
_VP9 = Codec("video", "VP9", 90_000)

#: What a player of ours offers: all that is forwarded, what is common first. G.711 is among it for
#: every picture's sake: MediaMTX 1.20 puts an empty PCMU track beside one without sound, and
#: refuses whoever does not know PCMU.
WATCHED: dict[Kind, tuple[Codec, ...]] = {
    "video": (
        _h264("64001f"),
        _h264("4d001f"),
        _h264("42e01f"),
        _h264("42001f"),
        Codec("video", "VP8", 90_000),
        replace(_VP9, parameters=(("profile-id", "0"),)),
        _AV1,
        _h265(1, 180),
        # A level is what a receiver guarantees, but servers made of Pion want their own.
        _h265(1, 93),
        replace(_VP9, parameters=(("profile-id", "2"),)),
        _h264("f4001f"),
        _h265(2, 180),
        replace(_VP9, parameters=(("profile-id", "1"),)),
        replace(_VP9, parameters=(("profile-id", "3"),)),
        replace(_AV1, parameters=(("profile", "1"),)),
        # Single NAL units can be had by the other mode too (RFC 6184 section 6.3), but a stream
        # that is known to have nothing else can be handed on to those who know nothing else.
        _h264("42e01f", mode="0"),
        _h264("42001f", mode="0"),
        _h264("4d001f", mode="0"),
        _h264("64001f", mode="0"),
    ),
    "audio": (
        _OPUS,
        Codec("audio", "G722", 8_000),
        Codec("audio", "PCMU", 8_000),
        Codec("audio", "PCMA", 8_000),
        *map(_multiopus, _MULTIOPUS),
    ),
}


def watched(kinds: Iterable[Kind] = ("video", "audio")) -> tuple[OutgoingMedia, ...]:
    """What a player offers that looks at nothing but the media itself."""
    return tuple(OutgoingMedia(kind, WATCHED[kind]) for kind in kinds)


def pulled() -> tuple[OutgoingMedia, ...]:
    """What a node offers that hands on what it gets.

    Transport-wide numbers are of one hop, so they are asked for here and never handed on. A server
    that paces what it sends by them takes a receiver that tells it nothing for a bad path, or stays
    at the rate with which it began; one that does not just leaves them out of its answer.
    """
    return tuple(
        replace(media, extensions=(*DESCRIBING[media.kind], Extension.TRANSPORT_CC))
        for media in watched()
    )
