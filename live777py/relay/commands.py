"""What control may ask of the loop: rows of integers, applied between batches.

Whoever posts a command has made sure that every index in it exists: here an index out of
range would be a segmentation fault. Tables never change while a batch is in hand.
"""

from __future__ import annotations

from . import addresses, adoption, catchup, injection, lanes, taps
from .cfuncs import address_of, compiled, inlined, int64, load_acquire, store_release
from .fanout import collect, deliver
from .parking import forget_parked, next_parked, unpark
from .receive import receive, take_media
from .retransmit import FIRST_CREDIT, retransmit
from .tables import COMMAND_HEAD, COMMAND_TAIL, PAYLOAD_TYPES, State, Table
from .wire import put16, put32, put64, put_native32

#: The kind in the first word of a row; the rest is what the function of that name takes.
SET_KEYS = 1
ADD_ADDRESS = 2
REMOVE_ADDRESS = 3
SELECT_PATH = 4
REMOVE_PEER = 5
BIND = 6
UNBIND = 7
ADD_VIEWER = 8
SET_PAYLOAD_TYPE = 9
REMOVE_VIEWER = 10
REMOVE_TRACK = 11
SET_SENDER = 12
USE_SOCKET = 13
FORGET_DESTINATION = 14
FEED = lanes.FEED
PACKET = lanes.PACKET
BIND_RTX = 32
SET_TRANSPORT_CC = 33
RETRANSMIT = 20
PAUSE = 21
OPEN_SOURCE = 40
CLOSE_SOURCE = 41
OPEN_TAP = 42
CLOSE_TAP = 43
ADOPT = 44
RELEASE = 45

AF_INET = 2
AF_INET6 = 10
LINK_LOCAL = 0xFE80 >> 6


@compiled
def set_keys(state: State, peer: int, receive_session: int) -> None:
    """Give a peer its SRTP session to receive by, and play what was parked for want of it."""
    state.peers[peer].receive_session = receive_session
    position = next_parked(state, peer, 0)
    while position >= 0:
        length = unpark(state, position)
        if length > 0:
            row = position & (state.parking.rows.shape[0] - 1)
            arrived = state.parking.rows[row].arrived
            take_media(state, peer, state.parking.bytes, row, length, arrived)
        position = next_parked(state, peer, position + 1)
    deliver(state)


@compiled
def _write_name(
    state: State, peer: int, high: int, low: int, port: int, scope: int
) -> int:
    """Write a peer's `struct sockaddr`; its length."""
    names = state.paths.names
    is_ipv6 = adoption.uses_ipv6(state, peer)
    put_native32(names, peer, 0, AF_INET6 if is_ipv6 else AF_INET)
    put16(names, peer, 2, port)
    if not is_ipv6:
        put32(names, peer, 4, low)
        return 16
    put32(names, peer, 4, 0)
    put64(names, peer, 8, high)
    put64(names, peer, 16, low)
    put_native32(names, peer, 24, scope)
    return 28


@compiled
def _write_local(state: State, peer: int, high: int, low: int, scope: int) -> int:
    """Write the control message that chooses our address; its length with padding."""
    if high == 0 and low == 0:
        return 0
    controls = state.paths.locals
    put_native32(controls, peer, 4, 0)
    if not adoption.uses_ipv6(state, peer):
        put_native32(controls, peer, 0, 28)
        put_native32(controls, peer, 8, 0)
        put_native32(controls, peer, 12, 8)
        put32(controls, peer, 16, 0)
        put32(controls, peer, 20, low)
        put32(controls, peer, 24, 0)
        return 32
    is_link_local = (high >> 54) & 0x3FF == LINK_LOCAL
    put_native32(controls, peer, 0, 36)
    put_native32(controls, peer, 8, 41)
    put_native32(controls, peer, 12, 50)
    put64(controls, peer, 16, high)
    put64(controls, peer, 24, low)
    # An interface is named only where an address alone means nothing.
    put_native32(controls, peer, 32, scope if is_link_local else 0)
    return 40


