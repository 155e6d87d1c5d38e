"""Rows of the tables as the values that control reads."""

from __future__ import annotations

from .seam import PeerStats, TrackStats, ViewerStats
from .tables import Record


def peer_stats(row: Record) -> PeerStats:
    """What a peer has sent and was sent."""
    return PeerStats(
        last_received=int(row.last_received),
        packets_received=int(row.packets_received),
        bytes_received=int(row.bytes_received),
        packets_sent=int(row.packets_sent),
        bytes_sent=int(row.bytes_sent),
        send_errors=int(row.send_errors),
    )


def track_stats(row: Record, group_packets: int = 0) -> TrackStats:
    """How a track is doing; the caller knows what a viewer could begin with."""
    has_begun = bool(row.packets > 0)
    return TrackStats(
        ssrc=int(row.ssrc) if has_begun else -1,
        payload_type=int(row.payload_type) if has_begun else -1,
        packets=int(row.packets),
        bytes=int(row.bytes),
        base_sequence=int(row.base_sequence),
        highest_sequence=int(row.highest_sequence),
        received=int(row.received),
        jitter=int(row.jitter) >> 4,
        key_frames=int(row.key_frames),
        last_arrival=int(row.last_arrival),
        last_timestamp=int(row.last_timestamp),
        timestamp_offset=int(row.timestamp_offset),
        viewers=int(row.viewers),
        group_packets=group_packets,
        group_started=int(row.group_started) if group_packets else 0,
    )


def viewer_stats(row: Record) -> ViewerStats:
    """What a viewer was sent; its sequence numbers are extended ones."""
    return ViewerStats(
        packets=int(row.packets),
        octets=int(row.octets),
        timestamp_offset=int(row.timestamp_offset),
        first_sequence=int(row.first_sent_plus_one) - 1,
        last_sequence=int(row.last_sent_plus_one) - 1,
    )
