"""Rows of the tables as the values that control reads."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from .columns import DESTINATION, PEER, TAP, TRACK, VIEWER
from .seam import Found, PeerStats, TapStats, TrackStats, ViewerStats
from .tables import State, Table


class _Row:
    """Reads some columns of a table's row in one go: one by one takes twenty times as long."""

    def __init__(self, record: np.dtype[Any], *names: str) -> None:
        columns = record.names or ()
        words = struct.Struct(f"{len(columns)}q")
        if words.size != record.itemsize:
            raise TypeError("a column is not a 64-bit integer")
        self._size = words.size
        # Arrays are buffers, which numpy tells type checkers from Python 3.12 on.
        self._unpack: Callable[[Any, int], tuple[int, ...]] = words.unpack_from
        places = (columns.index(name) for name in names)
        self._pick: Callable[[tuple[int, ...]], tuple[int, ...]] = itemgetter(*places)

    def read(self, table: Table, index: int) -> tuple[int, ...]:
        """The columns of one row, in the order in which they were asked for."""
        return self._pick(self._unpack(table, index * self._size))


_PEER = _Row(PEER, *PeerStats._fields[:3])
_SENT = _Row(DESTINATION, *PeerStats._fields[3:])
_TRACK = _Row(TRACK, *TrackStats._fields[:-1])
_VIEWER = _Row(
    VIEWER,
    "packets",
    "octets",
    "timestamp_offset",
    "first_sent_plus_one",
    "last_sent_plus_one",
)
_TAP = _Row(TAP, "packets", "dropped", "frames_dropped")


def peer_stats(table: Table, index: int, destinations: Table) -> PeerStats:
    """What a peer has sent and, by its lane, was sent."""
    received, sent = _PEER.read(table, index), _SENT.read(destinations, index)
    return PeerStats(*received, *sent)


def track_stats(table: Table, index: int, viewers: int) -> TrackStats:
    """How a track is doing; the caller knows how many watch."""
    row = TrackStats._make((*_TRACK.read(table, index), viewers))
    if row.packets == 0:
        return row._replace(ssrc=-1, payload_type=-1)
    # RFC 3550 section A.8 keeps sixteen times the jitter.
    return row._replace(jitter=row.jitter >> 4)


def viewer_stats(table: Table, index: int) -> ViewerStats:
    """What a viewer was sent; its sequence numbers are extended ones."""
    packets, octets, offset, first, last = _VIEWER.read(table, index)
    return ViewerStats(packets, octets, offset, first - 1, last - 1)


def tap_stats(table: Table, index: int, waiting: int) -> TapStats:
    """What a tap was given."""
    packets, dropped, frames_dropped = _TAP.read(table, index)
    return TapStats(packets, waiting, dropped, frames_dropped)


def find_packets(state: State, track: int, numbers: Sequence[int]) -> Found:
    """Which of some packets are in a track's history.

    The thread may be writing a row that is read here. A number is one word and so never
    half written; the arrival may be that of the packet before in its row.
    """
    rows = int(state.engine[0].history)
    wanted = np.fromiter(numbers, np.int64, len(numbers))
    slots = track * rows + wanted % rows
    there = state.history.packets["number"][slots] == wanted
    arrivals = state.history.packets["arrival"][slots]
    found = zip(wanted[there].tolist(), arrivals[there].tolist(), strict=True)
    return Found(dict(found), int(state.tracks[track].highest_out) - rows + 1)
