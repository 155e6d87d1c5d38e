"""Transport-wide congestion feedback to one publisher.

draft-holmer-rmcat-transport-wide-cc-extensions-01. Values in, values out: arrival times come
in, feedback packets go out; who calls owns the timer.
"""

from __future__ import annotations

from collections.abc import Iterable

from live777py.protocol.transport_feedback import TransportFeedback

#: Seconds between two feedback packets. Senders expect 50 to 100 ms.
INTERVAL = 0.09
#: The feedback of all publishers is sent at multiples of this, many in one turn of the loop.
SLOT = 0.03
#: In microseconds.
TICK = 250
REFERENCE = 64_000
#: Packets that one feedback tells of: with a byte or two for each it fits any path.
MAX_COUNT = 400
#: A larger step of the numbers begins anew: it would be nonsense, or all is lost.
MAX_STEP = 1_000
#: How far behind the highest number a packet may come and still be told of.
REORDERING = 400
_MAX_DELTA = 0x7FFF


class TransportWideFeedback:
    """Turns arrivals into feedback; all that it keeps is a window of arrival times."""

    def __init__(self, sender_ssrc: int) -> None:
        self._sender_ssrc = sender_ssrc
        self._count = 0
        #: The highest number so far, extended, and the first that nobody was told of.
        self._highest = -1
        self._next = 0
        #: Arrival times by extended number, of the last `REORDERING` at least.
        self._times: dict[int, int] = {}

    def feedback(
        self, packets: Iterable[tuple[int, int]], media_ssrc: int
    ) -> list[TransportFeedback]:
        """What to tell of packets that came since the call before.

        Args:
            packets: pairs of a 16-bit number and a time in µs, in order of arrival.
            media_ssrc: some source of the publisher.
        """
        times = self._times
        for number, arrived in packets:
            step = number - self._highest & 0xFFFF
            if 0 < step <= MAX_STEP and times:
                self._highest += step
                times[self._highest] = arrived
            else:
                self._take(number, arrived)
        made = []
        end = self._highest + 1
        while self._next < end:
            feedback, self._next = self._make(self._next, end, media_ssrc)
            if feedback is not None:
                made.append(feedback)
        if len(self._times) > 2 * REORDERING:
            recent = end - REORDERING
            self._times = {n: t for n, t in self._times.items() if n >= recent}
        return made

    def _take(self, number: int, arrived: int) -> None:
        """Take in a packet that does not follow the others."""
        if self._highest < 0:
            self._begin(0x10000 | number)
        step = ((number - self._highest + 0x8000) & 0xFFFF) - 0x8000
        if abs(step) > MAX_STEP:
            self._begin((self._highest + 0x10000 & ~0xFFFF) | number)
            step = 0
        extended = self._highest + step
        if step <= -REORDERING or extended in self._times:
            return
        self._highest = max(self._highest, extended)
        self._times[extended] = arrived
        # One that was told to be missing has come: tell again from there.
        self._next = min(self._next, extended)

    def _begin(self, extended: int) -> None:
        self._times.clear()
        self._highest = self._next = extended

    def _make(
        self, first: int, end: int, media_ssrc: int
    ) -> tuple[TransportFeedback | None, int]:
        """The feedback from `first` on, and where the next one begins."""
        end = min(end, first + MAX_COUNT)
        reference = -1
        before = 0
        received = []
        for number in range(first, end):
            arrived = self._times.get(number)
            if arrived is None:
                continue
            if reference < 0:
                reference = arrived // REFERENCE
                before = reference * (REFERENCE // TICK)
            ticks = arrived // TICK
            if abs(ticks - before) > _MAX_DELTA:
                end = number
                break
            received.append((number & 0xFFFF, ticks - before))
            before = ticks
        if not received:
            return None, end
        self._count += 1
        return (
            TransportFeedback(
                sender_ssrc=self._sender_ssrc,
                media_ssrc=media_ssrc,
                base_sequence=first & 0xFFFF,
                count=end - first,
                reference_time=_signed24(reference),
                feedback_count=(self._count - 1) & 0xFF,
                received=tuple(received),
            ),
            end,
        )


def _signed24(number: int) -> int:
    return (number + 0x800000 & 0xFFFFFF) - 0x800000
