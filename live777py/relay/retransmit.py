"""Retransmission: what a viewer says that it lacks is sent again from the track's history.

By RTX (RFC 4588) where that was negotiated, otherwise as the same packet, byte for byte. A
packet that is asked for goes to a viewer once in 15 ms at most, and what is sent again is
bounded by half of what the viewer gets anyway, so that a lie about losses gains little.

Of that, as long as there is enough, a viewer that loses packets gets echoes (`echoes.py`).
"""

from __future__ import annotations

from .cfuncs import (
    address_of,
    compiled,
    fence,
    inlined,
    int64,
    memcpy,
    memmove,
    srtp_protect,
)
from .echoes import LOSSY, promise
from .fanout import can_be_sent_to, is_whole, note_sent, rewrite
from .header import locate
from .numbering import SECOND
from .output import flush, seal
from .tables import COMMAND_WORDS, ECHOES, RESENT_ROWS, ROW, Record, State, Table
from .wire import MASK16, get8, put16, put32

#: Below the 20 ms of Chromium's rhythm, so that its second request is heard.
REPEAT_INTERVAL = 15_000_000
#: Bytes that may be sent again at once at most, and after the first packet at least.
MAX_CREDIT = 256 * 1024
FIRST_CREDIT = 32 * 1024
#: Bytes a second that are always allowed.
LEAST_RATE = 32_000
#: What echoes leave of the credit. Who loses so much that there is no more than this has a
#: path that is too narrow, and needs it for what it asks for.
ECHO_RESERVE = FIRST_CREDIT // 2


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
def _rename(state: State, viewer: Record, at: int, length: int, sequence: int) -> int:
    """Make a copy in the output what is sent again, unencrypted; its length."""
    buffer = state.output.bytes
    if viewer.rtx_payload_type < 0:
        rewrite(state, viewer, at, sequence)
        return int64(length)
    payload = locate(buffer, at, length)[0]
    behind = address_of(buffer) + at * ROW + payload
    memmove(behind + 2, behind, length - payload)
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
    note_sent(state, index, number)
    return False


@compiled
def _send_again(state: State, viewer: Record, number: int) -> bool:
    """Send a packet again that is in the history and that the viewer was sent before."""
    engine = state.engine[0]
    counters = state.counters[0]
    slot = (viewer.track_plus_one - 1) * engine.history + number % engine.history
    if engine.output_packets >= state.output.bytes.shape[0]:
        flush(state)
    at = engine.output_packets
    peer = state.destinations[viewer.peer]
    start = address_of(state.output.bytes) + at * ROW
    length = state.history.packets[slot].length
    memcpy(start, address_of(state.history.bytes) + slot * ROW, length)
    # Before anybody looks into it: offsets found in half a packet lead anywhere.
    if not is_whole(state, slot, number):
        return False
    length = _rename(state, viewer, at, length, number + viewer.shift)
    state.scratch[0] = length
    if srtp_protect(peer.send_session, start, address_of(state.scratch)) != 0:
        counters.protect_failed += 1
        return False
    length = state.scratch[0]
    state.output.iovecs[at].length = length
    engine.output_packets = at + 1
    seal(state, -1, viewer.peer, at, 1, 0, length)
    viewer.credit -= length
    peer.packets_sent += 1
    peer.bytes_sent += length
    counters.packets_out += 1
    counters.bytes_out += length
    return True


@inlined
def _length(state: State, viewer: Record, number: int) -> int:
    """The length of a packet that may be sent again to a viewer, 0 when it may not."""
    if number < viewer.floor or number >= viewer.cursor:
        return int64(0)
    depth = state.engine[0].history
    slot = (viewer.track_plus_one - 1) * depth + number % depth
    packet = state.history.packets[slot]
    if packet.number != number:
        return int64(0)
    # What the number stands for is read after it.
    fence()
    return int64(packet.length)


@compiled
def resend(state: State, index: int, low: int) -> bool:
    """Send the packet again that had these 16 bits for a number, if it may be."""
    counters = state.counters[0]
    viewer = state.viewers[index]
    highest = viewer.last_sent_plus_one - 1
    number = highest - ((highest - low) & MASK16) - viewer.shift
    length = _length(state, viewer, number)
    if length == 0:
        counters.retransmit_missed += 1
        return False
    if viewer.credit < length or _is_too_soon(state, index, number):
        counters.retransmit_limited += 1
        return False
    if not _send_again(state, viewer, number):
        return False
    counters.retransmitted += 1
    return True


@compiled
def _answer(state: State, index: int, low: int) -> None:
    """Send a packet that was asked for, and promise it a second time.

    Unless it is one that the publisher's path had lost: the viewer may have lost nothing.
    """
    if not resend(state, index, low):
        return
    viewer = state.viewers[index]
    highest = viewer.last_sent_plus_one - 1
    number = highest - ((highest - low) & MASK16) - viewer.shift
    engine = state.engine[0]
    slot = (viewer.track_plus_one - 1) * engine.history + number % engine.history
    if state.history.packets[slot].is_late == 0:
        viewer.lossy_until = engine.now + LOSSY
        promise(state, index, number, 0)


@compiled
def _echo(state: State, index: int, number: int, is_probe: int) -> None:
    """Keep a promise, unless the viewer has changed, is short of credit, or has no need."""
    viewer = state.viewers[index]
    if viewer.track_plus_one == 0 or not can_be_sent_to(state, viewer):
        return
    newest_plus_one = viewer.last_sent_plus_one - viewer.shift
    if viewer.started == 0 or number >= newest_plus_one:
        return
    if is_probe != 0 and number + 1 != newest_plus_one:
        # What followed it tells the viewer whether it is lost.
        return
    _refill(state, viewer)
    length = _length(state, viewer, number)
    if length == 0 or viewer.credit < length + ECHO_RESERVE:
        return
    note_sent(state, index, number)
    if _send_again(state, viewer, number):
        state.counters[0].echoed += 1


@compiled
def send_echoes(state: State) -> None:
    """Keep the promises that are due."""
    engine = state.engine[0]
    if engine.echoes == 0 or state.echoes[engine.echo_first].due > engine.now:
        return
    while engine.echoes != 0:
        echo = state.echoes[engine.echo_first]
        if echo.due > engine.now:
            break
        engine.echo_first = (engine.echo_first + 1) % ECHOES
        engine.echoes -= 1
        _echo(state, echo.viewer, echo.number, echo.is_probe)
    flush(state)


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
                _answer(state, index, (first + ahead) & MASK16)
            else:
                state.counters[0].retransmit_missed += 1
    flush(state)
