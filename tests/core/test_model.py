"""Snapshots that have something to compute."""

from __future__ import annotations

from live777py.core.model import NO_TALLY, NO_TRAFFIC, IfMatch, Tally, Traffic


def test_traffic_adds_up_but_for_what_is_of_one_path() -> None:
    first = Traffic(1, 2, 3, 4, round_trip=0.1, jitter=0.2)
    assert first + Traffic(10, 20, 30, 40, 0.3, 0.4) == Traffic(11, 22, 33, 44)
    assert sum([first, first], NO_TRAFFIC) == Traffic(2, 4, 6, 8)


def test_tallies_add_up_but_for_when_they_began() -> None:
    first = Tally(9, 1, 2, 3, 4, Traffic(5), Traffic(6))
    twice = Tally(0, 2, 4, 6, 8, Traffic(10), Traffic(12))
    assert sum([first, first], NO_TALLY) == twice


def test_a_condition_matches_its_versions_or_all() -> None:
    assert IfMatch(frozenset({"a", "b"})).matches("b")
    assert not IfMatch(frozenset({"a"})).matches("b")
    assert not IfMatch().matches("")
    assert IfMatch(is_any=True).matches("whatever")
