"""From encrypted packets to the kernel: one sendmmsg for all messages of a batch.

A message is one packet, or a run of packets of one size that the kernel cuts apart (UDP GSO).
What one destination refuses costs that destination alone.
"""

from __future__ import annotations

from .cfuncs import address_of, compiled, errno, inlined, int64, memcpy, poll, sendmmsg
from .tables import (
    CONTROL_BYTES,
    GSO_PACKETS,
    IOVEC_BYTES,
    LOCAL_BYTES,
    MESSAGE_BYTES,
    NAME_BYTES,
    State,
)
from .wire import get32, put_native32

EINTR = 4
EIO = 5
EAGAIN = 11
EINVAL = 22
EMSGSIZE = 90
POLLOUT = 4
SOL_UDP = 17
UDP_SEGMENT = 103
#: Bytes of the UDP_SEGMENT control message: a header of 16, a uint16, padding.
SEGMENT_BYTES = 24
#: How long to wait for room in the socket's buffer, and how often in one flush.
WAIT_MS = 2
MAX_WAITS = 4


@inlined
def seal(
    state: State,
    viewer: int,
    peer: int,
    first: int,
    count: int,
    octets: int,
    size: int,
) -> None:
    """Make one message of `count` packets of the output, from `first` on.

    `viewer` is -1 for what its counts do not hold.
    """
    engine = state.engine[0]
    output = state.output
    at = engine.output_messages
    destination = state.destinations[peer]
    message = output.messages[at]
    message.name = address_of(state.paths.names) + peer * NAME_BYTES
    message.name_length = destination.name_length
    message.iovecs = address_of(output.iovecs) + first * IOVEC_BYTES
    message.iovec_count = count
    control = destination.local_length
    if control != 0:
        memcpy(
            address_of(output.controls) + at * CONTROL_BYTES,
            address_of(state.paths.locals) + peer * LOCAL_BYTES,
            control,
        )
    if count > 1:
        put_native32(output.controls, at, control, 18)
        put_native32(output.controls, at, control + 4, 0)
        put_native32(output.controls, at, control + 8, SOL_UDP)
        put_native32(output.controls, at, control + 12, UDP_SEGMENT)
        put_native32(output.controls, at, control + 16, output.iovecs[first].length)
        control += SEGMENT_BYTES
        state.counters[0].gso_messages += 1
    message.control_length = control
    sent = output.sent[at]
    sent.viewer = viewer
    sent.peer = peer
    sent.first = first
    sent.count = count
    sent.octets = octets
    sent.bytes = size
    engine.output_messages = at + 1


@inlined
def socket_of(state: State, peer: int) -> int:
    """The socket that a peer's packets leave by."""
    own = state.destinations[peer].socket_plus_one
    return int64(own - 1 if own != 0 else state.engine[0].sender)


@compiled
def _wait(state: State, descriptor: int) -> bool:
    """Wait for room in a socket's buffer; false when there was none in time."""
    engine = state.engine[0]
    if engine.waits >= MAX_WAITS:
        return False
    engine.waits += 1
    state.counters[0].send_waits += 1
    state.polls[2] = descriptor | (POLLOUT << 32)
    return poll(address_of(state.polls) + 16, 1, WAIT_MS) > 0


@compiled
def _give_up(state: State, at: int, packets: int, octets: int, size: int) -> None:
    """Take packets that were not sent out of the counts again."""
    sent = state.output.sent[at]
    if sent.viewer >= 0:
        # Retransmissions, which have no viewer here, were not counted.
        viewer = state.viewers[sent.viewer]
        viewer.packets -= packets
        viewer.octets -= octets
    peer = state.destinations[sent.peer]
    peer.packets_sent -= packets
    peer.bytes_sent -= size
    peer.send_errors += packets
    counters = state.counters[0]
    counters.packets_out -= packets
    counters.bytes_out -= size
    counters.send_dropped += packets


