from __future__ import annotations

from live777py.relay.columns import PEER, TRACK, VIEWER
from live777py.relay.memory import records
from live777py.relay.stats import peer_stats, track_stats, viewer_stats


def test_what_has_not_begun_says_so() -> None:
    track = track_stats(records(1, TRACK), 0)
    assert (track.ssrc, track.payload_type, track.last_arrival) == (-1, -1, 0)
    viewer = viewer_stats(records(1, VIEWER), 0)
    assert (viewer.first_sequence, viewer.last_sequence) == (-1, -1)
    assert peer_stats(records(1, PEER), 0).last_received == 0


def test_jitter_is_scaled_down() -> None:
    table = records(1, TRACK)
    table[0].packets = 1
    table[0].jitter = 33
    assert track_stats(table, 0).jitter == 2


def test_a_key_frame_to_begin_with_has_a_time_only_where_there_is_one() -> None:
    table = records(1, TRACK)
    table[0].group_started = 7
    without, with_group = track_stats(table, 0), track_stats(table, 0, 5)
    assert (without.group_packets, without.group_started) == (0, 0)
    assert (with_group.group_packets, with_group.group_started) == (5, 7)
