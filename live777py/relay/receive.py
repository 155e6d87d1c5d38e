"""From the socket to the history: recvmmsg, demultiplexing, decryption, normalising.

Datagrams are told apart by their first byte (RFC 7983 section 7). Only authenticated packets
change anything about a peer or a track.
"""

from __future__ import annotations

from . import rings
from .addresses import find
from .arrivals import note_arrival, received_at
from .cfuncs import (
    address_of,
    compiled,
    fence,
    inlined,
    int64,
    recvmmsg,
    srtp_unprotect,
)
from .delays import note_delay
from .fanout import collect, deliver
from .groups import begin_group, continue_group
from .header import FIXED_HEADER, locate, normalise, padding
from .keyframes import OPAQUE, begins_key_frame
from .notices import note_gap
from .numbering import SECOND, account, may_repeat, may_send, number, place
from .parking import park
from .tables import (
    BATCH,
    CONTROL_BYTES,
    DATAGRAM,
    NAME_BYTES,
    PAYLOAD_TYPES,
    ROW,
    Record,
    State,
)
from .wire import (
    MASK32,
    Buffer,
    get8,
    get16,
    get32,
    get64,
    get_native32,
    put16,
    put32,
)

AF_INET6 = 10
MSG_TRUNC = 0x20
MSG_DONTWAIT = 0x40
SOL_IP = 0
SOL_SOCKET = 1
SOL_IPV6 = 41
IP_PKTINFO = 8
SO_RXQ_OVFL = 40
IPV6_PKTINFO = 50
CMSG_HEADER = 16
IPV4_MAPPED = 0xFFFF << 32
REPLAY_FAIL = 9
REPLAY_OLD = 10
#: At most one key frame packet a track reaches control in this time.
KEY_FRAME_INTERVAL = SECOND // 10


@inlined
def source(state: State, row: int) -> tuple[int, int, int, int]:
    """Where a received datagram came from: address (two words), port, scope."""
    names = state.input.names
    port = get16(names, row, 2)
    # A peer's own socket may be of the other family than the shared one.
    if get8(names, row, 0) == AF_INET6:
        scope = get_native32(names, row, 24)
        return get64(names, row, 8), get64(names, row, 16), port, scope
    return int64(0), IPV4_MAPPED | get32(names, row, 4), port, int64(0)


@compiled
def destination(state: State, row: int) -> tuple[int, int]:
    """The local address that a datagram came to, from its control messages."""
    controls = state.input.controls
    end = min(state.input.messages[row].control_length & MASK32, CONTROL_BYTES)
    at = int64(0)
    while at + CMSG_HEADER <= end:
        length = get_native32(controls, row, at)
        if length < CMSG_HEADER or at + length > end:
            break
        level = get_native32(controls, row, at + 8)
        kind = get_native32(controls, row, at + 12)
        data = at + CMSG_HEADER
        if level == SOL_IPV6 and kind == IPV6_PKTINFO and length >= 36:
            return get64(controls, row, data), get64(controls, row, data + 8)
        if level == SOL_IP and kind == IP_PKTINFO and length >= 28:
            return int64(0), IPV4_MAPPED | get32(controls, row, data + 4)
        at += (length + 7) & ~7
    return int64(0), int64(0)


@inlined
def note_kernel_drops(state: State, owner: int, drops: int) -> None:
    """Count what a socket has dropped since the last time; it says how many in all."""
    if owner < 0:
        before = state.engine[0].socket_drops
        state.engine[0].socket_drops = drops
    else:
        before = state.peers[owner].socket_drops
        state.peers[owner].socket_drops = drops
    # In 32 bits that wrap.
    state.counters[0].kernel_dropped += (drops - before) & MASK32


