from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.protocol.codecs import Format
from live777py.protocol.packetize import (
    annex_b_units,
    is_small,
    packetize_h264,
    payloads,
    user_data,
)
from live777py.protocol.rtp import RtpPacket
from tests.support import media

SPS, PPS = bytes.fromhex("6742c01f8c68"), bytes.fromhex("68ce3c80")


def units_of(parts: list[bytes]) -> list[bytes]:
    """What a receiver makes of the payloads of one access unit."""
    packets = [RtpPacket(96, number, 0, 1, part) for number, part in enumerate(parts)]
    return media.h264_access_units(packets)[0]


@given(
    st.lists(st.binary(min_size=2, max_size=5000), min_size=1, max_size=8),
    st.integers(100, 1200),
)
def test_h264_units_come_out_as_they_went_in(bodies: list[bytes], limit: int) -> None:
    units = [SPS, PPS, *(b"\x65" + body for body in bodies)]
    parts = packetize_h264(units, limit)
    assert max(map(len, parts)) <= limit
    assert units_of(parts) == units


def test_what_is_small_shares_a_packet() -> None:
    parts = packetize_h264([SPS, PPS, b"\x65" + bytes(50)])
    assert [part[0] & 0x1F for part in parts] == [24, 5]


def test_too_many_small_units_take_several_packets() -> None:
    units = [b"\x06" + bytes([n]) * 200 for n in range(1, 20)]
    parts = packetize_h264(units)
    assert len(parts) > 1
    assert max(map(len, parts)) <= 1150
    assert units_of(parts) == units


def test_a_real_stream_is_cut_as_the_tests_own_packetiser_cuts_it() -> None:
    for picture in media.encode(Format.H264, frames=3):
        assert payloads(Format.H264, picture.data, media.MTU) == media.payloads(
            Format.H264, picture.data
        )


def test_vp8_frames_begin_with_the_start_of_a_partition() -> None:
    frame = bytes(range(256)) * 20
    parts = payloads(Format.VP8, frame, 1000)
    assert [part[0] for part in parts] == [0x10, *[0] * (len(parts) - 1)]
    assert b"".join(part[1:] for part in parts) == frame


def test_sound_is_sent_as_it_is() -> None:
    assert payloads(Format.OPAQUE, b"opus") == [b"opus"]


def test_other_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="AV1"):
        payloads(Format.AV1, b"\x12\x00")


@given(st.binary(min_size=16, max_size=60))
def test_user_data_never_looks_like_a_start_code(data: bytes) -> None:
    unit = user_data(data)
    assert is_small(unit)
    assert b"\x00\x00\x01" not in unit
    assert b"\x00\x00\x00" not in unit
    stream = b"\x00\x00\x01" + unit + b"\x00\x00\x01" + SPS
    assert annex_b_units(stream) == [unit, SPS]


def test_a_decoder_takes_pictures_with_user_data() -> None:
    import av

    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    pictures = media.encode(Format.H264, frames=4)
    decoded = []
    for number, picture in enumerate(pictures):
        unit = user_data(b"sixteen bytes id" + number.to_bytes(8))
        units = annex_b_units(picture.data)
        at = next(i for i, u in enumerate(units) if not is_small(u))
        marked = [*units[:at], unit, *units[at:]]
        stream = b"".join(b"\x00\x00\x00\x01" + u for u in marked)
        decoded += decoder.decode(av.Packet(stream))
    decoded += decoder.decode(None)
    assert len(decoded) == len(pictures)
