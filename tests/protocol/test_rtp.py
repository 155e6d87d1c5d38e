from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.protocol import rtp
from live777py.protocol.rtp import Malformed, RtpPacket

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=u16,
    timestamp=u32,
    ssrc=u32,
    payload=st.binary(max_size=40),
    marker=st.booleans(),
    csrcs=st.lists(u32, max_size=15).map(tuple),
    extensions=st.one_of(
        st.dictionaries(st.integers(1, 14), st.binary(min_size=1, max_size=16)),
        st.dictionaries(st.integers(1, 255), st.binary(max_size=255), max_size=3),
    ),
)


@given(packets)
def test_a_packet_survives_the_way_to_bytes_and_back(packet: RtpPacket) -> None:
    assert rtp.parse(bytes(packet)) == packet


@given(packets, st.data())
def test_a_cut_packet_is_malformed_or_shorter(
    packet: RtpPacket, data: st.DataObject
) -> None:
    whole = bytes(packet)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        assert packet.payload.startswith(rtp.parse(cut).payload)
    except Malformed:
        assert len(cut) < len(whole) - len(packet.payload)


@given(st.binary(max_size=200).map(lambda tail: b"\xbf" + tail))
def test_garbage_is_malformed_or_a_packet(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        rtp.parse(data)


HEAD = bytes(RtpPacket(96, 1, 2, 3, b""))


def test_padding_is_removed() -> None:
    padded = bytes([HEAD[0] | 0x20]) + HEAD[1:] + b"media\x00\x00\x03"
    assert rtp.parse(padded).payload == b"media"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD[:11],
        b"\x00" + HEAD[1:],
        b"\x81" + HEAD[1:],
        bytes([0xA0]) + HEAD[1:] + b"\x00",
        bytes([0xA0]) + HEAD[1:] + b"\x02",
        bytes([0x90]) + HEAD[1:] + b"\xbe\xde",
        bytes([0x90]) + HEAD[1:] + b"\xbe\xde\x00\x01\x10",
        bytes([0x90]) + HEAD[1:] + b"\xbe\xde\x00\x01\x1f\x00\x00\x00",
        bytes([0x90]) + HEAD[1:] + b"\x10\x00\x00\x01\x00\x00\x00\x01",
        bytes([0x90]) + HEAD[1:] + b"\x10\x00\x00\x01\x01\x09\x00\x00",
    ],
)
def test_what_is_not_a_whole_packet_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        rtp.parse(data)
    assert rtp.payload_of(data) == b""


def test_the_payload_can_be_had_alone() -> None:
    packet = RtpPacket(96, 1, 2, 3, b"media", extensions={3: b"x"})
    assert rtp.payload_of(bytes(packet)) == b"media"


def test_an_extension_header_of_another_profile_is_skipped() -> None:
    data = bytes([0x90]) + HEAD[1:] + b"\xab\xcd\x00\x01\x01\x02\x03\x04media"
    packet = rtp.parse(data)
    assert packet.extensions == {}
    assert packet.payload == b"media"


def test_the_reserved_one_byte_id_ends_the_extensions() -> None:
    data = bytes([0x90]) + HEAD[1:] + b"\xbe\xde\x00\x01\x10\x07\xf0\x00media"
    assert rtp.parse(data).extensions == {1: b"\x07"}


def test_rtcp_is_told_from_rtp_by_its_second_byte() -> None:
    assert rtp.is_rtcp(b"\x80\xc8")
    assert rtp.is_rtcp(b"\x80\xdf")
    assert not rtp.is_rtcp(b"\x80\xe0")
    assert not rtp.is_rtcp(b"\x80")


def test_sequence_numbers_are_compared_over_the_wrap() -> None:
    assert rtp.sequence_delta(2, 0xFFFF) == 3
    assert rtp.sequence_delta(0xFFFF, 2) == -3
    assert rtp.sequence_delta(0x8000, 0) == -0x8000


def test_timestamps_are_compared_over_the_wrap() -> None:
    assert rtp.timestamp_delta(90, 0xFFFFFFFF) == 91
    assert rtp.timestamp_delta(0xFFFFFFFF, 90) == -91


@given(st.integers(0, 1 << 40), st.integers(-0x8000, 0x7FFF))
def test_an_extended_number_is_the_nearest(near: int, delta: int) -> None:
    assert rtp.extend_sequence((near + delta) % 0x10000, near) == near + delta


def test_ntp_time_counts_from_1900() -> None:
    assert rtp.ntp_from_unix_ns(0) == 2_208_988_800 << 32
    assert rtp.ntp_from_unix_ns(1_500_000_000) & 0xFFFFFFFF == 0x80000000
    assert rtp.ntp_middle(0x0123_4567_89AB_CDEF) == 0x4567_89AB


@given(st.integers(0, 1 << 62), st.integers(-(10**15), 10**15))
def test_ntp_differences_are_those_of_the_clock(unix: int, delta: int) -> None:
    later = rtp.ntp_from_unix_ns(unix + delta)
    assert abs(rtp.ntp_difference_ns(later, rtp.ntp_from_unix_ns(unix)) - delta) <= 2
