"""Packets from sources that are not WebRTC, on their way into a track.

Python writes into a ring of each source; the loop takes them from there through the same
numbering, history and fan-out as what peers send. To the tables a source is a peer behind the
last real one, whose only binding is that of payload type 0: it takes all.
"""

from __future__ import annotations

from collections.abc import Iterable

from .cfuncs import (
    address_of,
    compiled,
    int64,
    load_acquire,
    peek,
    publish,
    store_release,
)
from .fanout import collect, deliver
from .header import FIXED_HEADER, locate, padding
from .memory import Memory
from .numbering import may_send
from .receive import store
from .tables import (
    BATCH,
    MAX_PACKET,
    PAYLOAD_TYPES,
    RING_HEAD,
    RING_TAIL,
    RING_WORDS,
    ROW,
    State,
)
from .wire import get32


@compiled
def open_source(state: State, source: int) -> None:
    """Look at a source's ring from now on."""
    engine = state.engine[0]
    state.injection.open[engine.sources] = source
    engine.sources += 1


@compiled
def close_source(state: State, source: int) -> None:
    """Clear a source's row and look at its ring no more; what is in it is forgotten."""
    engine = state.engine[0]
    gone = state.peers[engine.first_source + source]
    gone.last_received = 0
    gone.packets_received = 0
    gone.bytes_received = 0
    binding = state.bindings[(engine.first_source + source) * PAYLOAD_TYPES]
    binding.track_plus_one = 0
    opened = state.injection.open
    for i in range(engine.sources):
        if opened[i] == source:
            engine.sources -= 1
            opened[i] = opened[engine.sources]
            return


@compiled
def _take(state: State, peer: int, row: int, length: int) -> None:
    """One packet of a source."""
    counters = state.counters[0]
    buffer = state.injection.bytes
    if length < FIXED_HEADER:
        counters.malformed += 1
        return
    binding = state.bindings[peer * PAYLOAD_TYPES]
    if binding.track_plus_one == 0:
        counters.no_track += 1
        return
    index = binding.track_plus_one - 1
    sender = state.peers[peer]
    # The limit of SSRCs is for libsrtp's sake.
    sender.sources = 0
    if not may_send(state, state.tracks[index], peer, get32(buffer, row, 8)):
        counters.foreign_ssrc += 1
        return
    sender.last_received = state.engine[0].now
    sender.packets_received += 1
    sender.bytes_received += length
    counters.injected += 1
    parts = locate(buffer, row, length)
    pad = padding(buffer, row, parts[0], length) if parts[0] >= 0 else int64(-1)
    if pad < 0:
        counters.malformed += 1
        return
    slot = store(state, binding, buffer, row, length, parts, pad)
    if slot >= 0:
        collect(state, index, slot, state.history.packets[slot].number)


@compiled
def take_injected(state: State) -> int:
    """Take what sources have put in, at most one batch of each, and forward it.

    Returns:
        How many packets there were. `injection_left` says that there are more.
    """
    engine = state.engine[0]
    shared = state.injection.shared
    base = address_of(shared)
    rows = state.injection.lengths.shape[1]
    taken = int64(0)
    for i in range(engine.sources):
        source = state.injection.open[i]
        at = source * RING_WORDS
        head = load_acquire(base + 8 * (at + RING_HEAD))
        tail = shared[at + RING_TAIL]
        if head - tail > BATCH:
            head = tail + BATCH
            engine.injection_left = 1
        for position in range(tail, head):
            column = position & (rows - 1)
            length = state.injection.lengths[source, column]
            _take(state, engine.first_source + source, source * rows + column, length)
        taken += head - tail
        store_release(base + 8 * (at + RING_TAIL), head)
    if taken > 0:
        deliver(state)
    return taken


class SourceWriter:
    """Python's end of the sources' rings."""

    def __init__(self, memory: Memory) -> None:
        self._injection = memory.state.injection
        self._bytes = memory.injected.memory
        self._base = self._injection.shared.ctypes.data
        self._rows = self._injection.lengths.shape[1]

    def _address(self, source: int, word: int) -> int:
        return int(self._base + 8 * (source * RING_WORDS + word))

    def waiting(self, source: int) -> int:
        """Packets that the loop has not seen yet."""
        tail = peek(self._address(source, RING_TAIL))
        return peek(self._address(source, RING_HEAD)) - tail

    def put(self, source: int, packets: Iterable[bytes]) -> tuple[int, int]:
        """Put packets into a source's ring.

        Returns:
            How many were taken and how many were not, being too long or too many.
        """
        head = first = peek(self._address(source, RING_HEAD))
        last = peek(self._address(source, RING_TAIL)) + self._rows
        dropped = 0
        for data in packets:
            if head == last or len(data) > MAX_PACKET:
                dropped += 1
                continue
            column = head & (self._rows - 1)
            start = (source * self._rows + column) * ROW
            self._bytes[start : start + len(data)] = data
            self._injection.lengths[source, column] = len(data)
            head += 1
        publish(self._address(source, RING_HEAD), head)
        return head - first, dropped