@compiled
def count_kernel_drops(state: State, row: int, owner: int) -> None:
    """Read how many datagrams a socket's buffer had no room for, if the kernel says so."""
    controls = state.input.controls
    end = min(state.input.messages[row].control_length & MASK32, CONTROL_BYTES)
    at = int64(0)
    while at + CMSG_HEADER + 4 <= end:
        length = get_native32(controls, row, at)
        if length < CMSG_HEADER or at + length > end:
            break
        level = get_native32(controls, row, at + 8)
        kind = get_native32(controls, row, at + 12)
        if level == SOL_SOCKET and kind == SO_RXQ_OVFL and length >= 20:
            drops = get_native32(controls, row, at + CMSG_HEADER)
            note_kernel_drops(state, owner, drops)
        at += (length + 7) & ~7


@compiled
def hand_over(state: State, kind: int, peer: int, row: int, length: int) -> None:
    """Give a received datagram to control, with the path that it came by."""
    at = rings.free_control_row(state, kind)
    if at < 0:
        return
    entry = state.control.rows[at]
    high, low, port, scope = source(state, row)
    entry.high = high
    entry.low = low
    entry.port = port
    entry.scope = scope
    local_high, local_low = destination(state, row)
    entry.local_high = local_high
    entry.local_low = local_low
    rings.push_control(state, kind, at, peer, state.input.bytes, row, length)


@compiled
def note_key_frame(state: State, index: int, slot: int) -> None:
    """Count a key frame once, and show control its packet."""
    track = state.tracks[index]
    packet = state.history.packets[slot]
    packet.is_key = 1
    timestamp = get32(state.history.bytes, slot, 4)
    if track.key_frames > 0 and track.key_timestamp == timestamp:
        return
    track.key_frames += 1
    track.key_timestamp = timestamp
    begin_group(state, index, slot)
    now = state.engine[0].now
    if track.key_announced != 0 and now - track.key_announced < KEY_FRAME_INTERVAL:
        return
    track.key_announced = now
    at = rings.free_control_row(state, rings.KEY_FRAME)
    if at >= 0:
        rings.push_control(
            state,
            rings.KEY_FRAME,
            at,
            index,
            state.history.bytes,
            slot,
            packet.length,
        )


@inlined
def keep(
    state: State,
    binding: Record,
    buffer: Buffer,
    row: int,
    length: int,
    parts: tuple[int, int, int],
    pad: int,
    outgoing: int,
) -> int:
    """Put a numbered packet into its track's history; its slot, -1 when it is too long."""
    index = binding.track_plus_one - 1
    track = state.tracks[index]
    history = state.engine[0].history
    slot = index * history + outgoing % history
    target = state.history.bytes
    timestamp = get32(buffer, row, 4)
    packet = state.history.packets[slot]
    if packet.number != 0 and packet.arrival == state.engine[0].now:
        # After a jump of as many numbers as the history has, the row's packet may still wait
        # in this batch: it is sent before it is overwritten.
        deliver(state)
    is_new = packet.number != outgoing
    highest = track.highest_out
    # Other lanes may be reading the row: it has no number while it changes.
    packet.number = 0
    fence()
    size = normalise(buffer, row, length, parts, binding.extensions, target, slot)
    if size < 0:
        state.counters[0].malformed += 1
        return int64(-1)
    put16(target, slot, 2, outgoing)
    put32(target, slot, 4, timestamp + track.timestamp_offset)
    put32(target, slot, 8, 0)
    packet.arrival = state.engine[0].now
    packet.length = size
    packet.octets = length - parts[0] - pad
    packet.is_key = 0
    packet.is_late = 1 if outgoing < highest else 0
    fence()
    packet.number = outgoing
    continue_group(state, index, outgoing, highest, is_new)
    payload_format = binding.format
    if payload_format != OPAQUE and begins_key_frame(
        buffer, row, parts[0], length - pad, payload_format
    ):
        note_key_frame(state, index, slot)
    return int64(slot)


@inlined
def is_kept(state: State, index: int, outgoing: int) -> bool:
    """Whether the history has this packet."""
    history = state.engine[0].history
    return bool(
        state.history.packets[index * history + outgoing % history].number == outgoing
    )


