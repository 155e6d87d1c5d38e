from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from live777py.relay.seam import Found, Gap, TrackId
from live777py.rtc.loss import (
    DEFAULT_ROUND_TRIP,
    GRACE,
    LATENESS,
    MAX_MISSING,
    MAX_PAIRED,
    MAX_ROUNDS,
    MILLISECOND,
    MIN_INTERVAL,
    PATIENCE,
    SECOND,
    Losses,
    RoundTrip,
)

#: Outgoing numbers are so much higher than the publisher's.
SHIFT = 70_000
START = 5_000 * MILLISECOND


def gap(first: int, missing: int = 1, *, arrived: int = START, ssrc: int = 42) -> Gap:
    return Gap(TrackId(3), ssrc, first + SHIFT, missing, first, arrived)


class History:
    """Packets that are there, by the publisher's numbers."""

    def __init__(self) -> None:
        self.arrivals: dict[int, int] = {}
        self.oldest = 0

    def find(self, numbers: Sequence[int]) -> Found:
        there = {n: self.arrivals[n] for n in numbers if n in self.arrivals}
        return Found(there, self.oldest)

    def put(self, sequence: int, arrived: int) -> None:
        self.arrivals[sequence + SHIFT] = arrived


@pytest.fixture
def history() -> History:
    return History()


def test_what_is_missing_is_asked_for_after_the_grace(history: History) -> None:
    losses = Losses(may_request=True)
    assert losses.next_deadline is None
    losses.gap(gap(65_535, 3))
    assert losses.next_deadline == START + GRACE
    assert losses.due(START + GRACE - 1, history.find) == []
    assert losses.due(START + GRACE, history.find) == [65_535, 0, 1]
    assert losses.ssrc == 42


def test_what_comes_late_by_itself_is_never_asked_for(history: History) -> None:
    losses = Losses(may_request=True)
    losses.gap(gap(10, 2))
    history.put(10, START + MILLISECOND)
    assert losses.due(START + GRACE, history.find) == [11]
    assert (losses.counters.late, losses.counters.missing) == (1, 2)


def test_a_request_is_repeated_until_the_packet_comes(history: History) -> None:
    losses = Losses(may_request=True)
    losses.gap(gap(10))
    now = START + GRACE
    times = []
    while now < START + 500 * MILLISECOND:
        if losses.due(now, history.find):
            times.append(now)
        assert losses.next_deadline is not None
        now = losses.next_deadline
    interval = DEFAULT_ROUND_TRIP * 5 // 4
    assert [when - times[0] for when in times[:4]] == [
        0,
        SECOND,
        interval,
        interval + SECOND,
    ]
    history.put(10, now)
    assert losses.due(now, history.find) == []
    assert losses.next_deadline is None
    assert losses.counters.recovered == 1
    assert losses.counters.requests == len(times)
    assert not losses.take_lost()


def test_a_packet_is_given_up_after_a_second(history: History) -> None:
    losses = Losses(may_request=True)
    losses.gap(gap(10))
    now, requests = START, 0
    while losses.next_deadline is not None:
        now = losses.next_deadline
        requests += len(losses.due(now, history.find))
    assert now == START + PATIENCE
    assert 2 <= requests <= 2 * MAX_ROUNDS
    assert losses.take_lost()
    assert not losses.take_lost()
    assert losses.counters.lost == 1


def test_no_packet_is_asked_for_more_than_ten_times(history: History) -> None:
    losses = Losses(may_request=True)
    # A publisher around the corner, so that requests follow each other quickly.
    losses.gap(gap(1))
    losses.due(START + GRACE, history.find)
    history.put(1, START + GRACE + MILLISECOND)
    losses.due(START + 20 * MILLISECOND, history.find)
    losses.gap(gap(10, arrived=START))
    requests = 0
    while losses.next_deadline is not None:
        requests += len(losses.due(losses.next_deadline, history.find))
    assert requests == MAX_ROUNDS
    assert losses.take_lost()