@compiled
def select_path(
    state: State,
    peer: int,
    high: int,
    low: int,
    port: int,
    local_high: int,
    local_low: int,
) -> None:
    """Send a peer's media this way; a zero port ends sending."""
    chosen = state.destinations[peer]
    if port == 0:
        chosen.name_length = 0
        return
    scope = port >> 16
    chosen.local_length = _write_local(state, peer, local_high, local_low, scope)
    chosen.name_length = _write_name(state, peer, high, low, port & 0xFFFF, scope)
    chosen.gso_refused = 0


@compiled
def remove_peer(state: State, peer: int) -> None:
    """Clear a peer's row. Its addresses and viewers were removed by commands before."""
    forget_parked(state, peer)
    gone = state.peers[peer]
    gone.receive_session = 0
    gone.sources = 0
    gone.last_received = 0
    gone.packets_received = 0
    gone.bytes_received = 0
    gone.transport_cc = 0
    state.arrivals.heads[peer] = 0
    for payload_type in range(PAYLOAD_TYPES):
        binding = state.bindings[peer * PAYLOAD_TYPES + payload_type]
        binding.track_plus_one = 0
        binding.original_plus_one = 0
        binding.rtx_ssrc_plus_one = 0


@compiled
def forget_destination(state: State, peer: int) -> None:
    """Clear what a lane knows of a peer. Its viewers were removed by commands before."""
    gone = state.destinations[peer]
    gone.send_session = 0
    gone.name_length = 0
    gone.local_length = 0
    gone.gso_refused = 0
    gone.packets_sent = 0
    gone.bytes_sent = 0
    gone.send_errors = 0


@compiled
def bind(
    state: State,
    peer: int,
    payload_type: int,
    track: int,
    payload_format: int,
    clock_rate: int,
    extensions: int,
    is_new_publisher: int,
) -> None:
    """Let a payload type of a peer feed a track."""
    binding = state.bindings[peer * PAYLOAD_TYPES + payload_type]
    binding.track_plus_one = track + 1
    binding.format = payload_format
    binding.clock_rate = clock_rate
    binding.extensions = extensions
    state.tracks[track].format = payload_format
    binding.original_plus_one = 0
    if is_new_publisher:
        fed = state.tracks[track]
        fed.has_publisher = 1
        fed.publisher = peer
        # Whatever its SSRC, the next packet begins a new run of numbers.
        fed.anchored = 0
        # Its first key frame tells what it is, however soon it follows another's.
        fed.key_announced = 0
        fed.group_start = 0


@compiled
def add_viewer(
    state: State,
    index: int,
    peer: int,
    track: int,
    payload_type: int,
    ssrc: int,
    first_sequence: int,
    timestamp_offset: int,
    extensions: int,
    rtx_payload_type: int,
    rtx_ssrc: int,
    rtx_sequence: int,
    wants_catch_up: int,
) -> None:
    """Put a viewer at the head of its track's list."""
    viewer = state.viewers[index]
    viewer.peer = peer
    viewer.payload_type = payload_type
    viewer.ssrc = ssrc
    viewer.first_sequence = first_sequence
    viewer.timestamp_offset = timestamp_offset
    viewer.extensions = extensions
    viewer.packets = 0
    viewer.octets = 0
    viewer.first_sent_plus_one = 0
    viewer.last_sent_plus_one = 0
    viewer.paused = 0
    viewer.catch_up = wants_catch_up
    viewer.rtx_payload_type = rtx_payload_type
    viewer.rtx_ssrc = rtx_ssrc
    viewer.rtx_sequence = rtx_sequence
    viewer.credit = FIRST_CREDIT
    viewer.credit_at = state.engine[0].now
    viewer.credit_octets = 0
    viewer.lossy_until = 0
    viewer.probed_plus_one = 0
    watched = state.audiences[track]
    following = watched.first_viewer_plus_one
    if following != 0:
        state.viewers[following - 1].previous_plus_one = index + 1
    viewer.track_plus_one = track + 1
    viewer.next_plus_one = following
    viewer.previous_plus_one = 0
    watched.first_viewer_plus_one = index + 1
    watched.viewers += 1
    viewer.started = 0
    viewer.cursor = catchup.LIVE
    if payload_type >= 0:
        catchup.start(state, index)


