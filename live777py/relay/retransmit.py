"""Retransmission: what a viewer says that it lacks is sent again from the track's history.

By RTX (RFC 4588) where that was negotiated, otherwise as the same packet, byte for byte. A
packet goes to a viewer once in 15 ms at most, and what is sent again is bounded by half of
what the viewer gets anyway, so that a lie about losses gains little.
"""

from __future__ import annotations

from .cfuncs import address_of, compiled, inlined, int64, memcpy, srtp_protect
from .fanout import can_be_sent_to, rewrite
from .header import locate
from .numbering import SECOND
from .output import flush, seal
from .tables import COMMAND_WORDS, RESENT_ROWS, ROW, Record, State, Table
from .wire import MASK16, get8, put16, put32

#: Below the 20 ms of Chromium's rhythm, so that its second request is heard.
REPEAT_INTERVAL = 15_000_000
#: Bytes that may be sent again at once at most, and after the first packet at least.
MAX_CREDIT = 256 * 1024
FIRST_CREDIT = 32 * 1024
#: Bytes a second that are always allowed.
LEAST_RATE = 32_000


@compiled
def _refill(state: State, viewer: Record) -> None:
    now = state.engine[0].now
    passed = min(now - viewer.credit_at, SECOND)
    earned = LEAST_RATE * passed // SECOND
    earned += max(0, viewer.octets - viewer.credit_octets) // 2
    viewer.credit = min(MAX_CREDIT, viewer.credit + earned)
    viewer.credit_at = now
    viewer.credit_octets = viewer.octets


@inlined
def _copy(state: State, viewer: Record, slot: int, at: int, sequence: int) -> int:
    """Write what is sent again into the output, unencrypted; its length."""
    buffer = state.output.bytes
    source = address_of(state.history.bytes) + slot * ROW
    target = address_of(buffer) + at * ROW
    length = state.history.packets[slot].length
    if viewer.rtx_payload_type < 0:
        memcpy(target, source, length)
        rewrite(state, viewer, at, sequence)
        return int64(length)
    payload = locate(state.history.bytes, slot, length)[0]
    memcpy(target, source, payload)
    memcpy(target + payload + 2, source + payload, length - payload)
    rewrite(state, viewer, at, sequence)
    # RFC 4588 section 4: the payload follows its original sequence number.
    put16(buffer, at, payload, sequence)
    buffer[at, 1] = (get8(buffer, at, 1) & 0x80) | viewer.rtx_payload_type
    put16(buffer, at, 2, viewer.rtx_sequence)
    put32(buffer, at, 8, viewer.rtx_ssrc)
    viewer.rtx_sequence += 1
    return int64(length + 2)


@inlined
def _is_too_soon(state: State, index: int, number: int) -> bool:
    """Whether the packet was sent again a moment ago; if not, it is now."""
    now = state.engine[0].now
    entry = state.resent[index * RESENT_ROWS + number % RESENT_ROWS]
    if entry.number == number and now - entry.at < REPEAT_INTERVAL:
        return True
    entry.number = number
    entry.at = now
    return False


@compiled
def resend(state: State, index: int, low: int) -> None:
    """Send the packet again that had these 16 bits for a number, if it may be."""
    counters = state.counters[0]
    viewer = state.viewers[index]
    highest = viewer.last_sent_plus_one - 1
    sequence = highest - ((highest - low) & MASK16)
    number = sequence - viewer.shift
    if number < viewer.floor or number >= viewer.cursor:
        counters.retransmit_missed += 1
        return
    engine = state.engine[0]
    track = viewer.track_plus_one - 1
    slot = track * engine.history + number % engine.history
    packet = state.history.packets[slot]
    if packet.number != number:
        counters.retransmit_missed += 1
        return
    if viewer.credit < packet.length or _is_too_soon(state, index, number):
        counters.retransmit_limited += 1
        return
    if engine.output_packets >= state.output.bytes.shape[0]:
        flush(state)
    at = engine.output_packets
    peer = state.peers[viewer.peer]
    state.scratch[0] = _copy(state, viewer, slot, at, sequence)
    start = address_of(state.output.bytes) + at * ROW
    if srtp_protect(peer.send_session, start, address_of(state.scratch)) != 0:
        counters.protect_failed += 1
        return
    length = state.scratch[0]
    state.output.iovecs[at].length = length
    engine.output_packets = at + 1
    seal(state, -1, viewer.peer, at, 1, 0, length)
    viewer.credit -= length
    peer.packets_sent += 1
    peer.bytes_sent += length
    counters.packets_out += 1
    counters.bytes_out += length
    counters.retransmitted += 1


@compiled
def retransmit(state: State, index: int, row: Table) -> None:
    """Answer a viewer's list of losses: words of a number and a mask of the next sixteen."""
    viewer = state.viewers[index]
    if viewer.track_plus_one == 0 or not can_be_sent_to(state, viewer):
        return
    has_begun = viewer.started != 0 and viewer.last_sent_plus_one != 0
    _refill(state, viewer)
    for word in range(2, COMMAND_WORDS):
        if row[word] < 0:
            break
        first = row[word] & MASK16
        mask = 1 | (row[word] >> 16) << 1
        for ahead in range(17):
            if (mask >> ahead) & 1 == 0:
                continue
            if has_begun:
                resend(state, index, (first + ahead) & MASK16)
            else:
                state.counters[0].retransmit_missed += 1
    flush(state)
