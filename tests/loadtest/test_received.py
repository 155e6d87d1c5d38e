from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from live777py.loadtest.received import Received


@given(st.lists(st.integers(-30, 30), max_size=200), st.integers(0, 0xFFFF))
def test_lost_and_repeated_packets_are_counted(steps: list[int], start: int) -> None:
    number = start + 0x10000
    numbers = [number]
    for step in steps:
        number += step
        numbers.append(number)
    received = Received(start)
    for number in numbers:
        received.take(number & 0xFFFF, 100)
    unique = set(numbers)
    assert received.packets == len(unique)
    assert received.duplicates == len(numbers) - len(unique)
    assert received.lost == max(unique) - min(unique) + 1 - len(unique)
    assert received.bytes == 100 * len(numbers)
    for number in range(min(unique), max(unique) + 1):
        assert received.has(number & 0xFFFF) == (number in unique)


def test_what_is_ahead_has_not_come() -> None:
    received = Received(10)
    received.take(10, 1)
    assert not received.has(11)