@inlined
def store(
    state: State,
    binding: Record,
    buffer: Buffer,
    row: int,
    length: int,
    parts: tuple[int, int, int],
    pad: int,
) -> int:
    """Number a decrypted packet and put it into its track's history.

    Returns:
        Its slot, or -1 when it is not to be forwarded.
    """
    index = binding.track_plus_one - 1
    track = state.tracks[index]
    ssrc = get32(buffer, row, 8)
    timestamp = get32(buffer, row, 4)
    rate = binding.clock_rate
    goes_on = track.anchored != 0 and track.ssrc == ssrc
    outgoing = number(state, track, ssrc, get16(buffer, row, 2), timestamp, rate)
    if outgoing < 0:
        return int64(-1)
    if outgoing < track.highest_out and is_kept(state, index, outgoing):
        # A retransmission was quicker, but this is the one that reports count.
        track.received += 1
        state.counters[0].duplicates += 1
        return int64(-1)
    slot = keep(state, binding, buffer, row, length, parts, pad, outgoing)
    if slot < 0:
        return int64(-1)
    missing = outgoing - track.highest_out - 1
    if track.highest_out != 0 and missing > 0:
        note_gap(state, index, track.highest_out + 1, missing)
    elif goes_on and track.received == 0:
        # The numbers have jumped.
        note_gap(state, index, outgoing, int64(0))
    account(track, outgoing, timestamp, length, state.engine[0].now, rate)
    track.payload_type = get8(buffer, row, 1) & 127
    return slot


@inlined
def restore(
    state: State,
    peer: int,
    repeating: Record,
    binding: Record,
    buffer: Buffer,
    row: int,
    length: int,
    parts: tuple[int, int, int],
    pad: int,
) -> int:
    """Put a retransmission (RFC 4588 section 4) where the original is missing.

    It is no packet of the original's SSRC: reception reports do not count it.

    Returns:
        Its slot, or -1 when there is nothing in it or nothing missing.
    """
    counters = state.counters[0]
    ssrc = get32(buffer, row, 8)
    if repeating.rtx_ssrc_plus_one != ssrc + 1:
        repeating.rtx_ssrc_plus_one = ssrc + 1
        state.peers[peer].sources += 1
    payload = parts[0]
    if length - payload - pad < 2:
        # Only padding, which probes the path.
        counters.rtx_empty += 1
        return int64(-1)
    index = binding.track_plus_one - 1
    track = state.tracks[index]
    outgoing = place(state, track, get16(buffer, row, payload))
    if outgoing < 0 or is_kept(state, index, outgoing):
        counters.rtx_useless += 1
        return int64(-1)
    for at in range(payload, length - 2):
        buffer[row, at] = buffer[row, at + 2]
    slot = keep(state, binding, buffer, row, length - 2, parts, pad, outgoing)
    if slot >= 0:
        counters.rtx_restored += 1
        track.packets += 1
        track.bytes += length - 2
    return slot


@compiled
def take_media(
    state: State, peer: int, buffer: Buffer, row: int, length: int, arrived: int
) -> None:
    """One SRTP packet of a peer whose keys are known, in a row of some buffer."""
    counters = state.counters[0]
    if length < FIXED_HEADER:
        counters.malformed += 1
        return
    payload_type = get8(buffer, row, 1) & 127
    received = state.bindings[peer * PAYLOAD_TYPES + payload_type]
    original = received.original_plus_one - 1
    is_repeated = original >= 0
    if not is_repeated:
        original = payload_type
    binding = state.bindings[peer * PAYLOAD_TYPES + original]
    if binding.track_plus_one == 0:
        counters.no_track += 1
        return
    index = binding.track_plus_one - 1
    track = state.tracks[index]
    ssrc = get32(buffer, row, 8)
    # Before decryption: what would be dropped anyway must not cost libsrtp a stream.
    if is_repeated:
        is_welcome = may_repeat(state, track, peer, received, ssrc)
    else:
        is_welcome = may_send(state, track, peer, ssrc)
    if not is_welcome:
        counters.foreign_ssrc += 1
        return
    state.scratch[0] = length
    start = address_of(buffer) + row * buffer.shape[1]
    sender = state.peers[peer]
    error = srtp_unprotect(sender.receive_session, start, address_of(state.scratch))
    if error != 0:
        if error == REPLAY_FAIL or error == REPLAY_OLD:
            counters.srtp_replayed += 1
        else:
            counters.srtp_failed += 1
        return
    sender.last_received = state.engine[0].now
    sender.packets_received += 1
    sender.bytes_received += length
    plain = int64(state.scratch[0])
    parts = locate(buffer, row, plain)
    pad = padding(buffer, row, parts[0], plain) if parts[0] >= 0 else int64(-1)
    if sender.transport_cc != 0 and parts[0] >= 0:
        note_arrival(state, peer, buffer, row, parts, arrived)
    if pad < 0 or plain > ROW:
        counters.malformed += 1
        return
    if is_repeated:
        slot = restore(state, peer, received, binding, buffer, row, plain, parts, pad)
    else:
        slot = store(state, binding, buffer, row, plain, parts, pad)
    if slot >= 0:
        collect(state, index, slot, state.history.packets[slot].number)


