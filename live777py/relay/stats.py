"""Rows of the tables as the values that control reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .seam import Found, PeerStats, TapStats, TrackStats, ViewerStats
from .tables import State, Table


def _columns(table: Table, index: int) -> dict[str, int]:
    """A row by column names, copied in one go: column by column takes ten times as long."""
    return dict(zip(table.dtype.names or (), table.item(index), strict=True))


def peer_stats(table: Table, index: int) -> PeerStats:
    """What a peer has sent and was sent."""
    row = _columns(table, index)
    return PeerStats(
        last_received=row["last_received"],
        packets_received=row["packets_received"],
        bytes_received=row["bytes_received"],
        packets_sent=row["packets_sent"],
        bytes_sent=row["bytes_sent"],
        send_errors=row["send_errors"],
    )


def track_stats(table: Table, index: int, group_packets: int = 0) -> TrackStats:
    """How a track is doing; the caller knows what a viewer could begin with."""
    row = _columns(table, index)
    has_begun = row["packets"] > 0
    return TrackStats(
        ssrc=row["ssrc"] if has_begun else -1,
        payload_type=row["payload_type"] if has_begun else -1,
        packets=row["packets"],
        bytes=row["bytes"],
        base_sequence=row["base_sequence"],
        highest_sequence=row["highest_sequence"],
        received=row["received"],
        jitter=row["jitter"] >> 4,
        key_frames=row["key_frames"],
        last_arrival=row["last_arrival"],
        last_timestamp=row["last_timestamp"],
        timestamp_offset=row["timestamp_offset"],
        viewers=row["viewers"],
        group_packets=group_packets,
        group_started=row["group_started"] if group_packets else 0,
    )


def viewer_stats(table: Table, index: int) -> ViewerStats:
    """What a viewer was sent; its sequence numbers are extended ones."""
    row = _columns(table, index)
    return ViewerStats(
        packets=row["packets"],
        octets=row["octets"],
        timestamp_offset=row["timestamp_offset"],
        first_sequence=row["first_sent_plus_one"] - 1,
        last_sequence=row["last_sent_plus_one"] - 1,
    )


def tap_stats(table: Table, index: int, waiting: int) -> TapStats:
    """What a tap was given."""
    row = _columns(table, index)
    return TapStats(row["packets"], waiting, row["dropped"], row["frames_dropped"])


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
