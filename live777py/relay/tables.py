"""The memory of the data plane: every table, its columns, and the tuple that holds them all.

The thread is the only writer of everything here but `commands` and two words of `shared`.
Columns are 64-bit so that nothing overflows when the functions run as plain Python. A row of
zeros is a free row, so that memory is not touched before it is used. A column must not be
called as an attribute that numpy's scalars have (`flags`, `base`, `size`): a test holds that.
"""

from __future__ import annotations

import mmap
import platform
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .seam import Control
from .settings import PlaneSettings

Table = NDArray[Any]
#: One row of a table of records; its columns are attributes.
Record = Any

#: Bytes of a packet in the history and in the output, with room for the authentication tag.
ROW = 1536
TRAILER = 32
MAX_PACKET = ROW - TRAILER
#: Bytes of a datagram on its way in, or of a control packet; longer ones are dropped.
DATAGRAM = 2048
#: Datagrams taken at once.
BATCH = 64
#: Packets of one GSO message: 40 × 1,536 bytes stay below the 64 KiB of a UDP datagram.
GSO_PACKETS = 40
PAYLOAD_TYPES = 128
MESSAGE_BYTES = 64
IOVEC_BYTES = 16
NAME_BYTES = 32
CONTROL_BYTES = 128
#: IPV6_PKTINFO takes 40 bytes of control data, IP_PKTINFO 32.
LOCAL_BYTES = 40
COMMAND_WORDS = 12
#: `struct epoll_event` is packed on x86-64 alone; the data word begins at EVENT_DATA.
EVENT_DATA = 4 if platform.machine() in ("x86_64", "AMD64") else 8
EVENT_BYTES = EVENT_DATA + 8
#: Adopted sockets that are read in one turn.
EVENTS = 32
#: Packets of each viewer of which is remembered when they were last sent again.
RESENT_ROWS = 128
KINDS = len(Control)

#: Words of `shared`, each on a cache line of its own.
STOP = 0
RUNNING = 8
COMMAND_HEAD = 16
COMMAND_TAIL = 24
CONTROL_HEAD = 32
CONTROL_TAIL = CONTROL_HEAD + 8 * KINDS
NOTICE_HEAD = CONTROL_TAIL + 8 * KINDS
NOTICE_TAIL = NOTICE_HEAD + 8
SHARED_WORDS = NOTICE_TAIL + 8

#: Notices that may wait for control, a power of two, and the words of one.
NOTICES = 1024
NOTICE_WORDS = 8
#: Arrivals of one peer that are remembered for its congestion feedback, a power of two.
ARRIVALS = 1024

#: Words of the heads and tails of one source or tap, each on a cache line of its own.
RING_HEAD = 0
RING_TAIL = 8
RING_WORDS = 16


def _record(*names: str) -> np.dtype[Any]:
    return np.dtype([(name, "i8") for name in names], align=True)


#: What the loop itself knows. One row.
ENGINE = _record(
    "socket",
    "wake",
    "control",
    "is_ipv6",
    "gso",
    "history",
    "control_rows",
    "seed",
    "now",
    "clock_offset",
    "announced",
    "collected",
    "dirty",
    "output_packets",
    "output_messages",
    "waits",
    "coalesce",
    "is_full",
    "parked_head",
    "parked_tail",
    # Sources that are not WebRTC: peers behind the last one.
    "first_source",
    "sources",
    "injection_left",
    # Taps.
    "tap_event",
    "tapped",
    # Sockets of single peers.
    "epoll",
    "adopted",
    # Viewers on their way to the live edge.
    "catching",
    "catch_next",
    "caught_up_at",
    "catch_up_age",
)

#: One row; its columns are the names in `Plane.counters()`.
COUNTERS = _record(
    "packets_in",
    "bytes_in",
    "receive_calls",
    "packets_out",
    "bytes_out",
    "send_calls",
    "send_waits",
    "send_dropped",
    "gso_messages",
    "gso_refused",
    "unknown_address",
    "unknown_kind",
    "srtp_failed",
    "srtp_replayed",
    "protect_failed",
    "malformed",
    "no_track",
    "foreign_ssrc",
    "late",
    "sequence_jumps",
    "parked",
    "parked_dropped",
    "kernel_dropped",
    "control_stun",
    "control_dtls",
    "control_rtcp",
    "control_key_frame",
    "control_dropped_stun",
    "control_dropped_dtls",
    "control_dropped_rtcp",
    "control_dropped_key_frame",
    "gaps",
    "notices_dropped",
    "duplicates",
    "rtx_restored",
    "rtx_empty",
    "rtx_useless",
    "commands",
    "injected",
    "tapped",
    "tap_dropped",
    "adopt_failed",
    "retransmitted",
    "retransmit_missed",
    "retransmit_limited",
    "caught_up",
    "frames_dropped",
)

