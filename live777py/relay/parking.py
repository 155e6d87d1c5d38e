"""SRTP that outran the handshake: kept for a second, and played when the keys are there.

A publisher whose media arrives before our end of the handshake may never repeat its first
key frame. The rows are one queue of all peers in the order of arrival; a row is given back
when all older ones are.
"""

from __future__ import annotations

from .cfuncs import address_of, compiled, int64, memcpy
from .numbering import SECOND
from .tables import DATAGRAM, State
from .wire import Buffer

#: Packets of one peer that may wait.
MAX_PARKED = 256


@compiled
def _vacate(state: State, row: int) -> None:
    entry = state.parking.rows[row]
    if entry.peer_plus_one != 0:
        state.peers[entry.peer_plus_one - 1].parked -= 1
        entry.peer_plus_one = 0


@compiled
def _drop_expired(state: State) -> None:
    """Advance over rows that are free or older than a second."""
    engine = state.engine[0]
    mask = state.parking.rows.shape[0] - 1
    while engine.parked_tail < engine.parked_head:
        row = engine.parked_tail & mask
        entry = state.parking.rows[row]
        if entry.peer_plus_one != 0:
            if engine.now - entry.arrived < SECOND:
                return
            state.counters[0].parked_dropped += 1
            _vacate(state, row)
        engine.parked_tail += 1


@compiled
def park(state: State, peer: int, buffer: Buffer, row: int, length: int) -> None:
    """Keep a datagram until the peer's keys come, if there is room."""
    engine = state.engine[0]
    _drop_expired(state)
    full = engine.parked_head - engine.parked_tail >= state.parking.rows.shape[0]
    if full or state.peers[peer].parked >= MAX_PARKED:
        state.counters[0].parked_dropped += 1
        return
    at = engine.parked_head & (state.parking.rows.shape[0] - 1)
    engine.parked_head += 1
    entry = state.parking.rows[at]
    entry.peer_plus_one = peer + 1
    entry.length = length
    entry.arrived = engine.now
    memcpy(
        address_of(state.parking.bytes) + at * DATAGRAM,
        address_of(buffer) + row * buffer.shape[1],
        length,
    )
    state.peers[peer].parked += 1
    state.counters[0].parked += 1


@compiled
def next_parked(state: State, peer: int, position: int) -> int:
    """The position of the peer's first parked packet from `position` on; -1 for none."""
    engine = state.engine[0]
    mask = state.parking.rows.shape[0] - 1
    position = max(position, engine.parked_tail)
    while position < engine.parked_head:
        if state.parking.rows[position & mask].peer_plus_one == peer + 1:
            return position
        position += 1
    return -1


@compiled
def unpark(state: State, position: int) -> int:
    """Take a parked packet out; its bytes stay until the next `park`.

    Returns:
        Its length, or 0 when it has waited for too long.
    """
    row = position & (state.parking.rows.shape[0] - 1)
    entry = state.parking.rows[row]
    _vacate(state, row)
    if state.engine[0].now - entry.arrived >= SECOND:
        state.counters[0].parked_dropped += 1
        return 0
    return int64(entry.length)


@compiled
def forget_parked(state: State, peer: int) -> None:
    """Drop what a peer has waiting."""
    position = next_parked(state, peer, 0)
    while position >= 0:
        state.counters[0].parked_dropped += 1
        _vacate(state, position & (state.parking.rows.shape[0] - 1))
        position = next_parked(state, peer, position + 1)
