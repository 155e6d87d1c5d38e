"""Several threads: what the one that receives passes on to those that only send.

A lane is a thread with viewers of its own. Lane 0 also receives, and all commands come to it
first. It passes on what concerns another lane through that lane's command ring, commands and
packets alike, so that the lane sees both in the order in which lane 0 saw them. A packet is
passed on as its place in the history, which all lanes read.
"""

from __future__ import annotations

from .cfuncs import address_of, compiled, load_acquire, store_release, write
from .tables import (
    COMMAND_HEAD,
    COMMAND_TAIL,
    COMMAND_WORDS,
    SHARED_WORDS,
    State,
    Table,
)

#: A command's first word is its kind with the lane above it; lane 0 is the one that receives.
LANE_SHIFT = 8
KIND_MASK = (1 << LANE_SHIFT) - 1
#: Kinds that only lanes see or that are changed on their way.
FEED = 15
PACKET = 16
#: The word of `scratch` that holds an eventfd's value.
_EVENT = 6
#: Viewers by which the lanes' loads are told apart.
STEP = 32


@compiled
def feed_lanes(state: State, index: int) -> None:
    """Pass a track's packets of this batch on to the lanes that have viewers of it.

    Half of a lane's ring is kept for commands, which must not be dropped.
    """
    audience = state.audiences[index]
    rows = state.lanes.rows
    size = rows.shape[1]
    for lane in range(1, rows.shape[0]):
        if (audience.lanes >> lane) & 1 == 0:
            continue
        base = address_of(state.lanes.shared) + 8 * SHARED_WORDS * lane
        head = state.lanes.shared[lane, COMMAND_HEAD]
        tail = load_acquire(base + 8 * COMMAND_TAIL)
        link = audience.batch_first_plus_one
        while link != 0:
            entry = state.input.collected[link - 1]
            link = entry.next_plus_one
            if head - tail >= size // 2:
                state.counters[0].lane_dropped += 1
                continue
            at = head & (size - 1)
            rows[lane, at, 0] = PACKET
            rows[lane, at, 1] = index
            rows[lane, at, 2] = entry.slot
            rows[lane, at, 3] = entry.number
            head += 1
        store_release(base + 8 * COMMAND_HEAD, head)
        state.lanes.wakes[lane].is_due = 1


@compiled
def forward(state: State, row: Table) -> bool:
    """Pass a command on to its lane; false when there is no room for it now."""
    lane = row[0] >> LANE_SHIFT
    rows = state.lanes.rows
    base = address_of(state.lanes.shared) + 8 * SHARED_WORDS * lane
    head = state.lanes.shared[lane, COMMAND_HEAD]
    state.lanes.wakes[lane].is_due = 1
    if head - load_acquire(base + 8 * COMMAND_TAIL) >= rows.shape[1]:
        return False
    at = head & (rows.shape[1] - 1)
    for word in range(COMMAND_WORDS):
        rows[lane, at, word] = row[word]
    kind = row[0] & KIND_MASK
    rows[lane, at, 0] = kind
    if kind == FEED:
        audience = state.audiences[row[1]]
        audience.lanes = (audience.lanes & ~(1 << lane)) | (row[2] << lane)
        rows[lane, at, 2] = state.tracks[row[1]].highest_out
    store_release(base + 8 * COMMAND_HEAD, head + 1)
    return True


@compiled
def wake_lanes(state: State) -> None:
    """Wake the lanes that something was passed on to."""
    for lane in range(1, state.lanes.rows.shape[0]):
        wake = state.lanes.wakes[lane]
        if wake.is_due != 0:
            wake.is_due = 0
            state.scratch[_EVENT] = 1
            write(wake.descriptor, address_of(state.scratch) + 8 * _EVENT, 8)


def least_loaded(loads: list[int]) -> int:
    """The lane for another peer, by the viewers of each.

    In steps, so that a small server does everything on one thread, whose batches are the
    larger for it, while a large stream is shared out.
    """
    return min(range(len(loads)), key=lambda lane: (loads[lane] // STEP, lane))