ADDRESS = _record("high", "low", "port", "peer_plus_one")

PEER = _record(
    "receive_session",
    "send_session",
    "name_length",
    "local_length",
    "gso_refused",
    "sources",
    "parked",
    "last_received",
    "packets_received",
    "bytes_received",
    "packets_sent",
    "bytes_sent",
    "send_errors",
    # Its own socket, 0 where it uses the shared one.
    "socket_plus_one",
    "socket_is_ipv6",
    # The id of its transport-wide numbers, 0 when they are not wanted.
    "transport_cc",
)

BINDING = _record(
    "track_plus_one",
    "format",
    "clock_rate",
    "extensions",
    # Of retransmissions: what they repeat, and the latest SSRC that they came under.
    "original_plus_one",
    "rtx_ssrc_plus_one",
)

TRACK = _record(
    # The source: one SSRC of one peer at a time.
    "has_publisher",
    "publisher",
    "anchored",
    "ssrc",
    "payload_type",
    "base_sequence",
    "highest_sequence",
    "received",
    "jitter",
    "transit",
    "outlier",
    "has_outlier",
    # Outgoing numbering.
    "packets",
    "bytes",
    "shift",
    "highest_out",
    "last_timestamp",
    "timestamp_offset",
    "last_arrival",
    # Key frames.
    "key_frames",
    "key_timestamp",
    "key_announced",
    # Viewers, a list through their rows, and taps alike.
    # The packets since the latest key frame, with which viewers may begin.
    "group_start",
    "group_timestamp",
    "group_started",
    "group_missing",
    "group_gap_at",
    # Viewers, a list through their rows.
    "viewers",
    "first_viewer_plus_one",
    "format",
    "first_tap_plus_one",
    # The packets of the batch in hand.
    "batch_first_plus_one",
    "batch_last",
)

#: One packet of a track's history; a late one came behind others that follow it.
PACKET = _record("number", "length", "octets", "arrival", "is_key", "is_late")

VIEWER = _record(
    "peer",
    "track_plus_one",
    "next_plus_one",
    "previous_plus_one",
    "payload_type",
    "ssrc",
    "timestamp_offset",
    "extensions",
    "first_sequence",
    "started",
    "floor",
    "shift",
    "packets",
    "octets",
    "first_sent_plus_one",
    "last_sent_plus_one",
    # What it gets besides the live edge, or instead.
    "paused",
    "catch_up",
    "cursor",
    "catching_plus_one",
    "skipped_plus_one",
    "echo_plus_one",
    # Retransmission.
    "rtx_payload_type",
    "rtx_ssrc",
    "rtx_sequence",
    "credit",
    "credit_at",
    "credit_octets",
)

TAP = _record(
    "track_plus_one",
    "next_plus_one",
    "capacity",
    "is_skipping",
    # The latest packet that there was no room for, and the latest frame that was counted.
    "lost_timestamp",
    "skipped_timestamp",
    "packets",
    "dropped",
    "frames_dropped",
)
#: When a packet was last sent again to a viewer; a slot is viewer × RESENT_ROWS + number % it.
RESENT = _record("number", "at")

#: A control packet beside its bytes.
CONTROL = _record(
    "peer",
    "length",
    "arrived",
    "high",
    "low",
    "port",
    "scope",
    "local_high",
    "local_low",
)

PARKED = _record("peer_plus_one", "length", "arrived")
COLLECTED = _record("slot", "next_plus_one")
SENT = _record("viewer", "peer", "first", "count", "octets", "bytes")
IOVEC = _record("start", "length")

#: `struct mmsghdr` of 64-bit Linux. musl's narrower lengths agree with it where the padding
#: is zero, as it always is here.
MESSAGE = np.dtype(
    [
        ("name", "i8"),
        ("name_length", "i8"),
        ("iovecs", "i8"),
        ("iovec_count", "i8"),
        ("control", "i8"),
        ("control_length", "i8"),
        ("message_flags", "i8"),
        ("length", "i8"),
    ],
    align=True,
)


class Input(NamedTuple):
    """What recvmmsg fills, and the batch that is made of it."""

    bytes: Table
    messages: Table
    iovecs: Table
    names: Table
    controls: Table
    collected: Table
    dirty: Table


class Output(NamedTuple):
    """Encrypted packets on their way to sendmmsg."""

    bytes: Table
    messages: Table
    iovecs: Table
    controls: Table
    sent: Table
    retries: Table
    slots: Table
    runs: Table


class History(NamedTuple):
    """The normalised packets of all tracks; a slot is track × history + number % history."""

    bytes: Table
    packets: Table


