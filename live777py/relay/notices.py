"""What the loop has noticed, for control: rows of integers in a ring of their own.

A flood of control packets cannot hide a notice, nor the other way round. When the ring is
full, notices are dropped and counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from .cfuncs import address_of, compiled, load_acquire, peek, publish, store_release
from .seam import Gap, TrackId
from .tables import NOTICE_HEAD, NOTICE_TAIL, NOTICES, State


@compiled
def note_gap(state: State, index: int, first: int, count: int) -> None:
    """Tell control that `count` packets of a track, from `first` on, have not come."""
    counters = state.counters[0]
    head = state.shared[NOTICE_HEAD]
    tail = load_acquire(address_of(state.shared) + 8 * NOTICE_TAIL)
    counters.gaps += 1
    if head - tail >= NOTICES:
        counters.notices_dropped += 1
        return
    track = state.tracks[index]
    row = state.notices[head & (NOTICES - 1)]
    row[0] = index
    row[1] = track.ssrc
    row[2] = first
    row[3] = count
    row[4] = first - track.shift
    row[5] = state.engine[0].now
    store_release(address_of(state.shared) + 8 * NOTICE_HEAD, head + 1)
    state.engine[0].announced = 1


class NoticeReader:
    """Python's end of the ring."""

    def __init__(self, state: State) -> None:
        self._rows = state.notices
        self._head_address = state.shared.ctypes.data + 8 * NOTICE_HEAD
        self._tail_address = state.shared.ctypes.data + 8 * NOTICE_TAIL

    def __iter__(self) -> Iterator[Gap]:
        """What was there when the iteration began; never without an end."""
        tail = peek(self._tail_address)
        head = peek(self._head_address)
        while tail < head:
            words = self._rows[tail & (NOTICES - 1)].tolist()
            tail += 1
            publish(self._tail_address, tail)
            track, ssrc, first, count, sequence, arrived = words[:6]
            yield Gap(TrackId(track), ssrc, first, count, sequence, arrived)