@compiled
def set_payload_type(
    state: State, index: int, payload_type: int, rtx_payload_type: int
) -> None:
    """Change or silence what a viewer gets; after a silence its numbering goes on.

    Another payload type is another decoder, which has to begin anew; and no packet may go out
    under two of them with one number, which AES-GCM forbids.
    """
    viewer = state.viewers[index]
    before = viewer.payload_type
    viewer.payload_type = payload_type
    viewer.rtx_payload_type = rtx_payload_type
    if payload_type < 0:
        catchup.leave(state, index)
        viewer.started = 0
    elif payload_type != before:
        catchup.start(state, index)


@compiled
def pause(state: State, index: int, is_paused: int) -> None:
    """Send a viewer nothing for a while, then let it go on."""
    viewer = state.viewers[index]
    was_paused = viewer.paused
    viewer.paused = is_paused
    if is_paused != 0:
        catchup.leave(state, index)
    elif was_paused != 0 and viewer.payload_type >= 0:
        catchup.resume(state, index)


@compiled
def remove_viewer(state: State, index: int) -> None:
    """Take a viewer out of its track's list."""
    viewer = state.viewers[index]
    if viewer.track_plus_one == 0:
        return
    catchup.leave(state, index)
    audience = state.audiences[viewer.track_plus_one - 1]
    if viewer.previous_plus_one != 0:
        previous = state.viewers[viewer.previous_plus_one - 1]
        previous.next_plus_one = viewer.next_plus_one
    else:
        audience.first_viewer_plus_one = viewer.next_plus_one
    if viewer.next_plus_one != 0:
        following = state.viewers[viewer.next_plus_one - 1]
        following.previous_plus_one = viewer.previous_plus_one
    audience.viewers -= 1
    viewer.track_plus_one = 0


@compiled
def remove_track(state: State, index: int) -> None:
    """Clear a track's row. Its viewers and bindings were removed by commands before."""
    track = state.tracks[index]
    track.has_publisher = 0
    track.anchored = 0
    track.payload_type = 0
    track.base_sequence = 0
    track.highest_sequence = 0
    track.received = 0
    track.jitter = 0
    track.packets = 0
    track.bytes = 0
    track.highest_out = 0
    track.last_timestamp = 0
    track.timestamp_offset = 0
    track.last_arrival = 0
    track.key_frames = 0
    track.key_announced = 0
    track.format = 0
    track.group_start = 0
    state.audiences[index].highest = 0


@compiled
def _apply_peer(state: State, row: Table) -> None:
    seed = state.engine[0].seed
    kind = row[0]
    peer = row[1]
    if kind == SET_KEYS:
        set_keys(state, peer, row[2])
    elif kind == ADD_ADDRESS:
        addresses.insert(state.addresses, seed, row[2], row[3], row[4], peer)
    elif kind == REMOVE_ADDRESS:
        addresses.remove(state.addresses, seed, row[2], row[3], row[4], peer)
    elif kind == SELECT_PATH:
        select_path(state, peer, row[2], row[3], row[4], row[5], row[6])
    elif kind == REMOVE_PEER:
        remove_peer(state, peer)
    elif kind == BIND:
        bind(state, peer, row[2], row[3], row[4], row[5], row[6], row[7])
    elif kind == UNBIND:
        state.bindings[peer * PAYLOAD_TYPES + row[2]].track_plus_one = 0


@compiled
def _apply_viewer(state: State, row: Table) -> None:
    kind = row[0]
    index = row[1]
    if kind == ADD_VIEWER:
        add_viewer(
            state,
            index,
            row[2],
            row[3],
            row[4],
            row[5],
            row[6],
            row[7],
            row[8],
            row[9],
            row[10],
            row[11] >> 1,
            row[11] & 1,
        )
    elif kind == SET_PAYLOAD_TYPE:
        set_payload_type(state, index, row[2], row[3])
    elif kind == REMOVE_VIEWER:
        remove_viewer(state, index)
    elif kind == REMOVE_TRACK:
        remove_track(state, index)
    elif kind == RETRANSMIT:
        retransmit(state, index, row)
    elif kind == PAUSE:
        pause(state, index, row[2])


