"""The packets since a track's latest key frame: what a new viewer may begin with.

They lie in the history; here is known where they begin, and whether they are all there. A
group begins with the first packet that has the key frame's timestamp: delimiters and
parameter sets come before the packet by which the key frame is told.
"""

from __future__ import annotations

from .cfuncs import compiled, inlined, int64
from .numbering import SECOND
from .tables import Record, State
from .wire import get32

#: For so long a gap may yet be filled by a retransmission from the publisher.
REPAIR_TIME = SECOND // 2


@inlined
def _slot(state: State, index: int, number: int) -> int:
    """Where the packet of this number is in the history if it is there."""
    depth = state.engine[0].history
    slot = index * depth + number % depth
    return int64(slot) if state.history.packets[slot].number == number else int64(-1)


@compiled
def _extend_back(state: State, index: int) -> None:
    """Take packets into the group that stand before it and are of the same frame."""
    track = state.tracks[index]
    for _ in range(state.engine[0].history):
        slot = _slot(state, index, track.group_start - 1)
        if slot < 0 or get32(state.history.bytes, slot, 4) != track.group_timestamp:
            return
        track.group_start -= 1


@compiled
def begin_group(state: State, index: int, slot: int) -> None:
    """A key frame was told by this packet, which the history and the counts hold already."""
    track = state.tracks[index]
    packet = state.history.packets[slot]
    if packet.number <= track.group_start:
        # A late packet of an older key frame.
        return
    track.group_start = packet.number
    track.group_timestamp = get32(state.history.bytes, slot, 4)
    track.group_started = packet.arrival
    missing = 0
    for number in range(packet.number + 1, track.highest_out):
        if _slot(state, index, number) < 0:
            missing += 1
    track.group_missing = missing
    track.group_gap_at = packet.arrival
    _extend_back(state, index)


@inlined
def continue_group(
    state: State, index: int, number: int, highest: int, is_new: bool
) -> None:
    """Note a packet of the track, to know whether the group is complete.

    Args:
        state: of the loop.
        index: the track's.
        number: the packet's.
        highest: the highest number before it came.
        is_new: it was not in the history before.
    """
    track = state.tracks[index]
    if track.group_start == 0:
        return
    if number > highest:
        if number > highest + 1:
            if track.group_missing == 0:
                track.group_gap_at = state.engine[0].now
            track.group_missing += number - highest - 1
    elif number > track.group_start:
        if is_new and track.group_missing > 0:
            track.group_missing -= 1
    elif number == track.group_start - 1:
        _extend_back(state, index)


@compiled
def usable(track: Record, history: int, now: int, age: int) -> int:
    """How many packets a viewer would begin with; 0 when there is no group to begin with.

    A group is of no use when it is too old, not all there, or about to be overwritten.

    Args:
        track: whose group.
        history: the packets that are kept of each track.
        now: the time.
        age: of the key frame, at most, in nanoseconds.
    """
    if track.group_start == 0 or now - track.group_started > age:
        return int64(0)
    if track.group_missing != 0 and now - track.group_gap_at > REPAIR_TIME:
        return int64(0)
    count = track.highest_out - track.group_start + 1
    return int64(count) if count <= history - history // 8 else int64(0)
