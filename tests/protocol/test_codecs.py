"""Codecs as values."""

from __future__ import annotations

import pytest

from live777py.protocol.codecs import Codec, Format

H264 = Codec(
    "video",
    "H264",
    90_000,
    parameters=(("packetization-mode", "1"), ("profile-level-id", "42e01f")),
)


def test_a_parameter_is_found_by_name() -> None:
    assert H264.parameter("profile-level-id") == "42e01f"
    assert H264.parameter("sprop-parameter-sets") is None


def test_parameters_are_written_as_an_fmtp_line_has_them() -> None:
    assert H264.fmtp == "packetization-mode=1;profile-level-id=42e01f"
    red = Codec("audio", "red", 48_000, parameters=(("111/111", ""),))
    assert red.fmtp == "111/111"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("H264", Format.H264),
        ("h265", Format.H265),
        ("VP8", Format.VP8),
        ("vp9", Format.VP9),
        ("AV1", Format.AV1),
        ("opus", Format.OPAQUE),
        ("opaque", Format.OPAQUE),
    ],
)
def test_the_format_follows_from_the_name(name: str, expected: Format) -> None:
    assert Codec("video", name, 90_000).format is expected


def test_a_codec_reads_as_its_rtpmap_and_fmtp() -> None:
    assert str(Codec("audio", "opus", 48_000, 2)) == "opus/48000/2"
    assert str(Codec("video", "VP8", 90_000)) == "VP8/90000"
    assert str(H264) == ("H264/90000 (packetization-mode=1;profile-level-id=42e01f)")