class Paths(NamedTuple):
    """Where each peer's media goes: a socket address, and control data that names ours."""

    names: Table
    locals: Table


class Parking(NamedTuple):
    """SRTP that came before its keys, oldest first, of all peers."""

    rows: Table
    bytes: Table


class ControlRing(NamedTuple):
    """Control packets out; each kind has its own part of the rows."""

    rows: Table
    bytes: Table


class Injection(NamedTuple):
    """Packets from sources that are not WebRTC; each source has its own ring."""

    shared: Table
    lengths: Table
    bytes: Table
    #: The sources that are open, in no order.
    open: Table


class Taps(NamedTuple):
    """Packets for sinks that are not WebRTC; each tap has its own ring."""

    rows: Table
    shared: Table
    lengths: Table
    bytes: Table


class Arrivals(NamedTuple):
    """When packets of each peer came: a log of words, written over from its beginning."""

    heads: Table
    words: Table


class State(NamedTuple):
    """Everything that the loop works on."""

    shared: Table
    engine: Table
    counters: Table
    commands: Table
    control: ControlRing
    notices: Table
    arrivals: Arrivals
    addresses: Table
    peers: Table
    paths: Paths
    bindings: Table
    tracks: Table
    history: History
    viewers: Table
    catching: Table
    resent: Table
    parking: Parking
    input: Input
    output: Output
    injection: Injection
    taps: Taps
    events: Table
    polls: Table
    scratch: Table


#: Linux's number, where this Python does not name it.
MAP_NORESERVE: int = getattr(mmap, "MAP_NORESERVE", 0x4000)


