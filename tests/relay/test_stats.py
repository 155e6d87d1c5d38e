from __future__ import annotations

from live777py.relay.stats import find_packets, peer_stats, track_stats, viewer_stats
from live777py.relay.tables import PEER, TRACK, VIEWER, allocate, records

from .support import SMALL


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


def test_packets_are_found_by_number_and_only_in_their_own_track() -> None:
    state = allocate(SMALL).state
    assert find_packets(state, 1, []) == ({}, 1 - SMALL.history)
    for track, number in ((0, 70_000), (1, 70_001), (1, 70_001 + SMALL.history)):
        row = state.history.packets[track * SMALL.history + number % SMALL.history]
        row.number, row.arrival = number, 10 * number
        state.tracks[track].highest_out = number
    numbers = [70_000, 70_001, 70_001 + SMALL.history]
    assert find_packets(state, 0, numbers).arrivals == {70_000: 700_000}
    found = find_packets(state, 1, numbers)
    assert list(found.arrivals) == [70_001 + SMALL.history]
    assert found.oldest == 70_002
