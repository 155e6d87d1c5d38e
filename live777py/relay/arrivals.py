"""When packets came that carry a transport-wide number: what congestion feedback is made of.

Each peer has a log of words that is written over from its beginning: the time in µs with the
16-bit number below it, so that a word is never half new. Nobody is woken for it, since
feedback is sent by the clock, and a flood of one peer hides nothing of another's.

The time is the kernel's own of receiving the datagram. The time of the turn would not do: a
turn that sends to hundreds of viewers takes milliseconds, which a sender would take for a
queue in the network.
"""

from __future__ import annotations

from .cfuncs import address_of, compiled, inlined, int64, peek, store_release
from .header import element
from .numbering import SECOND
from .seam import Arrived
from .tables import ARRIVALS, CONTROL_BYTES, State
from .wire import MASK32, Buffer, get16, get_native32

SOL_SOCKET = 1
SO_TIMESTAMPNS = 35
CMSG_HEADER = 16
#: A time of the kernel that is further from ours than this is not believed: a clock was set.
CLOCK_STEP = SECOND


@compiled
def received_at(state: State, row: int) -> int:
    """When the kernel received a datagram; the time of this turn where it does not say."""
    controls = state.input.controls
    now = int64(state.engine[0].now)
    end = min(state.input.messages[row].control_length & MASK32, CONTROL_BYTES)
    at = int64(0)
    while at + CMSG_HEADER <= end:
        length = get_native32(controls, row, at)
        if length < CMSG_HEADER or at + length > end:
            break
        level = get_native32(controls, row, at + 8)
        kind = get_native32(controls, row, at + 12)
        if level == SOL_SOCKET and kind == SO_TIMESTAMPNS and length >= 32:
            seconds = get_native32(controls, row, at + 16)
            wall = seconds * SECOND + get_native32(controls, row, at + 24)
            arrived = wall + state.engine[0].clock_offset
            return int64(arrived if abs(arrived - now) < CLOCK_STEP else now)
        at += (length + 7) & ~7
    return now


@inlined
def transport_number(
    buffer: Buffer, row: int, parts: tuple[int, int, int], identifier: int
) -> int:
    """The transport-wide number of a packet, -1 when it carries none."""
    end, at, profile = parts
    while True:
        found, data, length = element(buffer, row, at, end, profile)
        if found == 0:
            return int64(-1)
        if found == identifier and length >= 2:
            return get16(buffer, row, data)
        at = data + length


@compiled
def note_arrival(
    state: State,
    peer: int,
    buffer: Buffer,
    row: int,
    parts: tuple[int, int, int],
    arrived: int,
) -> None:
    """Write down when an authenticated packet came, if it carries a number."""
    number = transport_number(buffer, row, parts, state.peers[peer].transport_cc)
    if number < 0:
        return
    heads = state.arrivals.heads
    head = heads[peer]
    state.arrivals.words[peer, head & (ARRIVALS - 1)] = (arrived // 1000 << 16) | number
    store_release(address_of(heads) + 8 * peer, head + 1)


class ArrivalReader:
    """Python's end of the logs."""

    def __init__(self, state: State) -> None:
        self._heads = state.arrivals.heads.ctypes.data
        self._words = state.arrivals.words

    def read(self, peer: int, position: int) -> Arrived:
        """What was written from `position` on, as far as it is still there."""
        head = peek(self._heads + 8 * peer)
        first = max(position, head - ARRIVALS)
        row = self._words[peer]
        start = first & (ARRIVALS - 1)
        end = start + head - first
        words = row[start:end].tolist() + row[: max(0, end - ARRIVALS)].tolist()
        # Rows that the thread may have been writing over while they were read.
        overtaken = max(0, peek(self._heads + 8 * peer) + 1 - ARRIVALS - first)
        packets = [(word & 0xFFFF, word >> 16) for word in words[overtaken:]]
        return Arrived(packets, head)