def test_what_has_left_the_history_is_given_up(history: History) -> None:
    losses = Losses(may_request=True)
    losses.gap(gap(10, 2))
    history.oldest = 11 + SHIFT
    assert losses.due(START + GRACE, history.find) == [11]
    assert losses.take_lost()


def test_too_much_at_once_is_not_pursued() -> None:
    losses = Losses(may_request=True)
    losses.gap(gap(10, MAX_MISSING))
    assert not losses.take_lost()
    losses.gap(gap(5_000, 1))
    assert losses.take_lost()
    assert losses.next_deadline is None
    assert losses.counters.lost == MAX_MISSING + 1


def test_a_jump_of_the_numbers_is_a_loss() -> None:
    losses = Losses(may_request=True)
    losses.gap(gap(10))
    losses.gap(gap(30_000, 0))
    assert losses.take_lost()
    assert losses.next_deadline is None


def test_another_source_has_nothing_of_the_one_before(history: History) -> None:
    losses = Losses(may_request=True)
    losses.gap(gap(10, ssrc=1))
    losses.gap(gap(20, ssrc=2))
    assert losses.due(START + GRACE, history.find) == [20]
    assert losses.ssrc == 2


def test_who_cannot_be_asked_is_waited_for_and_given_up(history: History) -> None:
    losses = Losses(may_request=False)
    losses.gap(gap(10, 2))
    assert losses.next_deadline == START + LATENESS
    history.put(10, START)
    assert losses.due(START + LATENESS, history.find) == []
    assert losses.take_lost()
    assert (losses.counters.late, losses.counters.lost) == (1, 1)


