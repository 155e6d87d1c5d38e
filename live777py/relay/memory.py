"""Making the tables: memory that is reserved for all rows and taken when a row is first used."""

from __future__ import annotations

import mmap
from typing import Any, NamedTuple

import numpy as np

from .columns import (
    ADDRESS,
    AUDIENCE,
    BINDING,
    COLLECTED,
    CONTROL,
    COUNTERS,
    DESTINATION,
    ECHO,
    ENGINE,
    IOVEC,
    MESSAGE,
    PACKET,
    PARKED,
    PEER,
    RESENT,
    SENT,
    TAP,
    TRACK,
    VIEWER,
    WAKE,
)
from .settings import PlaneSettings
from .tables import (
    ARRIVALS,
    BATCH,
    COMMAND_WORDS,
    CONTROL_BYTES,
    DATAGRAM,
    ECHOES,
    EVENT_BYTES,
    EVENTS,
    GSO_PACKETS,
    IOVEC_BYTES,
    KINDS,
    LOCAL_BYTES,
    NAME_BYTES,
    NOTICE_WORDS,
    NOTICES,
    PAYLOAD_TYPES,
    RESENT_ROWS,
    RING_WORDS,
    ROW,
    SHARED_WORDS,
    Arrivals,
    ControlRing,
    History,
    Injection,
    Input,
    Lanes,
    Output,
    Parking,
    Paths,
    State,
    Table,
    Taps,
)

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


#: Bytes from which on a table is memory of its own: it goes back to the kernel with its plane, and
#: is not written to be zero, as the C library does with memory that was something else before.
LARGE = 1 << 16


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
    if rows * dtype.itemsize < LARGE:
        return np.zeros(rows, dtype).view(np.recarray)
    return reserve(rows, dtype).array


def octets(rows: int, width: int) -> Table:
    """Buffers of bytes."""
    if rows * width < LARGE or width == 1:
        return np.zeros((rows, width), np.uint8)
    return reserve(rows, np.dtype(np.uint8), width).array


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
        numbers=np.zeros(BATCH, np.int64),
        runs=np.zeros(BATCH, np.int64),
    )
    index = np.arange(packets)
    made.iovecs["start"] = made.bytes.ctypes.data + index * ROW
    made.messages["control"] = made.controls.ctypes.data + index * CONTROL_BYTES
    return made


def _own(settings: PlaneSettings, lanes: Lanes, number: int) -> dict[str, Any]:
    """The tables that a lane has of its own."""
    engine = records(1, ENGINE)
    engine[0].socket = -1
    engine[0].history = settings.history
    engine[0].control_rows = settings.control_rows
    engine[0].gso = int(settings.gso)
    engine[0].first_source = settings.max_peers
    engine[0].coalesce = int(settings.coalesce * 1_000_000_000)
    engine[0].echo_delay = round(settings.echo_delay * 1_000_000_000)
    engine[0].catch_up_age = round(settings.catch_up_age * 1_000_000_000)
    return {
        "shared": lanes.shared[number],
        "engine": engine,
        "counters": records(1, COUNTERS),
        "commands": lanes.rows[number],
        "destinations": records(settings.max_peers, DESTINATION),
        "paths": Paths(
            octets(settings.max_peers, NAME_BYTES),
            octets(settings.max_peers, LOCAL_BYTES),
        ),
        "audiences": records(settings.max_tracks, AUDIENCE),
        "catching": np.zeros(settings.max_viewers, np.int64),
        "echoes": records(ECHOES, ECHO),
        "input": make_input(),
        "output": make_output(settings.output_packets),
        "polls": np.zeros(4, np.int64),
        "scratch": np.zeros(8, np.int64),
    }


class Memory(NamedTuple):
    """The state, with what is needed to give parts of it back."""

    #: That of the lane which receives, and those of all lanes, it first.
    state: State
    lanes: tuple[State, ...]
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


def allocate(settings: PlaneSettings, lanes: int = 1) -> Memory:
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
    rings = Lanes(
        np.zeros((lanes, settings.command_rows, COMMAND_WORDS), np.int64),
        np.zeros((lanes, SHARED_WORDS), np.int64),
        records(lanes, WAKE),
    )
    state = State(
        **_own(settings, rings, 0),
        lanes=rings,
        control=ControlRing(
            records(KINDS * settings.control_rows, CONTROL),
            octets(KINDS * settings.control_rows, DATAGRAM),
        ),
        notices=np.zeros((NOTICES, NOTICE_WORDS), np.int64),
        arrivals=Arrivals(np.zeros(settings.max_peers, np.int64), arrivals.array),
        addresses=records(addresses, ADDRESS),
        peers=records(publishers, PEER),
        bindings=records(publishers * PAYLOAD_TYPES, BINDING),
        tracks=records(settings.max_tracks, TRACK),
        history=History(history.array, packets.array),
        viewers=records(settings.max_viewers, VIEWER),
        resent=records(settings.max_viewers * RESENT_ROWS, RESENT),
        parking=Parking(
            records(settings.parked_packets, PARKED),
            octets(settings.parked_packets, DATAGRAM),
        ),
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
    )
    others = (state._replace(**_own(settings, rings, n)) for n in range(1, lanes))
    return Memory(state, (state, *others), history, packets, injected, tapped, arrivals)
