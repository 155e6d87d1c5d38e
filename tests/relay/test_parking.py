from __future__ import annotations

import dataclasses
import time

from .support import SMALL, Endpoint, Rig, rig, rtp


def _early(r: Rig) -> tuple[Endpoint, Endpoint]:
    publisher = r.endpoint(with_keys=False)
    viewer = r.endpoint()
    track = r.plane.add_track()
    r.bind(publisher, track)
    r.watch(viewer, track)
    r.turn()
    return publisher, viewer


def _lasting(r: Rig) -> None:
    """As if what is parked had come just now, and for as long as a test may take."""
    r.plane._state.parking.rows["arrived"] = time.monotonic_ns() + 3600 * 10**9


def test_media_that_outruns_the_keys_is_played_when_they_come() -> None:
    with rig() as r:
        publisher, viewer = _early(r)
        for n in range(100):
            publisher.publish(rtp(n))
        r.turn()
        assert r["parked"] == 100
        assert viewer.datagrams() == []
        _lasting(r)
        r.plane.set_keys(publisher.peer, publisher.keys)
        r.turn()
        publisher.publish(rtp(100))
        r.turn()
        assert [p.sequence for p in viewer.packets(101)] == list(range(1, 102))
        assert r["parked_dropped"] == 0


def test_one_peer_parks_256_packets_at_most() -> None:
    with rig() as r:
        publisher, viewer = _early(r)
        for n in range(300):
            publisher.publish(rtp(n))
            r.turn()
            _lasting(r)
        assert r["parked"] == 256
        assert r["parked_dropped"] == 44
        r.plane.set_keys(publisher.peer, publisher.keys)
        r.turn()
        assert len(viewer.packets(256)) == 256


def test_after_a_second_parked_packets_are_of_no_use() -> None:
    with rig() as r:
        publisher, viewer = _early(r)
        publisher.publish(rtp(1))
        r.turn()
        r.plane._state.parking.rows["arrived"] -= 1_100_000_000
        publisher.publish(rtp(2))
        r.turn()
        _lasting(r)
        r.plane.set_keys(publisher.peer, publisher.keys)
        r.turn()
        assert len(viewer.packets()) == 1
        assert r["parked_dropped"] == 1


def test_packets_that_expire_in_the_queue_are_not_played() -> None:
    with rig() as r:
        publisher, viewer = _early(r)
        publisher.publish(rtp(1))
        r.turn()
        r.plane._state.parking.rows["arrived"] -= 1_100_000_000
        r.plane.set_keys(publisher.peer, publisher.keys)
        r.turn()
        assert viewer.packets() == []
        assert r["parked_dropped"] == 1


def test_the_pool_is_shared_and_bounded_and_comes_back() -> None:
    with rig(dataclasses.replace(SMALL, parked_packets=64)) as r:
        publisher, viewer = _early(r)
        other = r.endpoint(with_keys=False)
        r.turn()
        for n in range(40):
            other.publish(rtp(n))
            publisher.publish(rtp(n))
            r.turn()
            _lasting(r)
        assert r["parked"] == 64
        assert r["parked_dropped"] == 16
        r.plane.remove_peer(other.peer)
        r.turn()
        assert r["parked_dropped"] == 48
        r.plane.set_keys(publisher.peer, publisher.keys)
        r.turn()
        assert len(viewer.packets(32)) == 32
        # All rows are free again, for the next one.
        late = r.endpoint(with_keys=False)
        r.turn()
        for n in range(64):
            late.publish(rtp(n))
            r.turn()
            _lasting(r)
        assert r["parked"] == 128
        assert int(r.plane._state.peers["parked"].sum()) == 64


def test_a_removed_peers_packets_are_not_its_successors() -> None:
    with rig(dataclasses.replace(SMALL, max_peers=2)) as r:
        publisher, viewer = _early(r)
        publisher.publish(rtp(1))
        r.turn()
        r.plane.remove_peer(publisher.peer)
        r.turn()
        successor = r.endpoint()
        assert successor.peer == publisher.peer
        r.turn()
        assert r["srtp_failed"] == 0
        assert viewer.packets() == []