@compiled
def classify(state: State, row: int, length: int, owner: int) -> None:
    """Send one received datagram where it belongs.

    `owner` is the peer whose socket it came by, or -1 to go by the address.
    """
    counters = state.counters[0]
    first = get8(state.input.bytes, row, 0)
    peer = int64(owner)
    if owner < 0:
        high, low, port, scope = source(state, row)
        port |= scope << 16
        at = find(state.addresses, state.engine[0].seed, high, low, port)
        peer = state.addresses[at].peer_plus_one - 1 if at >= 0 else int64(-1)
    if first < 4:
        hand_over(state, rings.STUN, peer, row, length)
    elif first < 20 or 63 < first < 128 or first > 191:
        counters.unknown_kind += 1
    elif peer < 0:
        counters.unknown_address += 1
    elif first < 64:
        hand_over(state, rings.DTLS, peer, row, length)
    elif length < 2:
        counters.malformed += 1
    elif 192 <= get8(state.input.bytes, row, 1) <= 223:
        # RFC 5761 section 4: RTCP.
        hand_over(state, rings.RTCP, peer, row, length)
    elif state.peers[peer].receive_session == 0:
        park(state, peer, state.input.bytes, row, length)
    else:
        arrived = state.engine[0].now
        if state.peers[peer].transport_cc != 0:
            arrived = received_at(state, row)
        take_media(state, peer, state.input.bytes, row, length, arrived)


@compiled
def take(state: State, descriptor: int, owner: int) -> int:
    """Take what a socket has, at most one batch, to be delivered afterwards.

    Args:
        state: everything.
        descriptor: the socket.
        owner: the peer that it belongs to, -1 for the shared one.

    Returns:
        How many datagrams there were.
    """
    messages = state.input.messages
    for row in range(BATCH):
        message = messages[row]
        message.name_length = NAME_BYTES
        message.control_length = CONTROL_BYTES
    count = recvmmsg(descriptor, address_of(messages), BATCH, MSG_DONTWAIT, 0)
    if count <= 0:
        return 0
    counters = state.counters[0]
    counters.receive_calls += 1
    for row in range(count):
        message = messages[row]
        length = message.length & MASK32
        counters.packets_in += 1
        counters.bytes_in += length
        if length == 0 or length > DATAGRAM or message.message_flags & MSG_TRUNC:
            counters.malformed += 1
        else:
            classify(state, row, length, owner)
    count_kernel_drops(state, count - 1, owner)
    return count


@compiled
def receive(state: State, descriptor: int) -> int:
    """Take what the shared socket has, at most one batch, and forward it.

    Returns:
        How many datagrams there were.
    """
    before = state.counters[0].packets_out
    count = take(state, descriptor, int64(-1))
    if count > 0:
        deliver(state)
    if state.counters[0].packets_out != before:
        note_delay(state, int64(count - 1))
    return count
