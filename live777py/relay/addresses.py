"""The table of remote addresses: which peer a datagram comes from.

Open addressing with linear probing; removal moves later entries back, so there are no
tombstones and a table that has seen a million addresses is as fast as a new one. IPv4
addresses are kept as IPv4-mapped IPv6 ones; `port` is the port with the scope above it.
"""

from __future__ import annotations

from .cfuncs import compiled, inlined
from .tables import Table

_MASK31 = 0x7FFFFFFF


@inlined
def _mix(value: int, word: int) -> int:
    # 31 bits times 31 bits: nothing here overflows, compiled or not.
    return ((((value ^ word) & _MASK31) * 0x5851F42D) >> 16) & 0x7FFFFFFFFFFF


@inlined
def home(seed: int, high: int, low: int, port: int, mask: int) -> int:
    """Where the search for an address begins; the seed keeps strangers from choosing."""
    value = _mix(seed, high >> 32)
    value = _mix(value, high)
    value = _mix(value, low >> 32)
    value = _mix(value, low)
    value = _mix(value, port)
    value = _mix(value, port >> 31)
    return value & mask


@inlined
def find(table: Table, seed: int, high: int, low: int, port: int) -> int:
    """The row of an address, or the bitwise complement of the free row where it would go."""
    mask = table.shape[0] - 1
    row = home(seed, high, low, port, mask)
    while True:
        entry = table[row]
        if entry.peer_plus_one == 0:
            return ~row
        if entry.low == low and entry.port == port and entry.high == high:
            return row
        row = (row + 1) & mask


@compiled
def insert(table: Table, seed: int, high: int, low: int, port: int, peer: int) -> None:
    """Give an address to a peer; the newest owner has it."""
    row = find(table, seed, high, low, port)
    if row < 0:
        row = ~row
        entry = table[row]
        entry.high = high
        entry.low = low
        entry.port = port
    table[row].peer_plus_one = peer + 1


@compiled
def remove(table: Table, seed: int, high: int, low: int, port: int, peer: int) -> None:
    """Take an address from a peer, unless it has become another's."""
    hole = find(table, seed, high, low, port)
    if hole < 0 or table[hole].peer_plus_one != peer + 1:
        return
    mask = table.shape[0] - 1
    row = hole
    while True:
        row = (row + 1) & mask
        entry = table[row]
        if entry.peer_plus_one == 0:
            break
        start = home(seed, entry.high, entry.low, entry.port, mask)
        # It may fill the hole unless its search begins behind the hole.
        if (row - start) & mask >= (row - hole) & mask:
            moved = table[hole]
            moved.high = entry.high
            moved.low = entry.low
            moved.port = entry.port
            moved.peer_plus_one = entry.peer_plus_one
            hole = row
    table[hole].peer_plus_one = 0
