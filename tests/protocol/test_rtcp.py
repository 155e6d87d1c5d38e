from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.protocol import rtcp
from live777py.protocol.rtcp import (
    App,
    Bye,
    Chunk,
    ExtendedReport,
    FullIntraRequest,
    GenericNack,
    Packet,
    PictureLoss,
    ReceiverReport,
    ReferenceDelay,
    Remb,
    ReportBlock,
    SenderReport,
    SourceDescription,
    Unknown,
)
from live777py.protocol.rtp import Malformed

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
u64 = st.integers(0, 0xFFFFFFFFFFFFFFFF)
blocks = st.lists(
    st.builds(
        ReportBlock, u32, u8, st.integers(-0x800000, 0x7FFFFF), u32, u32, u32, u32
    ),
    max_size=31,
).map(tuple)
chunks = st.builds(
    Chunk,
    u32,
    st.lists(st.tuples(st.integers(1, 8), st.binary(max_size=255)), max_size=3).map(
        tuple
    ),
)
ssrcs = st.lists(u32, max_size=31).map(tuple)
bitrates = st.builds(
    lambda mantissa, exponent: mantissa << exponent,
    st.integers(1 << 17, (1 << 18) - 1),
    st.integers(0, 45),
)
packets: st.SearchStrategy[Packet] = st.one_of(
    st.builds(SenderReport, u32, u64, u32, u32, u32, blocks),
    st.builds(ReceiverReport, u32, blocks),
    st.builds(SourceDescription, st.lists(chunks, max_size=4).map(tuple)),
    st.builds(Bye, ssrcs, st.text(max_size=40)),
    st.builds(
        App,
        u32,
        st.binary(min_size=4, max_size=4),
        st.binary(max_size=64).map(lambda data: data + bytes(-len(data) % 4)),
        st.integers(0, 31),
    ),
    st.builds(PictureLoss, u32, u32),
    st.builds(FullIntraRequest, u32, st.lists(st.tuples(u32, u8)).map(tuple)),
    st.builds(Remb, u32, bitrates, ssrcs),
    st.builds(
        ExtendedReport,
        u32,
        st.none() | u64,
        st.lists(st.builds(ReferenceDelay, u32, u32, u32), max_size=4).map(tuple),
    ),
    st.builds(
        Unknown,
        st.sampled_from([192, 208, 223]),
        st.integers(0, 31),
        st.binary(max_size=10).map(lambda body: body + bytes(-len(body) % 4)),
    ),
)


@given(st.lists(packets, min_size=1, max_size=4))
def test_a_compound_survives_the_way_to_bytes_and_back(group: list[Packet]) -> None:
    assert rtcp.parse(rtcp.compound(*group)) == group


@given(u16, st.sets(st.integers(0, 200), min_size=1))
def test_a_nack_names_what_is_lost(base: int, ahead: set[int]) -> None:
    lost = tuple((base + offset) % 0x10000 for offset in sorted(ahead))
    (packet,) = rtcp.parse(bytes(GenericNack(1, 2, lost)))
    assert isinstance(packet, GenericNack)
    assert packet.lost == lost


def test_a_nack_packs_seventeen_numbers_into_one_pair() -> None:
    lost = tuple(range(0xFFF8, 0x10000)) + tuple(range(9))
    assert len(bytes(GenericNack(1, 2, lost))) == 16


@given(u32, st.integers(0, 1 << 62))
def test_remb_rounds_a_bitrate_down_by_little(ssrc: int, bitrate: int) -> None:
    (packet,) = rtcp.parse(bytes(Remb(ssrc, bitrate, (1, 2))))
    assert isinstance(packet, Remb)
    assert packet.bitrate <= bitrate <= packet.bitrate * (1 + 2**-17)


@given(st.lists(packets, min_size=1, max_size=3), st.data())
def test_a_cut_compound_is_malformed_unless_cut_between_packets(
    group: list[Packet], data: st.DataObject
) -> None:
    whole = rtcp.compound(*group)
    cut = data.draw(st.integers(0, len(whole) - 1))
    ends = [len(rtcp.compound(*group[:n])) for n in range(1, len(group))]
    if cut in ends:
        assert rtcp.parse(whole[:cut]) == group[: ends.index(cut) + 1]
    else:
        with pytest.raises(Malformed):
            rtcp.parse(whole[:cut])


