from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from live777py.relay.columns import DESTINATION, PEER, TRACK, VIEWER
from live777py.relay.memory import records
from live777py.relay.stats import peer_stats, track_stats, viewer_stats
from live777py.relay.tables import Table


def test_what_has_not_begun_says_so() -> None:
    track = track_stats(records(1, TRACK), 0, 0)
    assert (track.ssrc, track.payload_type, track.last_arrival) == (-1, -1, 0)
    viewer = viewer_stats(records(1, VIEWER), 0)
    assert (viewer.first_sequence, viewer.last_sequence) == (-1, -1)
    assert peer_stats(records(1, PEER), 0, records(1, DESTINATION)).last_received == 0


def test_jitter_is_scaled_down() -> None:
    table = records(1, TRACK)
    table[0].packets = 1
    table[0].jitter = 33
    assert track_stats(table, 0, 1).jitter == 2


def test_every_value_is_that_of_its_column_and_row() -> None:
    peers, tracks = _numbered(PEER, 0), _numbered(TRACK, 1)
    destinations = _numbered(DESTINATION, 2)
    for index in range(3):
        peer = peer_stats(peers, index, destinations)._asdict()
        for name, value in peer.items():
            table = peers if name in (PEER.names or ()) else destinations
            assert value == table[name][index]
        track = track_stats(tracks, index, 77)._asdict()
        assert track.pop("viewers") == 77
        track["jitter"] <<= 4
        assert track == {name: tracks[name][index] for name in track}


def _numbered(record: np.dtype[Any], first: int) -> Table:
    """Three rows in which each value is another."""
    table = records(3, record)
    for index in range(3):
        for value, name in enumerate(record.names or ()):
            table[name][index] = 1600 * (3 * first + index) + 16 * value
    return table


def test_a_row_that_is_not_there_is_an_error() -> None:
    with pytest.raises(struct.error):
        viewer_stats(records(2, VIEWER), 2)