class Reserved(NamedTuple):
    """Memory that is only reserved, and can be given back in parts."""

    array: Table
    memory: mmap.mmap
    bytes_per_row: int

    def release(self, first: int, count: int) -> None:
        """Give rows back to the kernel; they read as zeros afterwards."""
        page = mmap.PAGESIZE
        start = first * self.bytes_per_row
        end = start + count * self.bytes_per_row
        first_page = -(-start // page) * page
        last_page = end // page * page
        if last_page > first_page:
            size = last_page - first_page
            self.memory.madvise(mmap.MADV_DONTNEED, first_page, size)
            # Pages shared with neighbours stay; our part of them is cleared.
            self.memory[start:first_page] = bytes(first_page - start)
            self.memory[last_page:end] = bytes(end - last_page)
        else:
            self.memory[start:end] = bytes(end - start)


def reserve(rows: int, dtype: np.dtype[Any], width: int = 1) -> Reserved:
    """Memory for `rows` × `width` items that is taken page by page when first written.

    numpy's own zeros are refused where they exceed what the machine has.
    """
    size = rows * width * dtype.itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    memory = mmap.mmap(-1, size, flags=flags)
    array: Table = np.frombuffer(memory, dtype)
    if dtype.names is not None:
        array = array.view(np.recarray)
    elif width > 1:
        array = array.reshape(rows, width)
    return Reserved(array, memory, width * dtype.itemsize)


def records(rows: int, dtype: np.dtype[Any]) -> Table:
    """A table whose rows have their columns as attributes."""
    return np.zeros(rows, dtype).view(np.recarray)


def octets(rows: int, width: int) -> Table:
    """Buffers of bytes."""
    return np.zeros((rows, width), np.uint8)


def make_input() -> Input:
    """The buffers of recvmmsg, each message pointing at its own."""
    made = Input(
        bytes=octets(BATCH, DATAGRAM),
        messages=records(BATCH, MESSAGE),
        iovecs=records(BATCH, IOVEC),
        names=octets(BATCH, NAME_BYTES),
        controls=octets(BATCH, CONTROL_BYTES),
        collected=records(BATCH, COLLECTED),
        dirty=np.zeros(BATCH, np.int64),
    )
    index = np.arange(BATCH)
    made.iovecs["start"] = made.bytes.ctypes.data + index * DATAGRAM
    made.iovecs["length"] = DATAGRAM
    made.messages["name"] = made.names.ctypes.data + index * NAME_BYTES
    made.messages["iovecs"] = made.iovecs.ctypes.data + index * IOVEC_BYTES
    made.messages["iovec_count"] = 1
    made.messages["control"] = made.controls.ctypes.data + index * CONTROL_BYTES
    return made


def make_output(packets: int) -> Output:
    """The buffers of sendmmsg."""
    made = Output(
        bytes=octets(packets, ROW),
        messages=records(packets, MESSAGE),
        iovecs=records(packets, IOVEC),
        controls=octets(packets, CONTROL_BYTES),
        sent=records(packets, SENT),
        retries=records(GSO_PACKETS, MESSAGE),
        slots=np.zeros(BATCH, np.int64),
        runs=np.zeros(BATCH, np.int64),
    )
    index = np.arange(packets)
    made.iovecs["start"] = made.bytes.ctypes.data + index * ROW
    made.messages["control"] = made.controls.ctypes.data + index * CONTROL_BYTES
    return made


class Memory(NamedTuple):
    """The state, with what is needed to give parts of it back."""

    state: State
    history: Reserved
    packets: Reserved
    injected: Reserved
    tapped: Reserved

    def release_source(self, source: int) -> None:
        """Make a source's ring as new."""
        self.state.injection.shared[source * RING_WORDS :][:RING_WORDS] = 0
        rows = self.state.injection.lengths.shape[1]
        self.injected.release(source * rows, rows)

    def release_tap(self, tap: int) -> None:
        """Make a tap's ring as new."""
        self.state.taps.shared[tap * RING_WORDS :][:RING_WORDS] = 0
        rows = self.state.taps.lengths.shape[1]
        self.tapped.release(tap * rows, rows)

    arrivals: Reserved

    def release_peer(self, peer: int) -> None:
        """Give the memory of a peer's arrivals back."""
        self.arrivals.release(peer, 1)

    def release_track(self, track: int) -> None:
        """Forget a track's packets and give their memory back."""
        rows = int(self.state.engine[0].history)
        self.history.release(track * rows, rows)
        self.packets.release(track * rows, rows)


def allocate(settings: PlaneSettings) -> Memory:
    """All tables for these bounds; the caller fills in `engine`'s descriptors."""
    slots = settings.max_tracks * settings.history
    history = reserve(slots, np.dtype(np.uint8), ROW)
    packets = reserve(slots, PACKET)
    injected = reserve(
        settings.max_sources * settings.source_packets, np.dtype(np.uint8), ROW
    )
    tapped = reserve(settings.max_taps * settings.tap_packets, np.dtype(np.uint8), ROW)
    publishers = settings.max_peers + settings.max_sources
    arrivals = reserve(settings.max_peers, np.dtype(np.int64), ARRIVALS)
    # Eight addresses a peer, at most half full.
    addresses = 1 << (settings.max_peers * 16 - 1).bit_length()
    state = State(
        shared=np.zeros(SHARED_WORDS, np.int64),
        engine=records(1, ENGINE),
        counters=records(1, COUNTERS),
        commands=np.zeros((settings.command_rows, COMMAND_WORDS), np.int64),
        control=ControlRing(
            records(KINDS * settings.control_rows, CONTROL),
            octets(KINDS * settings.control_rows, DATAGRAM),
        ),
        notices=np.zeros((NOTICES, NOTICE_WORDS), np.int64),
        arrivals=Arrivals(np.zeros(settings.max_peers, np.int64), arrivals.array),
        addresses=records(addresses, ADDRESS),
        peers=records(publishers, PEER),
        paths=Paths(
            octets(settings.max_peers, NAME_BYTES),
            octets(settings.max_peers, LOCAL_BYTES),
        ),
        bindings=records(publishers * PAYLOAD_TYPES, BINDING),
        tracks=records(settings.max_tracks, TRACK),
        history=History(history.array, packets.array),
        viewers=records(settings.max_viewers, VIEWER),
        catching=np.zeros(settings.max_viewers, np.int64),
        resent=records(settings.max_viewers * RESENT_ROWS, RESENT),
        parking=Parking(
            records(settings.parked_packets, PARKED),
            octets(settings.parked_packets, DATAGRAM),
        ),
        input=make_input(),
        output=make_output(settings.output_packets),
        injection=Injection(
            np.zeros(settings.max_sources * RING_WORDS, np.int64),
            np.zeros((settings.max_sources, settings.source_packets), np.int64),
            injected.array,
            np.zeros(settings.max_sources, np.int64),
        ),
        taps=Taps(
            records(settings.max_taps, TAP),
            np.zeros(settings.max_taps * RING_WORDS, np.int64),
            np.zeros((settings.max_taps, settings.tap_packets), np.int64),
            tapped.array,
        ),
        events=octets(1, EVENTS * EVENT_BYTES),
        polls=np.zeros(4, np.int64),
        scratch=np.zeros(8, np.int64),
    )
    state.engine[0].history = settings.history
    state.engine[0].control_rows = settings.control_rows
    state.engine[0].gso = int(settings.gso)
    state.engine[0].first_source = settings.max_peers
    state.engine[0].coalesce = int(settings.coalesce * 1_000_000_000)
    state.engine[0].catch_up_age = round(settings.catch_up_age * 1_000_000_000)
    return Memory(state, history, packets, injected, tapped, arrivals)
