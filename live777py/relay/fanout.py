"""From a track's new packets to its viewers, once a batch.

The packets of a batch are collected track by track; then every viewer of the track gets its
copies, encrypted one after the other, so that they can leave as runs of equal size.
"""

from __future__ import annotations

from .cfuncs import (
    address_of,
    compiled,
    fence,
    inlined,
    int64,
    memcpy,
    srtp_protect,
)
from .echoes import probe
from .header import rename_elements
from .lanes import feed_lanes, wake_lanes
from .numbering import SECOND
from .output import flush, seal
from .tables import BATCH, GSO_PACKETS, RESENT_ROWS, ROW, Record, State
from .taps import feed
from .wire import MASK32, get8, get32, put16, put32


@inlined
def begin(viewer: Record, number: int) -> None:
    """Fix a viewer's numbering at the first packet that it gets.

    Its first sequence number must be low (RFC 3711 section 3.3.1: a loss at the start must
    not be mistaken for a roll-over), and after a silence it goes on where it was.
    """
    if viewer.last_sent_plus_one == 0:
        upcoming = viewer.first_sequence
    else:
        upcoming = viewer.last_sent_plus_one
    viewer.shift = upcoming - number
    viewer.floor = number
    viewer.started = 1


@inlined
def rewrite(state: State, viewer: Record, at: int, sequence: int) -> None:
    """Make a packet of the history, copied to the output, this viewer's."""
    buffer = state.output.bytes
    buffer[at, 1] = get8(buffer, at, 1) | viewer.payload_type
    put16(buffer, at, 2, sequence)
    put32(buffer, at, 4, get32(buffer, at, 4) + viewer.timestamp_offset)
    put32(buffer, at, 8, viewer.ssrc)
    if get8(buffer, at, 0) & 0x10:
        rename_elements(buffer, at, viewer.extensions)


@inlined
def is_whole(state: State, slot: int, number: int) -> bool:
    """Whether what was just read of the history was all of this packet.

    The receiver may overwrite it while another lane reads: it clears the number before and
    sets it afterwards.
    """
    fence()
    if state.history.packets[slot].number == number:
        return True
    state.counters[0].lane_overtaken += 1
    return False


@inlined
def is_skipped(state: State, viewer: Record, slot: int) -> bool:
    """Whether a packet belongs to the frame of which the viewer lost a part.

    The kernel had no room for it; the rest would only be in the way of the next frame.
    """
    timestamp = get32(state.history.bytes, slot, 4) + viewer.timestamp_offset
    if (timestamp & MASK32) + 1 == viewer.skipped_plus_one:
        return True
    viewer.skipped_plus_one = 0
    return False


@inlined
def was_sent(state: State, index: int, number: int) -> bool:
    """Whether a late packet went to a viewer before its turn, from the history.

    To a lane that is behind, what comes late is in the history before its turn.
    """
    entry = state.resent[index * RESENT_ROWS + number % RESENT_ROWS]
    is_recent = state.engine[0].now - entry.at < SECOND
    return bool(entry.number == number and is_recent)


@inlined
def note_sent(state: State, index: int, number: int) -> None:
    """Remember that a packet went to a viewer now."""
    entry = state.resent[index * RESENT_ROWS + number % RESENT_ROWS]
    entry.number = number
    entry.at = state.engine[0].now


@inlined
def emit(
    state: State, index: int, viewer: Record, session: int, slot: int, number: int
) -> int:
    """Put one viewer's copy of a packet into the output; its length, 0 when it got none."""
    engine = state.engine[0]
    packet = state.history.packets[slot]
    if number >= viewer.cursor:
        # On its way to the live edge: that packet's turn comes.
        return 0
    if packet.is_late != 0:
        if viewer.started == 0 or was_sent(state, index, number):
            # What follows it has been sent already: not the place to begin.
            return 0
    if viewer.started == 0:
        begin(viewer, number)
    elif number < viewer.floor:
        return 0
    if viewer.skipped_plus_one != 0 and is_skipped(state, viewer, slot):
        return 0
    at = engine.output_packets
    target = address_of(state.output.bytes) + at * ROW
    length = packet.length
    memcpy(target, address_of(state.history.bytes) + slot * ROW, length)
    if not is_whole(state, slot, number):
        return 0
    sequence = number + viewer.shift
    rewrite(state, viewer, at, sequence)
    state.scratch[0] = length
    if srtp_protect(session, target, address_of(state.scratch)) != 0:
        state.counters[0].protect_failed += 1
        return 0
    if sequence >= viewer.last_sent_plus_one:
        if viewer.last_sent_plus_one == 0:
            viewer.first_sent_plus_one = sequence + 1
        viewer.last_sent_plus_one = sequence + 1
    length = state.scratch[0]
    state.output.iovecs[at].length = length
    engine.output_packets = at + 1
    return int64(length)