@pytest.mark.parametrize("milliseconds", [1, 30, 80, 300])
def test_the_interval_follows_the_round_trip(milliseconds: int) -> None:
    # Also where it begins too short, so that every packet is asked for several times.
    history, losses = History(), Losses(may_request=True)
    now = START
    for sequence in range(0, 200, 2):
        losses.gap(gap(sequence, arrived=now))
        while losses.due(now, history.find) == []:
            assert losses.next_deadline is not None
            now = losses.next_deadline
        arrival = now + milliseconds * MILLISECOND
        while losses.next_deadline is not None and losses.next_deadline < arrival:
            losses.due(losses.next_deadline, history.find)
        history.put(sequence, arrival)
        now = arrival
        losses.due(now, history.find)
    while losses.next_deadline is not None:
        now = losses.next_deadline
        assert losses.due(now, history.find) == []
    losses.gap(gap(1000, arrived=now))
    losses.due(now + GRACE, history.find)
    assert losses.next_deadline is not None
    if losses.next_deadline == now + GRACE + SECOND:
        losses.due(losses.next_deadline, history.find)
    interval = losses.next_deadline - now - GRACE
    expected = max(MIN_INTERVAL, milliseconds * MILLISECOND * 5 // 4)
    assert abs(interval - expected) <= expected // 10


def test_the_round_trip_is_bounded() -> None:
    for sample in (-5, 0, 10**12):
        round_trip = RoundTrip()
        round_trip.measured(sample)
        assert MIN_INTERVAL <= round_trip.interval <= PATIENCE


def test_of_five_percent_lost_nearly_all_come_back() -> None:
    source = random.Random(4)
    history, losses = History(), Losses(may_request=True)
    round_trip = 40 * MILLISECOND
    on_the_way: list[tuple[int, int]] = []
    last = -1
    total = 20_000
    for sequence in range(total):
        now = START + sequence * MILLISECOND
        for when, number in list(on_the_way):
            if when <= now:
                on_the_way.remove((when, number))
                history.put(number, when)
        if source.random() >= 0.05:
            if sequence - last > 1:
                losses.gap(gap(last + 1, sequence - last - 1, arrived=now))
            last = sequence
        history.oldest = max(0, last + SHIFT - 1023)
        if losses.next_deadline is not None and losses.next_deadline <= now:
            for short in losses.due(now, history.find):
                number = sequence - ((sequence - short) & 0xFFFF)
                if source.random() >= 0.05:
                    on_the_way.append((now + round_trip, number))
    counted = losses.counters
    assert counted.missing > total // 25
    assert counted.recovered >= 0.995 * (counted.missing - 100)
    assert counted.lost == 0
    assert counted.requests < 2.2 * counted.missing, "a pair for each, and few more"


def test_who_loses_much_is_asked_once(history: History) -> None:
    losses = Losses(may_request=True)
    losses.gap(gap(10, MAX_PAIRED + 1))
    assert len(losses.due(START + GRACE, history.find)) == MAX_PAIRED + 1
    interval = DEFAULT_ROUND_TRIP * 5 // 4
    assert losses.next_deadline == START + GRACE + interval
    losses.due(losses.next_deadline, history.find)
    assert losses.next_deadline == START + GRACE + 2 * interval


def test_an_answer_to_a_later_request_hardly_moves_the_round_trip() -> None:
    round_trip = RoundTrip()
    for _ in range(50):
        for _ in range(9):
            round_trip.measured(80 * MILLISECOND)
        round_trip.measured(180 * MILLISECOND)
        assert round_trip.interval < 120 * MILLISECOND


@dataclass
class Sender:
    """A publisher on a simulated path that loses 5 % in both directions.

    `once` is what Chromium does: it answers one request for a packet in a round trip.
    """

    round_trip: int
    once: bool
    history: History
    source: random.Random
    on_the_way: list[tuple[int, int]] = field(default_factory=list)
    sent_again: dict[int, int] = field(default_factory=dict)

    def asked(self, number: int, now: int) -> None:
        if self.source.random() < 0.05:
            return
        there = now + self.round_trip // 2
        before = self.sent_again.get(number)
        if self.once and before is not None and there - before < self.round_trip:
            return
        self.sent_again[number] = there
        if self.source.random() >= 0.05:
            self.on_the_way.append((now + self.round_trip, number))

    def arrive(self, now: int) -> None:
        for when, number in [item for item in self.on_the_way if item[0] <= now]:
            self.on_the_way.remove((when, number))
            arrivals = self.history.arrivals
            arrivals[number + SHIFT] = min(arrivals.get(number + SHIFT, when), when)


def _share_within_200_ms(round_trip: int, *, once: bool) -> float:
    """Of what is lost, how much comes back so soon after it was missed."""
    source = random.Random(11)
    history, losses = History(), Losses(may_request=True)
    sender = Sender(round_trip * MILLISECOND, once, history, source)
    last = -1
    missed: dict[int, int] = {}
    for sequence in range(60_000):
        now = START + sequence * MILLISECOND
        sender.arrive(now)
        if sequence % 4 == 0 and source.random() >= 0.05:
            number = sequence // 4
            if number - last > 1:
                missing = range(last + 1, number)
                missed |= dict.fromkeys(missing, now)
                losses.gap(gap(last + 1, len(missing), arrived=now))
            last = number
        if losses.next_deadline is not None and losses.next_deadline <= now:
            for short in losses.due(now, history.find):
                sender.asked(short, now)
    back = [
        history.arrivals.get(number + SHIFT, 1 << 62) - when <= 200 * MILLISECOND
        for number, when in missed.items()
        if when < START + 59_000 * MILLISECOND
    ]
    assert len(back) > 500
    return sum(back) / len(back)


@pytest.mark.parametrize("round_trip", [5, 20, 50, 75])
def test_lost_packets_are_back_within_200_ms(round_trip: int) -> None:
    assert _share_within_200_ms(round_trip, once=True) >= 0.995
    assert _share_within_200_ms(round_trip, once=False) >= 0.995


def test_at_100_ms_those_are_back_of_which_one_request_and_one_answer_arrive() -> None:
    # A second answer takes another round trip from the first one on, which is 2 ms too long.
    assert _share_within_200_ms(100, once=True) >= 0.93
    # Unless the publisher answers both of a pair, as most but browsers do.
    assert _share_within_200_ms(100, once=False) >= 0.985
