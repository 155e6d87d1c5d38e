"""What a publisher's track is missing, and when to ask for it again.

Values in, values out: this module is told of gaps, is given the time (`time.monotonic_ns()`)
and looks into a track's history by a function. It owns no timer and no socket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from live777py.relay.seam import Found, Gap

MILLISECOND = 1_000_000

#: How long a packet may be late before it is asked for. Packets that swap places on the way
#: come within a burst of one another, far below this, and this is far below any round trip
#: that a retransmission takes; the event loop's timers are no finer anyway.
GRACE = 2 * MILLISECOND
#: Between two requests for one packet while the round-trip time is unknown, and the bounds.
DEFAULT_ROUND_TRIP = 100 * MILLISECOND
MIN_INTERVAL = 20 * MILLISECOND
#: A request may be lost like anything else. Where the round trip is long each is made
#: twice: the second is far enough from the first for most bursts, and Chromium, which sends a
#: packet again but once in a round trip, answers only one of them.
SECOND = 15 * MILLISECOND
#: But not when so many packets of one track are missing: the path is narrow, not just bad.
MAX_PAIRED = 64
MAX_INTERVAL = 500 * MILLISECOND
#: When a packet is given up.
PATIENCE = 1000 * MILLISECOND
MAX_ROUNDS = 10
#: The same for a publisher that cannot be asked: as long as late packets usually take.
LATENESS = 100 * MILLISECOND
#: Packets of one track that are pursued at once.
MAX_MISSING = 1000


@dataclass(slots=True)
class _Missing:
    """One packet; `first_request` is 0 before there was one.

    A round is a request or a pair of them; `next_round` is when it is over.
    """

    sequence: int
    noticed: int
    due: int
    rounds: int = 0
    first_request: int = 0
    next_round: int = 0


@dataclass(slots=True)
class LossCounters:
    """What became of the packets of one track that did not come in their order.

    Attributes:
        missing: that were passed over.
        late: that came by themselves before they were asked for.
        recovered: that came after they were asked for.
        lost: that were given up.
        requests: sequence numbers in NACKs, repetitions too.
    """

    missing: int = 0
    late: int = 0
    recovered: int = 0
    lost: int = 0
    requests: int = 0


class RoundTrip:
    """The time from a request to its answer, smoothed, in nanoseconds."""

    def __init__(self) -> None:
        #: None until there was one.
        self.smoothed: int | None = None

    def measured(self, sample: int) -> None:
        """A request was answered after this time."""
        sample = max(0, min(PATIENCE, sample))
        if self.smoothed is None:
            self.smoothed = sample
        else:
            # Upwards only slowly: some samples hold two round trips.
            weight = 2 if sample < self.smoothed else 8
            self.smoothed += (sample - self.smoothed) // weight

    @property
    def interval(self) -> int:
        """How long to wait for an answer before asking again.

        A quarter more than usual, or half of all answers would cross a second request.
        """
        usual = DEFAULT_ROUND_TRIP if self.smoothed is None else self.smoothed
        return max(MIN_INTERVAL, min(MAX_INTERVAL, usual * 5 // 4))


class Losses:
    """The missing packets of one track.

    Tell it of every `gap`; call `due` at `next_deadline` and ask for what it returns. After
    that `take_lost` says whether something was given up.
    """

    def __init__(self, *, may_request: bool) -> None:
        """Begin.

        Args:
            may_request: the publisher understands NACK. Otherwise packets that stay away are
                given up soon, and never asked for.
        """
        self._may_request = may_request
        self._missing: dict[int, _Missing] = {}
        self._ssrc = -1
        self._has_lost = False
        self._round_trip = RoundTrip()
        self.counters = LossCounters()
        #: When to call `due`; None while nothing is missing.
        self.next_deadline: int | None = None

    @property
    def round_trip(self) -> int | None:
        """From a request to its answer in nanoseconds, None until there was one."""
        return self._round_trip.smoothed

    @property
    def ssrc(self) -> int:
        """The source that the missing packets are of."""
        return self._ssrc

    def gap(self, gap: Gap) -> None:
        """Packets were passed over."""
        if gap.ssrc != self._ssrc:
            # Another source: nobody has the packets of the one before.
            self._give_up(len(self._missing))
            self._missing.clear()
            self._ssrc = gap.ssrc
        self.counters.missing += gap.missing
        if gap.missing == 0 or len(self._missing) + gap.missing > MAX_MISSING:
            # What was sent before is of no use to anybody: only a new picture helps.
            self._give_up(len(self._missing) + gap.missing)
            self._missing.clear()
            self._has_lost = True
            self.next_deadline = None
            return
        due = gap.arrived + (GRACE if self._may_request else LATENESS)
        for i in range(gap.missing):
            self._missing[gap.first + i] = _Missing(
                (gap.sequence + i) & 0xFFFF, gap.arrived, due
            )
        if self.next_deadline is None or due < self.next_deadline:
            self.next_deadline = due

    def due(self, now: int, find: Callable[[Sequence[int]], Found]) -> list[int]:
        """Look at the packets whose time it is; forget those that came or never will.

        Args:
            now: the time.
            find: looks packets up in the track's history.

        Returns:
            The 16-bit sequence numbers to ask for now, in order.
        """
        doubtful = [n for n, item in self._missing.items() if item.due <= now]
        found = find(doubtful)
        requested = []
        for number in doubtful:
            item = self._missing[number]
            arrived = found.arrivals.get(number)
            if arrived is not None:
                self._arrived(item, arrived)
                del self._missing[number]
            elif number < found.oldest or self._is_hopeless(item, now):
                self._give_up(1)
                del self._missing[number]
            else:
                item.first_request = item.first_request or now
                requested.append(item)
        interval = self._round_trip.interval
        is_paired = interval > 2 * SECOND and len(self._missing) <= MAX_PAIRED
        for item in requested:
            is_second = now < item.next_round
            if not is_second:
                item.rounds += 1
                item.next_round = now + interval
            item.due = now + SECOND if is_paired and not is_second else item.next_round
            item.due = min(item.due, item.noticed + PATIENCE)
        self.counters.requests += len(requested)
        self.next_deadline = min((m.due for m in self._missing.values()), default=None)
        return [item.sequence for item in requested]

    def take_lost(self) -> bool:
        """Whether anything was given up since this was asked before."""
        has_lost, self._has_lost = self._has_lost, False
        return has_lost

    def _arrived(self, item: _Missing, arrived: int) -> None:
        if item.rounds == 0:
            self.counters.late += 1
            return
        self.counters.recovered += 1
        if arrived > item.first_request:
            # Of several requests the first is taken to be the one that was answered: if it
            # was not, the estimate grows, and the next packets are asked for less often.
            self._round_trip.measured(arrived - item.first_request)

    def _is_hopeless(self, item: _Missing, now: int) -> bool:
        is_spent = not self._may_request or item.rounds >= MAX_ROUNDS
        return is_spent or now - item.noticed >= PATIENCE

    def _give_up(self, count: int) -> None:
        self.counters.lost += count
        self._has_lost = self._has_lost or count > 0
