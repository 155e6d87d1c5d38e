from __future__ import annotations

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
