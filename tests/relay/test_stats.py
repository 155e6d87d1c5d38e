from __future__ import annotations

from live777py.relay.stats import peer_stats, track_stats, viewer_stats
from live777py.relay.tables import PEER, TRACK, VIEWER, records


def test_what_has_not_begun_says_so() -> None:
    track = track_stats(records(1, TRACK)[0])
    assert (track.ssrc, track.payload_type, track.last_arrival) == (-1, -1, 0)
    viewer = viewer_stats(records(1, VIEWER)[0])
    assert (viewer.first_sequence, viewer.last_sequence) == (-1, -1)
    assert peer_stats(records(1, PEER)[0]).last_received == 0


def test_jitter_is_scaled_down() -> None:
    row = records(1, TRACK)[0]
    row.packets = 1
    row.jitter = 33
    assert track_stats(row).jitter == 2


def test_a_key_frame_to_begin_with_has_a_time_only_where_there_is_one() -> None:
    row = records(1, TRACK)[0]
    row.group_started = 7
    assert (track_stats(row).group_packets, track_stats(row).group_started) == (0, 0)
    stats = track_stats(row, 5)
    assert (stats.group_packets, stats.group_started) == (5, 7)