@compiled
def _drop_frame(state: State, at: int) -> None:
    """Have the rest of a dropped message's last frame dropped, too: it is of no use."""
    sent = state.output.sent[at]
    if sent.viewer < 0:
        return
    viewer = state.viewers[sent.viewer]
    timestamp = get32(state.output.bytes, sent.first + sent.count - 1, 4)
    if viewer.skipped_plus_one != timestamp + 1:
        viewer.skipped_plus_one = timestamp + 1
        state.counters[0].frames_dropped += 1


@inlined
def _is_broken(state: State, at: int) -> bool:
    """Whether a message is nothing but more of a frame that its viewer lost a part of."""
    sent = state.output.sent[at]
    if sent.viewer < 0 or state.viewers[sent.viewer].skipped_plus_one == 0:
        return False
    skipped = state.viewers[sent.viewer].skipped_plus_one - 1
    last = sent.first + sent.count - 1
    return bool(
        get32(state.output.bytes, sent.first, 4) == skipped
        and get32(state.output.bytes, last, 4) == skipped
    )


@compiled
def _send_apart(state: State, at: int) -> None:
    """Send the packets of a refused GSO message one by one, now and from now on."""
    output = state.output
    sent = output.sent[at]
    descriptor = socket_of(state, sent.peer)
    message = output.messages[at]
    state.destinations[sent.peer].gso_refused = 1
    state.counters[0].gso_refused += 1
    state.counters[0].gso_messages -= 1
    count = min(sent.count, GSO_PACKETS)
    for i in range(count):
        retry = output.retries[i]
        retry.name = message.name
        retry.name_length = message.name_length
        retry.iovecs = address_of(output.iovecs) + (sent.first + i) * IOVEC_BYTES
        retry.iovec_count = 1
        retry.control = message.control
        retry.control_length = message.control_length - SEGMENT_BYTES
    i = 0
    while i < count:
        state.counters[0].send_calls += 1
        done = sendmmsg(
            descriptor,
            address_of(output.retries) + i * MESSAGE_BYTES,
            count - i,
            0,
        )
        if done > 0:
            i += done
            continue
        error = errno()
        if error == EINTR or (error == EAGAIN and _wait(state, descriptor)):
            continue
        # The octets were counted for the whole run: take this packet's share.
        _give_up(
            state,
            at,
            1,
            sent.octets // sent.count,
            output.iovecs[sent.first + i].length,
        )
        i += 1


@compiled
def _refused(state: State, at: int) -> bool:
    """What to do about a message that the kernel did not take; true to try it again."""
    error = errno()
    if error == EINTR:
        return True
    if error == EAGAIN:
        if _wait(state, socket_of(state, state.output.sent[at].peer)):
            return True
        _drop_frame(state, at)
    elif error == EINVAL or error == EIO or error == EMSGSIZE:
        if state.output.sent[at].count > 1:
            _send_apart(state, at)
            return False
    sent = state.output.sent[at]
    _give_up(state, at, sent.count, sent.octets, sent.bytes)
    return False


@compiled
def _stretch(state: State, at: int) -> int:
    """How many messages from this one on leave by the same socket."""
    sent = state.output.sent
    descriptor = socket_of(state, sent[at].peer)
    end = at + 1
    while end < state.engine[0].output_messages:
        if socket_of(state, sent[end].peer) != descriptor:
            break
        end += 1
    return int64(end - at)


@compiled
def flush(state: State) -> None:
    """Hand all messages to the kernel; afterwards the output is empty."""
    engine = state.engine[0]
    count = engine.output_messages
    engine.waits = 0
    at = 0
    while at < count:
        state.counters[0].send_calls += 1
        descriptor = engine.sender
        stretch = count - at
        if engine.own_sockets != 0:
            descriptor = socket_of(state, state.output.sent[at].peer)
            stretch = _stretch(state, at)
        done = sendmmsg(
            descriptor,
            address_of(state.output.messages) + at * MESSAGE_BYTES,
            stretch,
            0,
        )
        if done > 0:
            at += done
        elif not _refused(state, at):
            at += 1
            while at < count and _is_broken(state, at):
                sent = state.output.sent[at]
                _give_up(state, at, sent.count, sent.octets, sent.bytes)
                at += 1
    engine.output_messages = 0
    engine.output_packets = 0
