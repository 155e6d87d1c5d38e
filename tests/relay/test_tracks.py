from __future__ import annotations

import dataclasses
import time

import pytest

from .support import SMALL, rig, rtp

pytestmark = pytest.mark.usefixtures("lane")

THREADED = dataclasses.replace(SMALL, threads=1)


def test_another_peer_continues_the_numbering_of_a_track() -> None:
    with rig() as r:
        first, track, (viewer,) = r.stream()
        began = time.monotonic()
        for n in range(3):
            first.publish(rtp(500 + n, 9000 * n))
        r.turn()
        r.plane.remove_peer(first.peer)
        second = r.endpoint()
        r.bind(second, track, payload_type=99)
        time.sleep(0.05)
        r.turn()
        # Even the SSRC may be the same.
        second.publish(rtp(60000, 5, payload_type=99))
        second.publish(rtp(60001, 3005, payload_type=99))
        r.turn()
        passed = int((time.monotonic() - began) * 90_000) + 1
        got = viewer.packets(5)
        assert [p.sequence for p in got] == [1, 2, 3, 4, 5]
        assert 3000 < got[3].timestamp - got[2].timestamp <= passed
        assert got[4].timestamp - got[3].timestamp == 3000
        assert r.plane.track_stats(track).base_sequence == 60000


def test_only_the_peer_that_was_bound_last_publishes() -> None:
    with rig() as r:
        first, track, (viewer,) = r.stream()
        second = r.endpoint()
        first.publish(rtp(1))
        r.turn()
        r.bind(second, track)
        r.turn()
        first.publish(rtp(2))
        second.publish(rtp(1, payload=b"second"))
        r.turn()
        assert [p.payload for p in viewer.packets()] == [b"payload", b"second"]
        assert r["foreign_ssrc"] == 1


def test_a_peer_may_feed_a_track_by_several_payload_types() -> None:
    with rig() as r:
        publisher, track, (viewer,) = r.stream()
        publisher.publish(rtp(1))
        r.turn()
        r.bind(publisher, track, payload_type=97)
        r.turn()
        publisher.publish(rtp(2, payload_type=97))
        publisher.publish(rtp(3))
        r.turn()
        assert [p.sequence for p in viewer.packets()] == [1, 2, 3]
        assert r.plane.track_stats(track).received == 3


def test_removing_a_track_takes_its_viewers_bindings_and_memory() -> None:
    with rig() as r:
        publisher, track, (viewer,) = r.stream()
        publisher.publish(rtp(1))
        r.turn()
        history = r.plane._state.history
        assert history.bytes[track * 256 : (track + 1) * 256].any()
        r.plane.remove_track(track)
        r.plane.remove_track(track)
        r.turn()
        assert not history.bytes[track * 256 : (track + 1) * 256].any()
        assert not history.packets.view("u1").any()
        publisher.publish(rtp(2))
        r.turn()
        assert r["no_track"] == 1
        assert len(viewer.packets()) == 1
        with pytest.raises(ValueError, match="does not exist"):
            r.plane.track_stats(track)


def test_what_was_bound_before_a_removal_counts_for_what_waits() -> None:
    with rig() as r:
        publisher, track, (viewer,) = r.stream()
        gone = r.endpoint()
        r.turn()
        r.bind(publisher, track, payload_type=97)
        r.plane.remove_peer(gone.peer)
        publisher.publish(rtp(1, payload_type=97))
        r.turn()
        assert len(viewer.packets(1)) == 1
