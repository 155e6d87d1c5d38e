from __future__ import annotations

import dataclasses
import gc
import select
import weakref

import pytest

from live777py.relay.seam import Path

from .support import SMALL, addresses_used, rig, rtp, udp

pytestmark = pytest.mark.usefixtures("lane")

THREADED = dataclasses.replace(SMALL, threads=1)


def test_media_follows_the_selected_path() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        moved = udp()
        path = Path("127.0.0.1", moved.getsockname()[1], "127.0.0.1")
        r.plane.add_address(viewer.peer, path)
        r.plane.select_path(viewer.peer, path)
        r.turn()
        publisher.publish(rtp(1))
        moved.sendto(b"\0\1stun", viewer.server)
        viewer.send(b"\0\1stun")
        r.turn()
        assert viewer.datagrams() == []
        assert select.select([moved], [], [], 1)[0]
        assert {p.peer for p in r.plane.control_packets()} == {viewer.peer}
        moved.close()


def test_of_nine_addresses_the_oldest_unused_one_goes() -> None:
    with rig() as r:
        peer = r.plane.add_peer()
        paths = [Path("10.0.0.1", port, "") for port in range(1, 10)]
        r.plane.select_path(peer, paths[0])
        for path in paths:
            r.plane.add_address(peer, path)
        r.turn()
        assert list(r.plane._peers[peer].addresses.values()) == paths[:1] + paths[2:]
        assert addresses_used(r) == 8


def test_an_address_belongs_to_its_newest_peer() -> None:
    with rig() as r:
        one, other = r.endpoint(), r.endpoint()
        r.plane.add_address(other.peer, one.path)
        r.turn()
        one.send(b"\0\1stun")
        r.turn()
        assert [p.peer for p in r.plane.control_packets()] == [other.peer]
        r.plane.remove_peer(one.peer)
        r.turn()
        one.send(b"\0\1stun")
        r.turn()
        assert [p.peer for p in r.plane.control_packets()] == [other.peer]


def test_removing_a_peer_takes_its_viewers_addresses_and_sessions() -> None:
    with rig() as r:
        publisher, track, (viewer, watcher) = r.stream(2)
        sessions = [weakref.ref(s) for s in r.plane._peers[viewer.peer].sessions or ()]
        r.plane.remove_peer(viewer.peer)
        r.plane.remove_peer(viewer.peer)
        # The thread may still be using them.
        assert all(s() is not None for s in sessions)
        assert r["graves"] == 2
        r.turn()
        gc.collect()
        assert all(s() is None for s in sessions)
        assert r["graves"] == 0
        publisher.publish(rtp(1))
        r.turn()
        assert viewer.datagrams() == []
        assert len(watcher.packets()) == 1
        assert r.plane.track_stats(track).viewers == 1
        assert addresses_used(r) == 2
        with pytest.raises(ValueError, match="does not exist"):
            r.plane.peer_stats(viewer.peer)


def test_new_keys_replace_the_old_ones() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        other = r.endpoint()
        old = [weakref.ref(s) for s in r.plane._peers[publisher.peer].sessions or ()]
        r.plane.set_keys(publisher.peer, other.keys)
        assert all(s() is not None for s in old)
        r.turn()
        gc.collect()
        assert all(s() is None for s in old)
        publisher.send(other.protect.protect(rtp(1)))
        r.turn()
        assert r.plane.track_stats(track).packets == 1


def test_the_tail_of_a_stream_arrives_although_its_publisher_is_removed() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        for n in range(10):
            publisher.publish(rtp(n))
        r.plane.remove_peer(publisher.peer)
        # One batch, and the removals after it.
        assert r.plane.turn() == 10
        assert len(viewer.packets(10)) == 10
        publisher.publish(rtp(10))
        r.turn()
        assert r["unknown_address"] == 1