@compiled
def _apply_sending(state: State, row: Table) -> None:
    kind = row[0]
    index = row[1]
    if kind == SET_SENDER:
        state.destinations[index].send_session = row[2]
    elif kind == USE_SOCKET:
        adoption.use_socket(state, index, row[2], row[3])
    elif kind == FORGET_DESTINATION:
        forget_destination(state, index)
    elif kind == FEED:
        # What follows in this ring has higher numbers.
        state.audiences[index].highest = row[2]


@inlined
def _is_removal(kind: int) -> bool:
    return (
        kind == REMOVE_ADDRESS
        or kind == REMOVE_PEER
        or kind == UNBIND
        or kind == REMOVE_VIEWER
        or kind == REMOVE_TRACK
    )


@inlined
def _frees(kind: int) -> bool:
    """Whether somebody may wait for this command, to free what is gone."""
    return (
        _is_removal(kind)
        or kind == CLOSE_SOURCE
        or kind == CLOSE_TAP
        or kind == RELEASE
        or kind == FORGET_DESTINATION
    )


@compiled
def _apply_other(state: State, row: Table) -> None:
    kind = row[0]
    index = row[1]
    if kind == OPEN_SOURCE:
        injection.open_source(state, index)
    elif kind == CLOSE_SOURCE:
        injection.close_source(state, index)
    elif kind == OPEN_TAP:
        taps.open_tap(state, index, row[2], row[3])
    elif kind == CLOSE_TAP:
        taps.close_tap(state, index)
    elif kind == ADOPT:
        adoption.adopt(state, index, row[2])
    elif kind == RELEASE:
        adoption.release(state, index)


@compiled
def _apply_feedback(state: State, row: Table) -> None:
    kind = row[0]
    peer = row[1]
    if kind == BIND_RTX:
        binding = state.bindings[peer * PAYLOAD_TYPES + row[2]]
        binding.original_plus_one = row[3] + 1
        binding.rtx_ssrc_plus_one = 0
    elif kind == SET_TRANSPORT_CC:
        state.peers[peer].transport_cc = row[2]


@compiled
def _apply(state: State, row: Table) -> bool:
    """Apply one command, or pass it on to its lane; false when it has to wait for room."""
    if row[0] > lanes.KIND_MASK:
        return lanes.forward(state, row)
    if row[0] >= OPEN_SOURCE:
        _apply_other(state, row)
    elif row[0] >= BIND_RTX:
        _apply_feedback(state, row)
    elif row[0] < ADD_VIEWER:
        _apply_peer(state, row)
    elif SET_SENDER <= row[0] <= FEED:
        _apply_sending(state, row)
    else:
        _apply_viewer(state, row)
    state.counters[0].commands += 1
    return True


@compiled
def apply_commands(state: State) -> int:
    """Apply all commands that are there; then Python may free what they took out.

    Before the first that takes something away, what already waits in the socket is taken in,
    one batch at most: it was sent to what is still there.

    To other lanes than the first, packets come among the commands. They gather into batches,
    and what they refer to is in use until their batch was delivered.

    Returns:
        How many datagrams were received for that.
    """
    base = address_of(state.shared)
    engine = state.engine[0]
    tail = state.shared[COMMAND_TAIL]
    head = load_acquire(base + 8 * COMMAND_HEAD)
    received = int64(0)
    if head == tail:
        return received
    engine.is_stalled = 0
    has_received = engine.socket < 0
    rows = state.commands.shape[0]
    is_full = head - tail == rows
    for position in range(tail, head):
        row = state.commands[position & (rows - 1)]
        if row[0] == PACKET:
            collect(state, row[1], row[2], row[3])
        else:
            kind = row[0] & lanes.KIND_MASK
            if engine.collected != 0:
                # Tables never change while a batch is in hand.
                deliver(state)
            if not has_received and _is_removal(kind):
                has_received = True
                received = receive(state, engine.socket)
            if not _apply(state, row):
                engine.is_stalled = 1
                break
            if _frees(kind) or is_full:
                # Somebody waits: to free what is gone, or for room in the ring.
                engine.announced = 1
        if engine.collected == 0:
            store_release(base + 8 * COMMAND_TAIL, position + 1)
    if engine.collected != 0:
        deliver(state)
        store_release(base + 8 * COMMAND_TAIL, head)
    lanes.wake_lanes(state)
    return received
