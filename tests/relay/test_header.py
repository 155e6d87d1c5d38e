from __future__ import annotations

import numpy as np
import pytest

from live777py.protocol.extensions import Extension
from live777py.relay.header import (
    element,
    locate,
    measure,
    normalise,
    padding,
    rename_elements,
)
from live777py.relay.memory import octets
from live777py.relay.registry import pack_extensions
from live777py.relay.tables import DATAGRAM, ROW, Table
from live777py.relay.wire import get16

from .support import parse, rtp

IDS = pack_extensions({Extension.AUDIO_LEVEL: 1, Extension.VIDEO_ORIENTATION: 200})


def _buffer(data: bytes) -> Table:
    made = octets(1, DATAGRAM)
    made[0, : len(data)] = np.frombuffer(data, np.uint8)
    return made


def _normalised(data: bytes, ids: int = IDS) -> bytes:
    source, target = _buffer(data), octets(1, ROW)
    parts = locate(source, 0, len(data))
    size = normalise(source, 0, len(data), parts, ids, target, 0)
    return target[0, :size].tobytes() if size >= 0 else b""


def test_the_parts_of_a_packet_are_found() -> None:
    plain = rtp(1)
    assert locate(_buffer(plain), 0, len(plain)) == (12, 12, 0)
    full = rtp(1, csrcs=(1, 2, 3), extension=(0xBEDE, b"\x10abc"))
    assert locate(_buffer(full), 0, len(full)) == (32, 28, 0xBEDE)


@pytest.mark.parametrize(
    "data",
    [
        rtp(1)[:11],
        b"\x40" + rtp(1)[1:],
        b"\xc0" + rtp(1)[1:],
        b"\x8f" + rtp(1)[1:],
        b"\x90" + rtp(1, payload=b"abc")[1:],
        rtp(1, payload=b"", extension=(0xBEDE, bytes(8)))[:-1],
    ],
)
def test_headers_that_exceed_the_packet_are_malformed(data: bytes) -> None:
    assert locate(_buffer(data), 0, len(data))[0] == -1


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (rtp(1), 0),
        (rtp(1, payload=b"ab", padding=7), 7),
        (rtp(1, payload=b"", padding=7), 7),
        (b"\xa0" + rtp(1, payload=b"abc\0")[1:], -1),
        (b"\xa0" + rtp(1, payload=b"abc\5")[1:], -1),
        (b"\xa0" + rtp(1, payload=b"")[1:], -1),
    ],
)
def test_padding_is_counted_or_refused(data: bytes, expected: int) -> None:
    assert padding(_buffer(data), 0, 12, len(data)) == expected


def _elements(profile: int, data: bytes) -> list[tuple[int, bytes]]:
    buffer = _buffer(data)
    found: list[tuple[int, bytes]] = []
    offset = 0
    while True:
        number, at, length = element(buffer, 0, offset, len(data), profile)
        if number == 0:
            return found
        found.append((int(number), data[at : at + length]))
        offset = at + length


def test_elements_are_read_in_both_forms() -> None:
    one_byte = b"\0\x12abc\0\0\x20d"
    assert _elements(0xBEDE, one_byte) == [(1, b"abc"), (2, b"d")]
    two_byte = b"\x01\0\0\xff\x03abc"
    for profile in (0x1000, 0x100F):
        assert _elements(profile, two_byte) == [(1, b""), (255, b"abc")]
    assert _elements(0x1234, one_byte) == []


def test_reading_ends_at_what_cannot_be_understood() -> None:
    # Id 15, id 0 with a length, an element beyond the end, a cut head.
    assert _elements(0xBEDE, b"\x10a\xf0b\x10c") == [(1, b"a")]
    assert _elements(0xBEDE, b"\x10a\x03bcde\x10c") == [(1, b"a")]
    assert _elements(0xBEDE, b"\x10a\x23bc") == [(1, b"a")]
    assert _elements(0x1000, b"\x01\x01a\x02") == [(1, b"a")]
    assert _elements(0x1000, b"\x01\x01a\x02\x02b") == [(1, b"a")]


def test_only_kept_extensions_are_measured() -> None:
    data = _buffer(b"\x10a\x52def")
    assert measure(data, 0, 0, 6, 0xBEDE, IDS) == (4, 0xBEDE)
    assert measure(data, 0, 0, 6, 0xBEDE, 0) == (0, 0xBEDE)


def test_a_normalised_packet_keeps_marker_padding_and_payload_alone() -> None:
    data = rtp(
        5,
        6,
        b"media",
        marker=True,
        padding=3,
        csrcs=(7, 8),
        payload_type=101,
        extension=(0x1000, b"\x09\x02xx\xc8\x01z"),
    )
    got = parse(_normalised(data))
    assert (got.padding, got.marker, got.payload_type) == (True, True, 0)
    assert got.payload == b"media\0\0\3"
    assert got.extension == (0xBEDE, b"\x20z\0\0")


def test_what_would_not_fit_is_refused() -> None:
    assert len(_normalised(rtp(1, payload=bytes(1492)))) == 1504
    assert _normalised(rtp(1, payload=bytes(1493))) == b""
    extension = (0xBEDE, b"\x10a")
    assert len(_normalised(rtp(1, payload=bytes(1484), extension=extension))) == 1504
    assert _normalised(rtp(1, payload=bytes(1485), extension=extension)) == b""


def test_renaming_keeps_the_size_and_clears_the_rest() -> None:
    data = _normalised(rtp(1, extension=(0x1000, b"\x01\x01a\xc8\x01b")))
    buffer = _buffer(data)
    rename_elements(buffer, 0, pack_extensions({Extension.VIDEO_ORIENTATION: 9}))
    assert buffer[0, 16:20].tobytes() == b"\0\0\x90b"
    assert get16(buffer, 0, 14) == 1


def test_an_id_above_14_is_cleared_in_the_one_byte_form() -> None:
    buffer = _buffer(_normalised(rtp(1, extension=(0x1000, b"\xc8\x01b"))))
    rename_elements(buffer, 0, pack_extensions({Extension.VIDEO_ORIENTATION: 15}))
    assert buffer[0, 16:20].tobytes() == bytes(4)
