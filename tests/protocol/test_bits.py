from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.protocol.bits import BitReader, EndOfBits


def golomb(number: int) -> str:
    code = bin(number + 1)[2:]
    return "0" * (len(code) - 1) + code


def reader(bits: str) -> BitReader:
    bits += "0" * (-len(bits) % 8)
    return BitReader(int(bits, 2).to_bytes(len(bits) // 8))


@given(st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=8))
def test_unsigned_numbers_are_read_in_order(numbers: list[int]) -> None:
    read = reader("".join(map(golomb, numbers)))
    assert [read.ue() for _ in numbers] == numbers


def test_signed_numbers_alternate() -> None:
    read = reader("".join(golomb(code) for code in range(5)))
    assert [read.se() for _ in range(5)] == [0, 1, -1, 2, -2]


def test_fields_are_read_from_the_front() -> None:
    read = BitReader(b"\xa5\x0f")
    read.skip(1)
    assert not read.flag()
    assert read.bits(6) == 0b100101
    assert read.bits(8) == 0x0F


def test_reading_beyond_the_end_is_refused() -> None:
    with pytest.raises(EndOfBits):
        BitReader(b"\xff").bits(9)
    with pytest.raises(EndOfBits):
        BitReader(bytes(2)).ue()


def test_an_absurd_number_is_refused() -> None:
    with pytest.raises(EndOfBits, match="more than 32"):
        BitReader(bytes(8)).ue()