def rtcp_like(kind: int, count: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return bytes([0x80 | count, kind]) + (len(body) // 4).to_bytes(2) + body


@given(st.integers(200, 207), st.integers(0, 63), st.binary(max_size=200))
def test_garbage_is_malformed_or_packets(kind: int, count: int, body: bytes) -> None:
    with contextlib.suppress(Malformed):
        rtcp.compound(*rtcp.parse(rtcp_like(kind, count & 0x3F, body)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\xc9\x00",
        b"\x00\xc9\x00\x01\x00\x00\x00\x01",
        b"\x80\xc9\x00\x02\x00\x00\x00\x01",
        b"\x80\xc9\x00\x00",
        b"\x81\xc9\x00\x01\x00\x00\x00\x01",
        b"\xa0\xc9\x00\x00",
        b"\xa0\xc9\x00\x01\x00\x00\x00\x05",
        b"\xa0\xc9\x00\x01\x00\x00\x00\x00",
        b"\xa0\xc9\x00\x01\x00\x00\x00\x04" + b"\x80\xc9\x00\x01\x00\x00\x00\x01",
        b"\x81\xca\x00\x02\x00\x00\x00\x01\x01\x09ab",
        b"\x81\xcb\x00\x02\x00\x00\x00\x01\x09abc",
        b"\x81\xcd\x00\x01\x00\x00\x00\x01",
        b"\x84\xce\x00\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01",
        b"\xa1\xcd\x00\x03\x00\x00\x00\x01\x00\x00\x00\x02\x00\x01\x00\x01",
        b"\x8f\xce\x00\x04" + bytes(8) + b"REMB\x02\x00\x00\x00",
        b"\x80\xcf\x00\x00",
        b"\x80\xcf\x00\x02\x00\x00\x00\x01\x04\x00\x00\x02",
        b"\x80\xcf\x00\x03\x00\x00\x00\x01\x04\x00\x00\x01\x00\x00\x00\x00",
    ],
)
def test_wrong_lengths_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        rtcp.parse(data)


def test_padding_of_the_last_packet_is_removed() -> None:
    data = b"\xa0\xc0\x00\x02abcd\x00\x00\x00\x04"
    assert rtcp.parse(data) == [Unknown(192, 0, b"abcd")]


def test_another_applications_feedback_is_kept_as_it_came() -> None:
    body = bytes(8) + b"GOOG\x00\x00\x00\x00"
    data = b"\x8f\xce\x00\x04" + body
    assert rtcp.parse(data) == [Unknown(206, 15, body)]
    assert rtcp.compound(*rtcp.parse(data)) == data


def test_a_report_may_end_with_an_extension_of_a_profile() -> None:
    data = b"\x80\xc9\x00\x02\x00\x00\x00\x01more"
    assert rtcp.parse(data) == [ReceiverReport(1)]


def test_sources_of_one_endpoint_share_its_name() -> None:
    description = SourceDescription.named("cam", 1, 2)
    (packet,) = rtcp.parse(bytes(description))
    assert isinstance(packet, SourceDescription)
    assert (packet.cname(1), packet.cname(2), packet.cname(3)) == ("cam", "cam", None)


def test_a_packet_with_too_many_blocks_cannot_be_built() -> None:
    block = ReportBlock(1, 0, 0, 0, 0)
    with pytest.raises(ValueError, match="at most 31"):
        bytes(ReceiverReport(1, (block,) * 32))


def test_of_extended_reports_unknown_blocks_are_passed_over() -> None:
    unknown = b"\x07\x00\x00\x01abcd"
    known = bytes(ExtendedReport(1, 2, (ReferenceDelay(3, 4, 5),)))[8:]
    body = b"\0\0\0\1" + unknown + known + unknown
    data = b"\x80\xcf" + (len(body) // 4).to_bytes(2) + body
    assert rtcp.parse(data) == [ExtendedReport(1, 2, (ReferenceDelay(3, 4, 5),))]


def test_an_applications_packet_has_a_name_and_a_subtype() -> None:
    packet = App(0x01020304, b"L7Vi", b"data", subtype=3)
    # RFC 3550 section 6.7: version, padding, subtype; type 204; length in words less one.
    wire = bytes.fromhex("83cc0003 01020304 4c375669 64617461")
    assert bytes(packet) == wire
    assert rtcp.parse(wire) == [packet]


@pytest.mark.parametrize(
    ("name", "data"), [(b"L7V", b""), (b"L7Via", b""), (b"L7Vi", b"abc")]
)
def test_an_applications_packet_is_made_of_whole_words(
    name: bytes, data: bytes
) -> None:
    with pytest.raises(ValueError, match="whole words"):
        bytes(App(1, name, data))


def test_an_applications_packet_of_another_length_is_malformed() -> None:
    with pytest.raises(Malformed, match="too short"):
        rtcp.parse(bytes.fromhex("80cc0001 01020304"))
    with pytest.raises(Malformed, match="length"):
        rtcp.parse(bytes.fromhex("a0cc0003 01020304 4c375669 64617401"))
