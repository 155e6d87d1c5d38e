"""The two rings of the seam: commands in, control packets out.

Both have one producer and one consumer, which alone moves the head or the tail: a row is
written before the head is stored with release order, and read after it was loaded with
acquire order. Heads and tails count for ever; a row is their remainder.

Control packets have a ring for each kind, so that a flood of one cannot hide another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import le

from .cfuncs import (
    address_of,
    compiled,
    int64,
    load_acquire,
    memcpy,
    peek,
    publish,
    store_release,
)
from .paths import path_from_words
from .seam import Control, ControlPacket, Path
from .tables import (
    COMMAND_HEAD,
    COMMAND_TAIL,
    CONTROL_HEAD,
    CONTROL_TAIL,
    DATAGRAM,
    KINDS,
    State,
)
from .wire import Buffer

STUN = int(Control.STUN)
DTLS = int(Control.DTLS)
RTCP = int(Control.RTCP)
KEY_FRAME = int(Control.KEY_FRAME)


@compiled
def _count(state: State, kind: int, taken: int) -> None:
    """Count a control packet as handed over (1) or dropped (0)."""
    counters = state.counters[0]
    if kind == STUN:
        counters.control_stun += taken
        counters.control_dropped_stun += 1 - taken
    elif kind == DTLS:
        counters.control_dtls += taken
        counters.control_dropped_dtls += 1 - taken
    elif kind == RTCP:
        counters.control_rtcp += taken
        counters.control_dropped_rtcp += 1 - taken
    else:
        counters.control_key_frame += taken
        counters.control_dropped_key_frame += 1 - taken


@compiled
def free_control_row(state: State, kind: int) -> int:
    """The row where the next control packet of a kind goes; -1 when its ring is full."""
    rows = state.engine[0].control_rows
    head = state.shared[CONTROL_HEAD + 8 * kind]
    tail = load_acquire(address_of(state.shared) + 8 * (CONTROL_TAIL + 8 * kind))
    if head - tail >= rows:
        _count(state, kind, 0)
        return -1
    return int64(kind * rows + (head & (rows - 1)))


@compiled
def push_control(
    state: State, kind: int, at: int, peer: int, buffer: Buffer, row: int, length: int
) -> None:
    """Fill a free row, whose address columns are set, and hand it over."""
    entry = state.control.rows[at]
    entry.peer = peer
    entry.length = length
    entry.arrived = state.engine[0].now
    memcpy(
        address_of(state.control.bytes) + at * DATAGRAM,
        address_of(buffer) + row * buffer.shape[1],
        length,
    )
    head = state.shared[CONTROL_HEAD + 8 * kind]
    store_release(address_of(state.shared) + 8 * (CONTROL_HEAD + 8 * kind), head + 1)
    state.engine[0].announced = 1
    _count(state, kind, 1)


class ControlReader:
    """Python's end of the control rings."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._base = state.shared.ctypes.data
        self._rows = int(state.engine[0].control_rows)

    def __iter__(self) -> Iterator[ControlPacket]:
        """What was there when the iteration came to each kind; never without an end."""
        for kind in range(KINDS):
            head_address = self._base + 8 * (CONTROL_HEAD + 8 * kind)
            tail_address = self._base + 8 * (CONTROL_TAIL + 8 * kind)
            tail = peek(tail_address)
            head = peek(head_address)
            while tail < head:
                packet = self._packet(Control(kind), tail)
                tail += 1
                publish(tail_address, tail)
                yield packet

    def _packet(self, kind: Control, tail: int) -> ControlPacket:
        at = kind * self._rows + (tail & (self._rows - 1))
        entry = self._state.control.rows[at]
        if kind is Control.KEY_FRAME:
            path = Path("", 0, "")
        else:
            path = path_from_words(
                int(entry.high),
                int(entry.low),
                int(entry.port),
                int(entry.scope),
                int(entry.local_high),
                int(entry.local_low),
            )
        data = self._state.control.bytes[at, : entry.length].tobytes()
        return ControlPacket(kind, int(entry.peer), path, data, int(entry.arrived))


class CommandWriter:
    """Python's end of the command ring, and the graveyard.

    A command's place in the order of all commands is an epoch. What a command takes out of
    use is given back by the function that came with it, once the thread has passed it, and
    all other lanes have passed what was in their rings by then: packets and commands that may
    still refer to it.

    A full ring loses nothing and blocks nobody: further commands wait in a list, in order,
    until there is room. That list is bounded by what exists: a peer, track or viewer has a few
    commands in its life, and its id comes back only when the last of them was passed.
    """

    def __init__(self, lanes: Sequence[State], wake: Callable[[], None]) -> None:
        state = lanes[0]
        self._state = state
        self._wake = wake
        others = [lane.shared.ctypes.data for lane in lanes[1:]]
        self._lane_heads = [base + 8 * COMMAND_HEAD for base in others]
        self._lane_tails = [base + 8 * COMMAND_TAIL for base in others]
        self._tail_address = state.shared.ctypes.data + 8 * COMMAND_TAIL
        self._head_address = state.shared.ctypes.data + 8 * COMMAND_HEAD
        self._rows = state.commands.shape[0]
        self._head = 0
        self._waiting: deque[tuple[int, ...]] = deque()
        self._graves: deque[tuple[int, Callable[[], None]]] = deque()
        #: Of those that the first lane has passed: how far the others must have come.
        self._fences: deque[tuple[list[int], Callable[[], None]]] = deque()

    @property
    def waiting(self) -> int:
        """Commands that the ring had no room for yet."""
        return len(self._waiting)

    @property
    def buried(self) -> int:
        """Functions that wait for the thread to pass their commands."""
        return len(self._graves) + len(self._fences)

    def post(self, *words: int, then: Callable[[], None] | None = None) -> None:
        """Send one command; `then` is called when it has taken effect."""
        self._waiting.append(words)
        if then is not None:
            epoch = self._head + len(self._waiting)
            self._graves.append((epoch, then))
        self.advance()

    def advance(self) -> None:
        """Move waiting commands into the ring and bury what the thread has passed."""
        tail = peek(self._tail_address)
        self._bury(tail)
        if not self._waiting:
            return
        room = self._rows - (self._head - tail)
        for _ in range(min(room, len(self._waiting))):
            words = self._waiting.popleft()
            row = self._state.commands[self._head & (self._rows - 1)]
            row[: len(words)] = words
            self._head += 1
        publish(self._head_address, self._head)
        self._wake()

    def _bury(self, tail: int) -> None:
        if self._graves and self._graves[0][0] <= tail:
            # After the tail was read: all that was passed on before is below these.
            heads = [peek(address) for address in self._lane_heads]
            while self._graves and self._graves[0][0] <= tail:
                self._fences.append((heads, self._graves.popleft()[1]))
        if self._fences:
            tails = [peek(address) for address in self._lane_tails]
            while self._fences and all(map(le, self._fences[0][0], tails)):
                self._fences.popleft()[1]()

    def abandon(self) -> None:
        """Give everything back without a thread: it has ended, nothing is in use."""
        self._waiting.clear()
        for _, bury in (*self._fences, *self._graves):
            bury()
        self._fences.clear()
        self._graves.clear()
