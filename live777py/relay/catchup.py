"""Viewers on their way to the live edge: from the latest key frame, in a paced burst.

Such a viewer has a cursor, the number of the packet that is next for it. Live packets reach
it in their turn, so that nothing comes out of order; once the cursor has passed the newest
packet the viewer is one like all others. The first packet comes once more, a moment later:
who loses it cannot know that there was one, so nobody would ask.

All bursts together are bounded, so that a storm of joins does not delay those who watch.
"""

from __future__ import annotations

from .cfuncs import compiled, fence, int64
from .fanout import begin, can_be_sent_to, note_sent, send_listed
from .groups import usable
from .output import flush
from .retransmit import resend
from .tables import BATCH, Record, State
from .wire import MASK16, get32, signed32

#: The cursor of a viewer at the live edge: above every number.
LIVE = 1 << 62
#: Bursts go on in steps of at least this, in nanoseconds.
STEP = 1_000_000
#: Packets of a step for one viewer (1,200 bytes each: 100 Mbit/s), and for all.
VIEWER_PACKETS = 10
ALL_PACKETS = 100
#: After a delay, at most so many steps are made up for.
MAX_STEPS = 2


@compiled
def _enlist(state: State, index: int, cursor: int) -> None:
    engine = state.engine[0]
    viewer = state.viewers[index]
    viewer.cursor = cursor
    if viewer.catching_plus_one != 0:
        return
    if engine.catching == 0:
        engine.caught_up_at = engine.now - STEP
    state.catching[engine.catching] = index
    engine.catching += 1
    viewer.catching_plus_one = engine.catching


@compiled
def leave(state: State, index: int) -> None:
    """End a viewer's burst, if it has one: from here on it gets what is live."""
    engine = state.engine[0]
    viewer = state.viewers[index]
    viewer.cursor = LIVE
    viewer.echo_plus_one = 0
    if viewer.catching_plus_one == 0:
        return
    last = state.catching[engine.catching - 1]
    state.catching[viewer.catching_plus_one - 1] = last
    state.viewers[last].catching_plus_one = viewer.catching_plus_one
    viewer.catching_plus_one = 0
    engine.catching -= 1


@compiled
def _has_group(state: State, viewer: Record) -> bool:
    engine = state.engine[0]
    track = state.tracks[viewer.track_plus_one - 1]
    # The receiver may write all this meanwhile. Whatever mixture is read, a viewer begins
    # with a packet that was some group's first, and misses what others may lose, too.
    return bool(
        viewer.catch_up != 0
        and usable(track, engine.history, engine.now, engine.catch_up_age) > 0
    )


@compiled
def _keep_time(state: State, viewer: Record, first: int) -> None:
    """Have the group's first frame come later than the last that the viewer was sent.

    It may have been sent a part of the same frames, which must not become one with these.
    """
    index = viewer.track_plus_one - 1
    depth = state.engine[0].history
    start_slot = index * depth + first % depth
    number = viewer.last_sent_plus_one - 1 - viewer.shift
    slot = index * depth + number % depth
    if state.history.packets[slot].number != number:
        return
    fence()
    began = get32(state.history.bytes, start_slot, 4)
    step = signed32(get32(state.history.bytes, slot, 4) - began)
    fence()
    packets = state.history.packets
    if packets[slot].number != number or packets[start_slot].number != first:
        # The receiver has overwritten one of them meanwhile.
        return
    if step >= 0:
        viewer.timestamp_offset = (viewer.timestamp_offset + step + 1) & 0xFFFFFFFF


@compiled
def start(state: State, index: int) -> None:
    """Let a viewer begin with the latest key frame, or else with the next packet.

    For a new decoder: what it was sent before is never sent to it again.
    """
    leave(state, index)
    viewer = state.viewers[index]
    viewer.skipped_plus_one = 0
    track = viewer.track_plus_one - 1
    first = state.tracks[track].group_start
    if first == 0 or not _has_group(state, viewer):
        viewer.started = 0
        return
    if viewer.last_sent_plus_one != 0:
        _keep_time(state, viewer, first)
    begin(viewer, first)
    if first > state.audiences[track].highest:
        # A key frame that this lane is yet to be fed: it is live.
        return
    viewer.echo_plus_one = first + viewer.shift + 1
    _enlist(state, index, first)


@compiled
def resume(state: State, index: int) -> None:
    """Let a viewer that got nothing for a while go on, where it was if that is possible."""
    viewer = state.viewers[index]
    following = viewer.last_sent_plus_one - viewer.shift
    track = viewer.track_plus_one - 1
    first = state.tracks[track].group_start
    is_within = first <= following <= state.audiences[track].highest + 1
    if viewer.started != 0 and is_within and _has_group(state, viewer):
        _enlist(state, index, following)
    else:
        start(state, index)


@compiled
def _advance(state: State, index: int, quota: int) -> int:
    """Send a viewer its next packets; how many there were."""
    viewer = state.viewers[index]
    if not can_be_sent_to(state, viewer):
        leave(state, index)
        viewer.started = 0
        return int64(0)
    track_index = viewer.track_plus_one - 1
    # What a lane is yet to be fed comes in its turn.
    highest = state.audiences[track_index].highest
    depth = state.engine[0].history
    cursor = viewer.cursor
    if cursor <= highest - depth:
        # Overtaken by the stream; the gap tells the viewer to ask for a key frame.
        leave(state, index)
        return int64(0)
    count = 0
    echo = viewer.echo_plus_one - 1
    has_begun = viewer.last_sent_plus_one > echo
    end = min(highest + 1, cursor + BATCH)
    while cursor < end and count < quota:
        slot = track_index * depth + cursor % depth
        if state.history.packets[slot].number == cursor:
            state.output.slots[count] = slot
            state.output.numbers[count] = cursor
            count += 1
        cursor += 1
    viewer.cursor = cursor
    # What the numbers stand for is read after them.
    fence()
    send_listed(state, index, count)
    for i in range(count):
        if state.history.packets[state.output.slots[i]].is_late != 0:
            note_sent(state, index, state.output.numbers[i])
    if echo >= 0:
        if count > 0 and not has_begun:
            # The next step will be far enough from this one to escape what it may lose.
            return int64(count)
        viewer.echo_plus_one = 0
        resend(state, index, echo & MASK16)
        count += 1
    if cursor > highest:
        leave(state, index)
        state.counters[0].caught_up += 1
    return int64(count)


@compiled
def catch_up(state: State) -> None:
    """Take all bursts a step further, if it is time."""
    engine = state.engine[0]
    elapsed = engine.now - engine.caught_up_at
    if engine.catching == 0 or elapsed < STEP:
        return
    engine.caught_up_at = engine.now
    steps = min(elapsed // STEP, MAX_STEPS)
    left = ALL_PACKETS * steps
    for _ in range(engine.catching):
        if engine.catching == 0 or left <= 0:
            break
        if engine.catch_next >= engine.catching:
            engine.catch_next = 0
        index = state.catching[engine.catch_next]
        left -= _advance(state, index, min(VIEWER_PACKETS * steps, left))
        if state.viewers[index].catching_plus_one != 0:
            engine.catch_next += 1
    flush(state)
