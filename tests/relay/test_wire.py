from __future__ import annotations

import struct

from live777py.relay.memory import octets
from live777py.relay.wire import (
    get8,
    get16,
    get32,
    get64,
    get_native32,
    put16,
    put32,
    put64,
    put_native32,
    signed16,
    signed32,
)


def test_numbers_are_written_and_read_in_network_order() -> None:
    buffer = octets(2, 16)
    put16(buffer, 1, 1, 0x12345)
    put32(buffer, 1, 3, 0x1DEADBEEF)
    put64(buffer, 1, 7, -2)
    expected = struct.pack("!xHIq", 0x2345, 0xDEADBEEF, -2)
    assert buffer[1, :15].tobytes() == expected
    assert get8(buffer, 1, 1) == 0x23
    assert get16(buffer, 1, 1) == 0x2345
    assert get32(buffer, 1, 3) == 0xDEADBEEF
    assert get64(buffer, 1, 7) == -2
    assert not buffer[0].any()


def test_the_kernels_integers_are_native() -> None:
    buffer = octets(1, 8)
    put_native32(buffer, 0, 2, 0x89ABCDEF)
    assert buffer[0, 2:6].tobytes() == struct.pack("=I", 0x89ABCDEF)
    assert get_native32(buffer, 0, 2) == 0x89ABCDEF


def test_differences_are_signed() -> None:
    assert signed16(1 - 65535) == 2
    assert signed16(65535 - 1) == -2
    assert signed16(0x8000) == -0x8000
    assert signed32(5 - 0xFFFFFFFF) == 6
    assert signed32(0x80000000) == -0x80000000
