from __future__ import annotations

import pytest

from live777py.protocol.codecs import Codec
from live777py.protocol.profiles import (
    best_match,
    codec_from_sps,
    describe,
    describe_all,
    describe_stream,
    h264_profile,
    is_stereo,
    matches,
)


def codec(name: str, **parameters: str) -> Codec:
    pairs = tuple((k.replace("_", "-"), v) for k, v in parameters.items())
    return Codec("video", name, 90000, parameters=pairs)


def h264(profile_level_id: str | None, mode: str | None = "1") -> Codec:
    parameters = {"packetization_mode": mode, "profile_level_id": profile_level_id}
    given = {k: v for k, v in parameters.items() if v is not None}
    return codec("H264", **given)


def audio(name: str, clock_rate: int, channels: int = 1, fmtp: str = "") -> Codec:
    pairs = tuple(
        (key, value)
        for key, _, value in (p.partition("=") for p in fmtp.split(";") if p)
    )
    return Codec("audio", name, clock_rate, channels, pairs)


@pytest.mark.parametrize(
    ("value", "profile"),
    [
        ("42001f", "Baseline"),
        ("42801f", "Baseline"),
        ("42c01f", "Constrained Baseline"),
        ("42e01f", "Constrained Baseline"),
        ("42E01F", "Constrained Baseline"),
        ("42401f", "Constrained Baseline"),
        ("4d001f", "Main"),
        ("4d401f", "Main"),
        ("4d801f", "Constrained Baseline"),
        ("58001f", "Extended"),
        ("58801f", "Baseline"),
        ("58401f", "Main"),
        ("58c01f", "Constrained Baseline"),
        ("640028", "High"),
        ("640828", "High"),
        ("640c34", "Constrained High"),
        ("6e0028", "High 10"),
        ("7a0028", "High 4:2:2"),
        ("f4001f", "High 4:4:4"),
        ("2c001f", "CAVLC 4:4:4 Intra"),
        ("ff001f", None),
        ("422001e", None),
        ("ffffff9d", None),
        ("", None),
        (None, None),
    ],
)
def test_profile_and_flags_name_the_h264_profile(
    value: str | None, profile: str | None
) -> None:
    assert h264_profile(value) == profile


@pytest.mark.parametrize(
    ("source", "offered", "fits"),
    [
        (h264("42e01f"), h264("42e034"), True),
        (h264("42c028"), h264("42001f"), True),
        (h264("42001f"), h264("42e01f"), True),
        (h264("42e01f"), h264("4d001f"), True),
        (h264("42e01f"), h264("640c34"), True),
        (h264("4d0028"), h264("42e01f"), True),
        (h264("640028"), h264("f4001f"), True),
        (h264("640028"), h264("640c34"), True),
        (h264("640028"), h264("42e01f"), True),
        (h264("640028"), h264("4d001f"), True),
        (h264("6e0028"), h264("640028"), False),
        (h264("6e0028"), h264("42e01f"), False),
        (h264("640028"), h264("ff0028"), True),
        (h264("42e01f", "1"), h264("42e01f", "0"), False),
        (h264("42e01f", "1"), h264("42e01f", None), False),
        (h264("42e01f", "0"), h264("42e01f", None), True),
        (h264("42e01f", "0"), h264("42e01f", "1"), True),
        (h264("640028"), h264(None, None), True),
        (h264(None), h264("42e01f"), True),
        (h264(None), h264("640028"), True),
        (codec("VP8"), codec("vp8"), True),
        (codec("VP8"), codec("VP9"), False),
        (codec("VP9"), codec("VP9", profile_id="0"), True),
        (codec("VP9", profile_id="2"), codec("VP9"), False),
        (codec("AV1"), codec("AV1", profile="0", level_idx="5"), True),
        (codec("AV1"), codec("AV1", profile="1"), True),
        (codec("AV1", profile="1"), codec("AV1", profile="0"), False),
        (codec("H265"), codec("H265", profile_id="1", level_id="180"), True),
        (codec("H265"), codec("H265", profile_id="2"), True),
        (codec("H265", profile_id="2"), codec("H265"), False),
        (codec("H265", level_id="150"), codec("H265", level_id="93"), True),
        (codec("H265", tier_flag="1"), codec("H265", tier_flag="0"), False),
        (codec("H265", tier_flag="0"), codec("H265", tier_flag="1"), True),
        (codec("H265", tier_flag="x"), codec("H265"), True),
        (audio("opus", 48000, 2), audio("OPUS", 48000, 2), True),
        (audio("G722", 8000), audio("G722", 16000), False),
        (audio("PCMU", 8000, 2), audio("PCMU", 8000), False),
        (
            audio("multiopus", 48000, 6, "num_streams=4;coupled_streams=2"),
            audio("multiopus", 48000, 6, "num_streams=4;coupled_streams=2"),
            True,
        ),
        (
            audio("multiopus", 48000, 6, "num_streams=4;coupled_streams=2"),
            audio("multiopus", 48000, 6, "num_streams=3;coupled_streams=3"),
            False,
        ),
        (audio("opus", 90000, 1), codec("opus"), False),
    ],
)
def test_a_stream_matches_what_can_decode_it(
    source: Codec, offered: Codec, fits: bool
) -> None:
    assert matches(source, offered) is fits


