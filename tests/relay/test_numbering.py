from __future__ import annotations

import time

from live777py.relay.numbering import SECOND, ticks
from live777py.relay.seam import TrackId

from .support import Rig, Rtp, rig, rtp


def _later(r: Rig, seconds: float) -> None:
    """As if the latest packet of track 0 had come so much earlier, or later if it is negative."""
    r.plane._state.tracks[0].last_arrival -= int(seconds * 1e9)


def _numbers(packets: list[Rtp]) -> list[int]:
    return [packet.sequence for packet in packets]


def test_a_new_ssrc_takes_over_after_a_silence() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        began = time.monotonic()
        publisher.publish(rtp(100, 1000, ssrc=1))
        publisher.publish(rtp(9, 9, ssrc=2))
        r.turn()
        assert r["foreign_ssrc"] == 1
        _later(r, 0.5)
        publisher.publish(rtp(7000, 1 << 31, ssrc=2))
        publisher.publish(rtp(7001, (1 << 31) + 3000, ssrc=2))
        r.turn()
        # What this test needs for itself is no silence, however long it is.
        passed = int((time.monotonic() - began) * 90_000) + 1
        _later(r, -3600)
        publisher.publish(rtp(101, 1001, ssrc=1))
        r.turn()
        assert r["foreign_ssrc"] == 2
        first, second, third = viewer.packets()
        assert _numbers([first, second, third]) == [1, 2, 3]
        assert 0 <= second.timestamp - first.timestamp - 45_000 <= passed
        assert third.timestamp - second.timestamp == 3000
        stats = r.plane.track_stats(TrackId(0))
        assert (stats.ssrc, stats.received, stats.packets) == (2, 2, 3)
        assert stats.base_sequence == 7000


def test_the_same_ssrc_goes_on_after_any_silence() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        publisher.publish(rtp(100, 1000))
        r.turn()
        _later(r, 60)
        publisher.publish(rtp(101, 2000))
        r.turn()
        assert [p.timestamp for p in viewer.packets()] == [1000, 2000]


def test_reordered_packets_keep_their_numbers() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        for sequence in (65533, 65535, 65534, 1, 0):
            publisher.publish(rtp(sequence, sequence))
        r.turn()
        assert _numbers(viewer.packets()) == [1, 3, 2, 5, 4]
        stats = r.plane.track_stats(TrackId(0))
        assert stats.base_sequence == 65533
        assert stats.highest_sequence == 65537
        assert stats.last_timestamp == 1


def test_what_is_older_than_the_history_is_dropped() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        late = publisher.protect.protect(rtp(2))
        publisher.publish(rtp(1))
        for sequence in range(3, 300):
            publisher.publish(rtp(sequence))
            r.turn()
        publisher.send(late)
        r.turn()
        assert r["late"] == 1
        assert 2 not in _numbers(viewer.packets())


def test_a_jump_is_believed_the_second_time() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        publisher.publish(rtp(10))
        publisher.publish(rtp(5_000))
        publisher.publish(rtp(11))
        r.turn()
        assert r["sequence_jumps"] == 1
        publisher.publish(rtp(5_001))
        publisher.publish(rtp(5_002))
        publisher.publish(rtp(5_003))
        r.turn()
        assert r["sequence_jumps"] == 2
        assert _numbers(viewer.packets()) == [1, 2, 3, 4]


def test_two_different_jumps_are_not_believed() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        publisher.publish(rtp(10))
        publisher.publish(rtp(8_100))
        publisher.publish(rtp(4_000))
        publisher.publish(rtp(11))
        r.turn()
        assert r["sequence_jumps"] == 2
        assert _numbers(viewer.packets()) == [1, 2]


def test_a_jump_backwards_re_anchors_as_well() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        publisher.publish(rtp(6_000))
        for sequence in (5, 6, 7):
            publisher.publish(rtp(sequence))
        r.turn()
        assert _numbers(viewer.packets()) == [1, 2, 3]
        assert r["sequence_jumps"] == 1


def test_losses_stay_gaps() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        for sequence in (1, 2, 5, 9):
            publisher.publish(rtp(sequence))
        r.turn()
        assert _numbers(viewer.packets()) == [1, 2, 5, 9]
        stats = r.plane.track_stats(TrackId(0))
        expected = stats.highest_sequence - stats.base_sequence + 1
        assert expected - stats.received == 5


def test_numbers_run_through_the_roll_over() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        viewer = r.endpoint()
        identity = r.watch(viewer, track, first_sequence=32767)
        r.turn()
        for n in range(0, 70_000, 1000):
            publisher.publish(rtp(n))
            r.turn()
        got = _numbers(viewer.packets())
        assert got == [(32767 + n) & 0xFFFF for n in range(0, 70_000, 1000)]
        stats = r.plane.viewer_stats(identity)
        assert stats.last_sequence == 32767 + 69_000
        assert r.plane.track_stats(track).highest_sequence == 69_000


def test_jitter_is_that_of_rfc_3550() -> None:
    with rig() as r:
        publisher, _, _ = r.stream()
        publisher.publish(rtp(1, 0))
        publisher.publish(rtp(2, 1600))
        r.turn()
        # Both arrived in one batch, 1,600 ticks apart by their timestamps.
        assert r.plane.track_stats(TrackId(0)).jitter == 100


def test_jitter_follows_the_times_of_arrival() -> None:
    with rig() as r:
        publisher, _, _ = r.stream()
        track = r.plane._state.tracks[0]
        expected, before = 0, 0
        for n in range(20):
            publisher.publish(rtp(n, 1800 * n))
            r.turn()
            transit = ticks(int(track.last_arrival), 90_000) - 1800 * n
            if n > 0:
                expected += abs(transit - before) - ((expected + 8) >> 4)
            before = transit
        assert r.plane.track_stats(TrackId(0)).jitter == expected >> 4


def test_ticks_do_not_overflow() -> None:
    assert ticks(SECOND // 2, 90_000) == 45_000
    century = 100 * 365 * 86_400
    assert ticks(century * SECOND, 10_000_000) == century * 10_000_000
