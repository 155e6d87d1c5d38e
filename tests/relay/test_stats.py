from __future__ import annotations

import struct

import pytest

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


def test_every_value_is_that_of_its_column_and_row() -> None:
    for read, record in ((peer_stats, PEER), (track_stats, TRACK)):
        table = records(3, record)
        assert record.names is not None
        for index in range(3):
            for value, name in enumerate(record.names):
                table[name][index] = 1600 * index + 16 * value
        for index in range(3):
            stats = read(table, index)._asdict()
            if "jitter" in stats:
                stats["jitter"] <<= 4
            assert stats == {name: table[name][index] for name in stats}


def test_a_row_that_is_not_there_is_an_error() -> None:
    with pytest.raises(struct.error):
        viewer_stats(records(2, VIEWER), 2)
