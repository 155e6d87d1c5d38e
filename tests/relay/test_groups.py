from __future__ import annotations

import dataclasses
import time

from live777py.protocol.codecs import Format
from live777py.relay import groups
from live777py.relay.columns import TRACK
from live777py.relay.memory import records

from .support import SMALL, Endpoint, Rig, rig, rtp

SPS, IDR, DELIMITER, SLICE = b"\x67\x42\xe0\x1f", b"\x65idr", b"\x09\xf0", b"\x41p"


def _packets(r: Rig, track: int = 0) -> int:
    row = r.plane._state.tracks[track]
    engine = r.plane._state.engine[0]
    engine.now = time.monotonic_ns()
    return int(groups.usable(row, 256, engine.now, int(engine.catch_up_age)))


def _send(r: Rig, publisher: Endpoint, *parts: tuple[int, int, bytes]) -> None:
    for sequence, timestamp, payload in parts:
        publisher.publish(rtp(sequence, timestamp, payload))
    r.turn()


def test_a_group_begins_with_the_first_packet_of_the_key_frames_time() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send(r, publisher, (8, 0, SLICE), (9, 3000, DELIMITER), (10, 3000, b"\x06sei"))
        assert _packets(r) == 0
        _send(r, publisher, (11, 3000, SPS), (12, 3000, IDR), (13, 6000, SLICE))
        assert _packets(r) == 5
        group = r.plane.group(track)
        assert group.packets == 5
        assert 0 < group.started <= time.monotonic_ns()
        _send(r, publisher, (14, 9000, IDR))
        assert _packets(r) == 1


def test_parts_of_the_key_frame_may_come_in_any_order() -> None:
    with rig() as r:
        publisher, _, _ = r.stream(0, Format.H264)
        _send(r, publisher, (8, 0, SLICE), (11, 3000, IDR), (10, 3000, SPS))
        assert _packets(r) == 2
        _send(r, publisher, (9, 3000, DELIMITER))
        assert _packets(r) == 3


def test_a_gap_is_forgiven_for_a_moment_and_a_late_packet_fills_it() -> None:
    with rig() as r:
        publisher, _, _ = r.stream(0, Format.H264)
        _send(r, publisher, (1, 0, IDR), (2, 3000, SLICE), (4, 6000, SLICE))
        row = r.plane._state.tracks[0]
        assert row.group_missing == 1
        assert _packets(r) == 4
        row.group_gap_at -= 2 * groups.REPAIR_TIME
        assert _packets(r) == 0
        _send(r, publisher, (3, 6000, SLICE))
        assert row.group_missing == 0
        assert _packets(r) == 4


def test_a_key_frame_that_was_told_late_knows_its_gaps() -> None:
    with rig() as r:
        publisher, _, _ = r.stream(0, Format.H264)
        _send(r, publisher, (1, 0, SLICE), (3, 3000, b"\x7c\x45fu"), (5, 6000, SLICE))
        _send(r, publisher, (2, 3000, b"\x7c\x85fu"))
        row = r.plane._state.tracks[0]
        assert row.group_missing == 1
        assert _packets(r) == 4


def test_a_late_packet_of_an_older_key_frame_changes_nothing() -> None:
    with rig() as r:
        publisher, _, _ = r.stream(0, Format.H264)
        _send(r, publisher, (1, 0, IDR), (3, 6000, IDR), (4, 9000, SLICE))
        _send(r, publisher, (2, 3000, IDR))
        assert _packets(r) == 2


def test_another_source_needs_a_key_frame_of_its_own() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send(r, publisher, (1, 0, IDR), (2, 3000, SLICE))
        assert _packets(r) == 2
        other = r.endpoint()
        r.bind(other, track, format=Format.H264)
        r.turn()
        assert _packets(r) == 0
        _send(r, other, (1, 0, SLICE))
        assert _packets(r) == 0
        _send(r, other, (2, 3000, IDR))
        assert _packets(r) == 1


def test_a_jump_of_the_same_source_begins_anew() -> None:
    with rig() as r:
        publisher, _, _ = r.stream(0, Format.H264)
        _send(r, publisher, (1, 0, IDR), (20_000, 0, SLICE), (20_001, 0, SLICE))
        assert _packets(r) == 0


def test_a_group_that_is_about_to_be_overwritten_is_of_no_use() -> None:
    with rig(dataclasses.replace(SMALL, history=64)) as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send(r, publisher, (0, 0, IDR))
        for n in range(1, 56):
            _send(r, publisher, (n, 3000 * n, SLICE))
        assert r.plane.group(track).packets == 56
        _send(r, publisher, (56, 3000 * 56, SLICE))
        assert r.plane.group(track) == (0, 0)


def test_an_old_group_is_of_no_use() -> None:
    row = records(1, TRACK)[0]
    assert groups.usable(row, 64, 1, 1000) == 0
    row.group_start, row.highest_out, row.group_started = 100, 109, 50
    assert groups.usable(row, 64, 1050, 1000) == 10
    assert groups.usable(row, 64, 1051, 1000) == 0