@compiled
def cut(state: State, count: int) -> int:
    """Cut the packets that `slots` lists into runs.

    A run's packets are of equal size, but for the last, which may be shorter.

    Returns:
        How many runs there are.
    """
    slots = state.output.slots
    runs = state.output.runs
    made = 0
    is_closed = True
    size = 0
    for i in range(count):
        length = state.history.packets[slots[i]].length
        if is_closed or length > size or runs[made - 1] >= GSO_PACKETS:
            runs[made] = 1
            made += 1
            size = length
            is_closed = False
        else:
            runs[made - 1] += 1
            is_closed = length < size
    return made


@compiled
def plan(state: State, audience: Record) -> int:
    """List the track's packets of this batch, and cut them into runs; how many there are."""
    count = 0
    link = audience.batch_first_plus_one
    while link != 0:
        entry = state.input.collected[link - 1]
        state.output.slots[count] = entry.slot
        state.output.numbers[count] = entry.number
        audience.highest = max(audience.highest, entry.number)
        count += 1
        link = entry.next_plus_one
    audience.batch_first_plus_one = 0
    return cut(state, count)


@inlined
def _send_run(
    state: State, index: int, viewer: Record, first_slot: int, count: int
) -> None:
    """Encrypt a run for one viewer and make messages of it."""
    engine = state.engine[0]
    peer = state.destinations[viewer.peer]
    if engine.output_packets + count > state.output.bytes.shape[0]:
        flush(state)
    is_apart = engine.gso == 0 or peer.gso_refused != 0
    first = engine.output_packets
    packets = 0
    octets = 0
    size = 0
    for i in range(count):
        slot = state.output.slots[first_slot + i]
        number = state.output.numbers[first_slot + i]
        # Read before it is known to be whole.
        share = state.history.packets[slot].octets
        length = emit(state, index, viewer, peer.send_session, slot, number)
        if length == 0:
            continue
        packets += 1
        octets += share
        size += length
        if is_apart:
            seal(state, index, viewer.peer, engine.output_packets - 1, 1, share, length)
    if packets == 0:
        return
    if not is_apart:
        seal(state, index, viewer.peer, first, packets, octets, size)
    viewer.packets += packets
    viewer.octets += octets
    peer.packets_sent += packets
    peer.bytes_sent += size
    state.counters[0].packets_out += packets
    state.counters[0].bytes_out += size


@compiled
def send_listed(state: State, index: int, count: int) -> None:
    """Send the packets that `slots` lists to one viewer."""
    runs = cut(state, count)
    slot = 0
    for run in range(runs):
        _send_run(state, index, state.viewers[index], slot, state.output.runs[run])
        slot += state.output.runs[run]


@inlined
def can_be_sent_to(state: State, viewer: Record) -> bool:
    """Whether a viewer may be sent anything at all now."""
    peer = state.destinations[viewer.peer]
    is_reachable = peer.send_session != 0 and peer.name_length != 0
    return bool(is_reachable and viewer.payload_type >= 0 and viewer.paused == 0)


@compiled
def fan_out(state: State, index: int) -> None:
    """Send a track's packets of this batch to all its viewers."""
    audience = state.audiences[index]
    runs = plan(state, audience)
    link = audience.first_viewer_plus_one
    while link != 0:
        viewer = state.viewers[link - 1]
        if can_be_sent_to(state, viewer):
            slot = 0
            for run in range(runs):
                count = state.output.runs[run]
                _send_run(state, link - 1, viewer, slot, count)
                slot += count
            probe(state, link - 1, viewer)
        link = viewer.next_plus_one


@compiled
def deliver(state: State) -> None:
    """Send what was collected to whom it concerns."""
    engine = state.engine[0]
    # First, so that they work at the same time.
    for i in range(engine.dirty):
        if state.audiences[state.input.dirty[i]].lanes != 0:
            feed_lanes(state, state.input.dirty[i])
    wake_lanes(state)
    for i in range(engine.dirty):
        if state.audiences[state.input.dirty[i]].first_tap_plus_one != 0:
            feed(state, state.input.dirty[i])
        fan_out(state, state.input.dirty[i])
    engine.dirty = 0
    engine.collected = 0
    flush(state)


@inlined
def collect(state: State, index: int, slot: int, number: int) -> None:
    """Add a packet to the batch of its track; a full batch is delivered."""
    engine = state.engine[0]
    audience = state.audiences[index]
    at = engine.collected
    entry = state.input.collected[at]
    entry.slot = slot
    entry.number = number
    entry.next_plus_one = 0
    if audience.batch_first_plus_one == 0:
        audience.batch_first_plus_one = at + 1
        state.input.dirty[engine.dirty] = index
        engine.dirty += 1
    else:
        state.input.collected[audience.batch_last].next_plus_one = at + 1
    audience.batch_last = at
    engine.collected = at + 1
    if engine.collected == BATCH:
        deliver(state)
