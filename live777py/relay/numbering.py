"""A track's numbering and its statistics.

Towards viewers a track is one continuous run of sequence numbers and timestamps, whoever
publishes: each new source is *anchored* one number behind the last, and as many ticks later
as time has passed. Numbers are extended to 64 bits (cycles << 16 | number) on both sides.
"""

from __future__ import annotations

from .cfuncs import compiled, inlined, int64
from .tables import Record, State
from .wire import MASK32, signed16, signed32

SECOND = 1_000_000_000
#: A new SSRC of the same peer must find the old one silent for so long.
TAKEOVER = SECOND // 5
#: A larger step of sequence numbers is a new run or nonsense (RFC 3550 appendix A.1).
MAX_JUMP = 3_000
#: SSRCs that one peer may use in its life: libsrtp keeps a replay list for each.
MAX_SOURCES = 256
#: Reordered packets before a track's first one keep positive numbers.
FIRST_NUMBER = 1 << 16


@inlined
def ticks(duration: int, clock_rate: int) -> int:
    """Nanoseconds as timestamp units, without an overflow for any duration."""
    seconds = duration // SECOND
    return seconds * clock_rate + (duration % SECOND) * clock_rate // SECOND


@inlined
def may_send(state: State, track: Record, peer: int, ssrc: int) -> bool:
    """Whether packets of this SSRC of this peer are this track's, or may become so."""
    if track.has_publisher == 0 or track.publisher != peer:
        return False
    if track.ssrc == ssrc and track.anchored != 0:
        return True
    if state.peers[peer].sources >= MAX_SOURCES:
        return False
    silence = state.engine[0].now - track.last_arrival
    return bool(track.anchored == 0 or silence >= TAKEOVER)


@compiled
def anchor(
    track: Record, ssrc: int, sequence: int, timestamp: int, now: int, clock_rate: int
) -> None:
    """Begin a new run of numbers with this packet, where the last one ended."""
    if track.highest_out == 0:
        track.shift = FIRST_NUMBER
        track.timestamp_offset = 0
    else:
        track.shift = track.highest_out + 1 - sequence
        passed = ticks(now - track.last_arrival, clock_rate)
        # Never the same timestamp: that would make two frames one.
        outgoing = track.last_timestamp + max(1, passed)
        track.timestamp_offset = (outgoing - timestamp) & MASK32
    # What came before is no beginning for what comes now.
    track.group_start = 0
    track.ssrc = ssrc
    track.anchored = 1
    track.has_outlier = 0
    track.base_sequence = sequence
    track.highest_sequence = sequence
    track.received = 0
    track.jitter = 0


@compiled
def _extend(state: State, track: Record, sequence: int) -> int:
    """The extended number of a packet of the current run, or -1 to drop it.

    Returns -2 for the second packet in a row that is far from the run: a new run.
    """
    step = signed16(sequence - track.highest_sequence)
    if abs(step) > MAX_JUMP:
        repeated = (
            track.has_outlier != 0
            and abs(signed16(sequence - track.outlier)) <= MAX_JUMP
        )
        if repeated:
            return -2
        track.outlier = sequence
        track.has_outlier = 1
        state.counters[0].sequence_jumps += 1
        return -1
    track.has_outlier = 0
    extended = track.highest_sequence + step
    oldest = track.highest_out - track.shift - state.engine[0].history
    if extended < track.base_sequence or extended <= oldest:
        # Before the run's first packet, or no longer in the history.
        state.counters[0].late += 1
        return -1
    return int64(extended)


@compiled
def number(
    state: State,
    track: Record,
    ssrc: int,
    sequence: int,
    timestamp: int,
    clock_rate: int,
) -> int:
    """The extended outgoing number of an authenticated packet, or -1 to drop it."""
    now = state.engine[0].now
    extended = sequence
    if track.anchored == 0 or track.ssrc != ssrc:
        state.peers[track.publisher].sources += 1
        anchor(track, ssrc, sequence, timestamp, now, clock_rate)
    else:
        extended = _extend(state, track, sequence)
        if extended == -2:
            anchor(track, ssrc, sequence, timestamp, now, clock_rate)
            extended = sequence
        elif extended < 0:
            return -1
    return int64(extended + track.shift)


@inlined
def may_repeat(
    state: State, track: Record, peer: int, binding: Record, ssrc: int
) -> bool:
    """Whether packets of this SSRC of this peer may be retransmissions for this track."""
    if track.has_publisher == 0 or track.publisher != peer:
        return False
    is_known = binding.rtx_ssrc_plus_one == ssrc + 1
    return bool(is_known or state.peers[peer].sources < MAX_SOURCES)


@inlined
def place(state: State, track: Record, sequence: int) -> int:
    """The extended outgoing number of a retransmitted packet, -1 when it has no place.

    It fills what is missing and never moves the run on: a sender may repeat old packets
    under any number just to probe the path.
    """
    step = signed16(sequence - track.highest_sequence)
    extended = track.highest_sequence + step
    outgoing = extended + track.shift
    oldest = track.highest_out - state.engine[0].history
    if (
        track.anchored == 0
        or step >= 0
        or extended < track.base_sequence
        or outgoing <= oldest
    ):
        return int64(-1)
    return int64(outgoing)


@inlined
def account(
    track: Record, outgoing: int, timestamp: int, length: int, now: int, clock_rate: int
) -> None:
    """Note a packet that was taken in (RFC 3550 sections 6.4.1 and A.8)."""
    transit = (ticks(now, clock_rate) - timestamp) & MASK32
    if track.received > 0:
        difference = abs(signed32(transit - track.transit))
        track.jitter += difference - ((track.jitter + 8) >> 4)
    track.transit = transit
    track.received += 1
    track.packets += 1
    track.bytes += length
    if outgoing > track.highest_out:
        track.highest_out = outgoing
        track.highest_sequence = outgoing - track.shift
        track.last_timestamp = (timestamp + track.timestamp_offset) & MASK32
    track.last_arrival = now
