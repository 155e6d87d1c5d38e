from __future__ import annotations

from collections import Counter

import pytest

from live777py.aio.backoff import Backoff


def test_delays_double_up_to_the_most() -> None:
    backoff = Backoff(1, 60, jitter=0)
    assert [backoff.next() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    backoff.reset()
    assert backoff.next() == 1


def test_delays_differ_but_stay_within_their_bounds() -> None:
    first, second = Backoff(), Backoff()
    delays = [first.next() for _ in range(50)]
    assert delays != [second.next() for _ in range(50)]
    assert all(1 <= delay <= 60 for delay in delays)
    assert delays[3] == pytest.approx(8, rel=0.25)


def test_those_who_lost_the_same_server_come_back_apart() -> None:
    many = [Backoff() for _ in range(200)]
    firsts = [backoff.next() for backoff in many]
    for _ in range(10):
        for backoff in many:
            backoff.next()
    longest = [backoff.next() for backoff in many]
    for delays, shortest, most in ((firsts, 1, 1.25), (longest, 45, 60)):
        assert all(shortest <= delay <= most for delay in delays)
        # None of ten parts of the time has more than a quarter of them.
        width = (most - shortest) / 10
        parts = Counter(int((delay - shortest) / width) for delay in delays)
        assert max(parts.values()) < 50