@pytest.mark.parametrize(
    ("source", "offered", "best"),
    [
        (h264("42c01f"), [h264("42001f"), h264("640028"), h264("42e034")], 2),
        (h264("42001f"), [h264("42e01f"), h264("42001f")], 1),
        (h264("4d0028"), [h264("f4001f"), h264("640028")], 1),
        (h264("640028"), [h264("640c34"), h264("f4001f")], 1),
        (h264("640028"), [h264(None, None), h264("f4001f")], 1),
        (h264("42e01f", "0"), [h264("42e01f", "1"), h264("42e01f", "0")], 1),
        (h264("42e01f"), [h264("42e01f", "0"), h264("42e034")], 1),
        (
            codec("H265", level_id="150"),
            [codec("H265", level_id="93"), codec("H265", level_id="180")],
            1,
        ),
        (codec("VP8"), [codec("VP8", max_fs="1"), codec("VP8", max_fs="2")], 0),
        (codec("VP8"), [codec("AV1")], None),
        (codec("VP8"), [], None),
    ],
)
def test_the_closest_offered_codec_is_the_best(
    source: Codec, offered: list[Codec], best: int | None
) -> None:
    expected = None if best is None else offered[best]

    assert best_match(source, offered) is expected


def test_parameter_sets_replace_the_profile_that_was_offered() -> None:
    assert codec_from_sps(h264("42e01f"), "640028".upper()) == h264("640028")
    assert codec_from_sps(codec("H264"), "640028").fmtp == "profile-level-id=640028"


@pytest.mark.parametrize(
    ("fmtp", "stereo"),
    [
        ("minptime=10;stereo=1", True),
        ("sprop-stereo=1", True),
        ("minptime=10;useinbandfec=1", False),
        ("stereo=0", False),
        ("", True),
    ],
)
def test_opus_is_stereo_when_its_publisher_says_so_or_nothing(
    fmtp: str, stereo: bool
) -> None:
    assert is_stereo(audio("opus", 48000, 2, fmtp)) is stereo


def test_what_is_not_opus_is_not_stereo() -> None:
    assert not is_stereo(audio("PCMU", 8000, 2))


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (h264("640028"), "H264 High 4.0"),
        (h264("42e01f"), "H264 Constrained Baseline 3.1"),
        (h264("42f00b"), "H264 Constrained Baseline 1b"),
        (h264("42e00b"), "H264 Constrained Baseline 1.1"),
        (h264("640009"), "H264 High 1b"),
        (h264("64100b"), "H264 High 1.1"),
        (h264("422001e"), "H264"),
        (h264(None), "H264"),
        (codec("H265"), "H265 Main"),
        (codec("H265", profile_id="2"), "H265 Main 10"),
        (codec("H265", profile_id="9"), "H265 profile 9"),
        (codec("AV1"), "AV1 Main"),
        (codec("AV1", profile="7"), "AV1 profile 7"),
        (codec("VP9"), "VP9"),
        (codec("VP9", profile_id="2"), "VP9 profile 2"),
        (codec("VP8"), "VP8"),
        (audio("opus", 48000, 2), "opus"),
        (audio("multiopus", 48000, 6), "multiopus of 6 channels"),
    ],
)
def test_codecs_are_described_for_people(subject: Codec, text: str) -> None:
    assert describe(subject) == text


def test_several_codecs_are_described_once_each() -> None:
    assert describe_all([codec("VP8"), codec("VP9"), codec("VP8")]) == "VP8, VP9"
    assert describe_all([]) == "nothing"


def test_a_stream_is_described_picture_first() -> None:
    opus = audio("opus", 48000, 2)

    assert describe_stream({"audio": opus, "video": h264("640028")}) == (
        "H264 High 4.0 and opus"
    )
    assert describe_stream({"audio": opus}) == "opus"
