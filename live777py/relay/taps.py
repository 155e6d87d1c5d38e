"""A track's packets for sinks that are not WebRTC: a bounded ring for each.

A packet is as the history has it: in the track's outgoing numbering, payload type and SSRC
zero, extensions under their canonical ids. A sink that is too slow loses whole frames and
nobody else anything: what there is no room for is dropped with all that follows, up to the
next frame, or to the next key frame where frames depend on each other. The beginning of a
frame whose end was dropped is in the ring already; its sequence numbers tell.
"""

from __future__ import annotations

from .cfuncs import (
    address_of,
    compiled,
    load_acquire,
    memcpy,
    peek,
    publish,
    store_release,
)
from .keyframes import OPAQUE
from .memory import Memory
from .tables import RING_HEAD, RING_TAIL, RING_WORDS, ROW, Record, State
from .wire import get32, signed32


@compiled
def open_tap(state: State, index: int, track: int, capacity: int) -> None:
    """Put a tap at the head of its track's list."""
    tap = state.taps.rows[index]
    tap.capacity = capacity
    tap.is_skipping = 0
    tap.packets = 0
    tap.dropped = 0
    tap.frames_dropped = 0
    tap.track_plus_one = track + 1
    tap.next_plus_one = state.audiences[track].first_tap_plus_one
    state.audiences[track].first_tap_plus_one = index + 1


@compiled
def close_tap(state: State, index: int) -> None:
    """Take a tap out of its track's list."""
    tap = state.taps.rows[index]
    audience = state.audiences[tap.track_plus_one - 1]
    if audience.first_tap_plus_one == index + 1:
        audience.first_tap_plus_one = tap.next_plus_one
    link = audience.first_tap_plus_one
    while link != 0:
        other = state.taps.rows[link - 1]
        if other.next_plus_one == index + 1:
            other.next_plus_one = tap.next_plus_one
        link = other.next_plus_one
    tap.track_plus_one = 0


@compiled
def _goes_on(state: State, tap: Record, slot: int, has_key_frames: bool) -> bool:
    """Whether a packet ends what is skipped."""
    timestamp = get32(state.history.bytes, slot, 4)
    if signed32(timestamp - tap.lost_timestamp) <= 0:
        return False
    return bool(not has_key_frames or state.history.packets[slot].is_key != 0)


@compiled
def _drop(state: State, tap: Record, slot: int) -> None:
    timestamp = get32(state.history.bytes, slot, 4)
    if tap.is_skipping == 0 or tap.skipped_timestamp != timestamp:
        tap.frames_dropped += 1
        tap.skipped_timestamp = timestamp
    tap.is_skipping = 1
    tap.dropped += 1
    state.counters[0].tap_dropped += 1


@compiled
def _feed_one(state: State, index: int, track: int) -> None:
    """Give a tap the packets of this batch of its track."""
    tap = state.taps.rows[index]
    shared = state.taps.shared
    base = address_of(shared)
    at = index * RING_WORDS
    rows = state.taps.lengths.shape[1]
    head = shared[at + RING_HEAD]
    tail = load_acquire(base + 8 * (at + RING_TAIL))
    has_key_frames = state.tracks[track].format != OPAQUE
    link = state.audiences[track].batch_first_plus_one
    while link != 0:
        entry = state.input.collected[link - 1]
        slot = entry.slot
        link = entry.next_plus_one
        if tap.is_skipping != 0 and not _goes_on(state, tap, slot, has_key_frames):
            _drop(state, tap, slot)
            continue
        if head - tail >= tap.capacity:
            _drop(state, tap, slot)
            tap.lost_timestamp = get32(state.history.bytes, slot, 4)
            continue
        tap.is_skipping = 0
        column = head & (rows - 1)
        length = state.history.packets[slot].length
        memcpy(
            address_of(state.taps.bytes) + (index * rows + column) * ROW,
            address_of(state.history.bytes) + slot * ROW,
            length,
        )
        state.taps.lengths[index, column] = length
        head += 1
        tap.packets += 1
        state.counters[0].tapped += 1
        state.engine[0].tapped = 1
    store_release(base + 8 * (at + RING_HEAD), head)


@compiled
def feed(state: State, index: int) -> None:
    """Give a track's packets of this batch to all its taps."""
    link = state.audiences[index].first_tap_plus_one
    while link != 0:
        _feed_one(state, link - 1, index)
        link = state.taps.rows[link - 1].next_plus_one


class TapReader:
    """Python's end of the taps' rings."""

    def __init__(self, memory: Memory) -> None:
        self._lengths = memory.state.taps.lengths
        self._bytes = memory.tapped.memory
        self._base = memory.state.taps.shared.ctypes.data
        self._rows = self._lengths.shape[1]

    def _address(self, tap: int, word: int) -> int:
        return int(self._base + 8 * (tap * RING_WORDS + word))

    def waiting(self, tap: int) -> int:
        """Packets that are there."""
        tail = peek(self._address(tap, RING_TAIL))
        return peek(self._address(tap, RING_HEAD)) - tail

    def read(self, tap: int) -> list[bytes]:
        """Take what is there."""
        tail = peek(self._address(tap, RING_TAIL))
        head = peek(self._address(tap, RING_HEAD))
        packets = []
        for position in range(tail, head):
            column = position & (self._rows - 1)
            start = (tap * self._rows + column) * ROW
            length = int(self._lengths[tap, column])
            packets.append(self._bytes[start : start + length])
        publish(self._address(tap, RING_TAIL), head)
        return packets
