from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
import random
import select
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from live777py.errors import AtCapacity
from live777py.protocol.codecs import Format
from live777py.protocol.extensions import Extension
from live777py.relay import runner
from live777py.relay.cfuncs import COMPILED
from live777py.relay.plane import Plane, pack_extensions
from live777py.relay.seam import Path, PeerId, TrackId, ViewerId

from .support import SMALL, Endpoint, Rig, rig, rtp, udp

THREADED = dataclasses.replace(SMALL, threads=1)


def _until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.002)


def test_another_peer_continues_the_numbering_of_a_track() -> None:
    with rig() as r:
        first, track, (viewer,) = r.stream()
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
        got = viewer.packets(5)
        assert [p.sequence for p in got] == [1, 2, 3, 4, 5]
        assert 3000 < got[3].timestamp - got[2].timestamp < 90_000
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


def test_a_viewer_begins_with_the_next_packet() -> None:
    with rig() as r:
        publisher, track, _ = r.stream()
        publisher.publish(rtp(10))
        r.turn()
        late = r.endpoint()
        viewer = r.watch(late, track, first_sequence=77)
        r.turn()
        assert r.plane.viewer_stats(viewer).first_sequence == -1
        publisher.publish(rtp(12))
        # Older than what the viewer began with: never sent, the run has begun.
        publisher.publish(rtp(11))
        publisher.publish(rtp(13))
        r.turn()
        assert [p.sequence for p in late.packets()] == [77, 78]
        stats = r.plane.viewer_stats(viewer)
        assert (stats.first_sequence, stats.last_sequence) == (77, 78)
        assert stats.packets == 2
        assert stats.octets == 2 * len(b"payload")


def test_a_silent_viewer_gets_nothing_and_goes_on_without_a_gap() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        endpoint = r.endpoint()
        viewer = r.watch(endpoint, track, payload_type=-1, first_sequence=5)
        r.turn()
        for n, payload_type in enumerate([-1, 100, -1, 101]):
            r.plane.set_payload_type(viewer, payload_type)
            r.turn()
            publisher.publish(rtp(2 * n))
            publisher.publish(rtp(2 * n + 1))
            r.turn()
        got = endpoint.packets()
        assert [(p.sequence, p.payload_type) for p in got] == [
            (5, 100),
            (6, 100),
            (7, 101),
            (8, 101),
        ]


def test_a_viewer_without_keys_or_path_costs_nothing_and_may_get_them_later() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        endpoint = r.endpoint(with_keys=False)
        r.watch(endpoint, track)
        r.turn()
        publisher.publish(rtp(1))
        r.turn()
        r.plane.set_keys(endpoint.peer, endpoint.keys)
        r.turn()
        publisher.publish(rtp(2))
        r.turn()
        r.plane.remove_address(endpoint.peer, endpoint.path)
        r.turn()
        publisher.publish(rtp(3))
        r.turn()
        r.plane.select_path(endpoint.peer, endpoint.path)
        r.turn()
        publisher.publish(rtp(4))
        r.turn()
        assert [p.sequence for p in endpoint.packets()] == [1, 3]
        assert r["packets_out"] == 2


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
        assert _used(r) == 8


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
        assert _used(r) == 2
        with pytest.raises(ValueError, match="does not exist"):
            r.plane.peer_stats(viewer.peer)


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


def test_ids_come_back_only_when_the_loop_has_passed_the_removal() -> None:
    settings = dataclasses.replace(SMALL, max_peers=1, max_tracks=1, max_viewers=1)
    with rig(settings) as r:
        peer, track = r.plane.add_peer(), r.plane.add_track()

        def add() -> ViewerId:
            return r.plane.add_viewer(
                peer,
                track,
                payload_type=1,
                ssrc=1,
                first_sequence=1,
                timestamp_offset=0,
                extensions={},
            )

        viewer = add()
        for what in (add, r.plane.add_peer, r.plane.add_track):
            with pytest.raises(AtCapacity):
                what()
        r.plane.remove_viewer(viewer)
        with pytest.raises(AtCapacity):
            add()
        r.turn()
        assert add() == viewer
        r.plane.remove_peer(peer)
        r.plane.remove_track(track)
        with pytest.raises(AtCapacity):
            r.plane.add_peer()
        r.turn()
        assert r.plane.add_peer() == peer
        assert r.plane.add_track() == track


def test_ids_that_the_thread_has_let_go_are_found_without_another_command() -> None:
    settings = dataclasses.replace(THREADED, max_peers=1, max_tracks=1)
    with udp() as sock:
        plane = Plane(sock, settings)
        plane.start()
        try:
            peer, track = plane.add_peer(), plane.add_track()
            plane.remove_track(track)
            plane.remove_peer(peer)
            _until(lambda: plane.counters()["commands"] == 2)
            # Nothing has drained control packets or posted a command since.
            assert plane.counters()["graves"] >= 1
            assert plane.add_peer() == peer
            assert plane.add_track() == track
        finally:
            plane.stop()


def test_a_reused_id_begins_with_clean_numbers() -> None:
    settings = dataclasses.replace(SMALL, max_tracks=1)
    with rig(settings) as r:
        publisher, track, (viewer,) = r.stream(format=Format.VP8)
        publisher.publish(rtp(1, payload=b"\x10\0"))
        r.turn()
        r.plane.remove_track(track)
        r.plane.remove_peer(viewer.peer)
        r.turn()
        assert r.plane.add_track() == track
        stats = r.plane.track_stats(track)
        assert (stats.ssrc, stats.payload_type) == (-1, -1)
        assert set(dataclasses.astuple(stats)[2:]) == {0}


def test_wrong_arguments_never_become_commands() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        peer = publisher.peer
        before = r["commands"]
        viewer: dict[str, Any] = {
            "payload_type": 100,
            "ssrc": 1,
            "first_sequence": 1,
            "timestamp_offset": 0,
        }
        for wrong in (
            {"payload_type": 128},
            {"payload_type": -2},
            {"first_sequence": 0},
            {"first_sequence": 32768},
        ):
            with pytest.raises(ValueError, match="range"):
                r.plane.add_viewer(peer, track, extensions={}, **{**viewer, **wrong})
        with pytest.raises(ValueError, match="range"):
            pack_extensions({Extension.PLAYOUT_DELAY: 256})
        for payload_type, rate in ((128, 1), (-1, 1), (0, 0), (0, 1 << 40)):
            with pytest.raises(ValueError, match="range"):
                r.plane.bind(
                    peer,
                    payload_type,
                    track,
                    format=Format.OPAQUE,
                    clock_rate=rate,
                    extensions={},
                )
        for unknown in (
            lambda: r.plane.add_viewer(PeerId(60), track, extensions={}, **viewer),
            lambda: r.plane.add_viewer(peer, TrackId(7), extensions={}, **viewer),
            lambda: r.plane.set_payload_type(ViewerId(5), 1),
            lambda: r.plane.set_keys(PeerId(60), publisher.keys),
            lambda: r.plane.add_address(PeerId(-1), publisher.path),
        ):
            with pytest.raises(ValueError, match="does not exist"):
                unknown()
        for path in (
            Path("nonsense", 1, ""),
            Path("10.0.0.1", 0, ""),
            Path("10.0.0.1", 1, "", -1),
            Path("::1", 1, ""),
        ):
            with pytest.raises(ValueError, match=r"."):
                r.plane.add_address(peer, path)
        r.turn()
        assert r["commands"] == before


def test_control_datagrams_that_cannot_be_sent_are_counted() -> None:
    with rig() as r:
        r.plane.send(b"x", Path("127.0.0.1", 0, ""))
        r.plane.send(b"x", Path("::1", 9, ""))
        r.plane.send(bytes(70_000), Path("127.0.0.1", 9, ""))
        assert r["control_unsent"] == 3


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


def test_statistics_say_what_was_received_and_sent() -> None:
    with rig() as r:
        publisher, track, (viewer,) = r.stream()
        sent = [publisher.publish(rtp(n, n, payload_type=96)) for n in (1, 2, 4)]
        r.turn()
        stats = r.plane.track_stats(track)
        assert (stats.ssrc, stats.payload_type) == (42, 96)
        assert (stats.base_sequence, stats.highest_sequence) == (1, 4)
        assert (stats.packets, stats.received, stats.bytes) == (3, 3, 3 * 19)
        assert stats.viewers == 1
        assert (stats.last_timestamp, stats.timestamp_offset) == (4, 0)
        peer = r.plane.peer_stats(publisher.peer)
        assert peer.bytes_received == sum(map(len, sent))
        got = r.plane.peer_stats(viewer.peer)
        assert (got.packets_sent, got.bytes_sent) == (3, sum(map(len, sent)))
        assert r["bytes_out"] == got.bytes_sent


def test_packets_flow_on_a_thread_of_its_own() -> None:
    with rig(THREADED) as r:
        publisher, _, viewers = _running_stream(r, 3)
        for n in range(20):
            publisher.publish(rtp(n))
        for viewer in viewers:
            assert [p.sequence for p in viewer.packets(20)] == list(range(1, 21))
        publisher.send(b"\0\1stun")
        assert select.select([r.plane.control_fd], [], [], 5)[0]
        assert [p.data for p in r.plane.control_packets()] == [b"\0\1stun"]
        with pytest.raises(RuntimeError):
            r.plane.turn()
        with pytest.raises(RuntimeError):
            r.plane.start()


def _running_stream(r: Rig, viewers: int) -> tuple[Endpoint, TrackId, list[Endpoint]]:
    publisher = r.endpoint()
    track = r.plane.add_track()
    r.bind(publisher, track)
    watchers = [r.endpoint() for _ in range(viewers)]
    for watcher in watchers:
        r.watch(watcher, track)
    posted = r.plane._commands._head
    r.plane.start()
    _until(lambda: r["commands"] == posted)
    return publisher, track, watchers


async def test_packets_flow_in_the_event_loop_where_threads_are_unwanted() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        r.plane.start()
        r.plane.set_payload_type(ViewerId(0), 101)
        await asyncio.sleep(0.01)
        publisher.publish(rtp(1))
        for _ in range(100):
            if r["packets_out"]:
                break
            await asyncio.sleep(0.01)
        assert [p.payload_type for p in viewer.packets(1)] == [101]


async def test_a_failure_in_the_event_loop_is_told() -> None:
    with rig() as r:
        failures: list[BaseException] = []
        r.plane.on_failure = failures.append
        r.plane.start()

        def broken(state: object, timeout: int) -> int:
            raise IndexError("row 99")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runner, "turn", broken)
            udp_peer = r.endpoint()
            udp_peer.send(b"\0\1stun")
            await asyncio.sleep(0.05)
        list(r.plane.control_packets())
        list(r.plane.control_packets())
        assert [str(f) for f in failures] == ["row 99"]


def test_a_failure_of_the_thread_is_told_once_in_the_event_loops_thread(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(state: object) -> None:
        raise IndexError("row 99")

    monkeypatch.setattr(runner, "run", broken)
    with rig(THREADED) as r:
        failures: list[BaseException] = []
        r.plane.on_failure = failures.append
        r.plane.start()
        assert select.select([r.plane.control_fd], [], [], 5)[0]
        list(r.plane.control_packets())
        list(r.plane.control_packets())
        assert [str(f) for f in failures] == ["row 99"]
        assert r.plane.failed is failures[0]
        assert "data plane has ended" in caplog.text


def test_a_thread_that_ends_without_being_told_to_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner, "run", lambda state: None)
    with rig(THREADED) as r:
        r.plane.start()
        assert select.select([r.plane.control_fd], [], [], 5)[0]
        list(r.plane.control_packets())
        assert isinstance(r.plane.failed, RuntimeError)


def test_stop_leaves_no_descriptor_thread_or_session() -> None:
    before = set(os.listdir("/proc/self/fd")), threading.active_count()
    r = Rig(THREADED)
    _running_stream(r, 2)
    sessions = [
        weakref.ref(s) for peer in r.plane._peers.values() for s in peer.sessions or ()
    ]
    assert len(sessions) == 6
    r.plane.remove_peer(PeerId(1))
    r.plane.stop()
    r.plane.stop()
    gc.collect()
    assert all(s() is None for s in sessions)
    assert list(r.plane.control_packets()) == []
    assert r["packets_in"] == 0
    r.close()
    after = set(os.listdir("/proc/self/fd")), threading.active_count()
    assert after == before


def test_viewers_come_and_go_under_traffic() -> None:
    source = random.Random(3)
    with rig(THREADED) as r:
        publisher, track, watchers = _running_stream(r, 4)
        changing = [r.endpoint() for _ in range(6)]
        sequence = 0
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            for _ in range(9):
                publisher.publish(rtp(sequence, payload=bytes(900)))
                sequence += 1
            for endpoint in source.sample(changing, 2):
                r.plane.remove_peer(endpoint.peer)
                endpoint.peer = r.plane.add_peer()
                r.plane.select_path(endpoint.peer, endpoint.path)
                r.plane.set_keys(endpoint.peer, endpoint.keys)
                r.watch(endpoint, track, first_sequence=source.randrange(1, 30000))
            list(r.plane.control_packets())
            while r["graves"] > 50:
                # The loop is given time, or ids run out.
                time.sleep(0.001)
                list(r.plane.control_packets())
            for endpoint in changing:
                endpoint.datagrams()
            for watcher in watchers:
                watcher.datagrams()
        posted = r.plane._commands._head
        _until(lambda: r["commands"] == posted)
        _settle(r)
        list(r.plane.control_packets())
        assert r["graves"] == 0
        # Stopped, so that no batch is in hand when counters are compared.
        r.plane.stop()
        counters = r.plane.counters()
        assert counters["commands_waiting"] == 0
        assert counters["viewers"] == 10
        assert counters["send_dropped"] == counters["protect_failed"] == 0
        assert r.plane.failed is None
        for watcher in watchers:
            stats = r.plane.peer_stats(watcher.peer)
            assert stats.packets_sent == r.plane.track_stats(track).packets


@pytest.mark.skipif(not COMPILED, reason="plain Python holds the GIL")
def test_a_blocked_interpreter_delays_no_packet() -> None:
    """While this thread holds the GIL, another process sends and the plane forwards."""
    with rig(THREADED) as r:
        publisher, _, (viewer,) = _running_stream(r, 1)
        datagrams = [publisher.protect.protect(rtp(n)) for n in range(40)]
        child = os.fork()
        if child == 0:
            for data in datagrams:
                time.sleep(0.005)
                publisher.send(data)
            os._exit(0)
        _hold_the_gil(0.4)
        # Looked at at once: all of this happened while nobody else could run Python.
        forwarded = r["packets_out"]
        os.waitpid(child, 0)
        assert forwarded == 40
        assert len(viewer.packets(40)) == 40


def _settle(r: Rig) -> None:
    """Wait until the loop has nothing left to read."""
    seen = -1
    while seen != r["packets_in"]:
        seen = r["packets_in"]
        time.sleep(0.1)


def _hold_the_gil(seconds: float) -> None:
    """Spend time in C code that never lets go of the interpreter."""
    data = random.Random(1).choices(range(1 << 30), k=200_000)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sorted(data)


def test_a_plane_that_was_never_started_can_be_stopped() -> None:
    sock = udp()
    plane = Plane(sock, SMALL)
    plane.stop()
    with pytest.raises(RuntimeError):
        plane.start()
    with pytest.raises(RuntimeError):
        plane.turn()
    sock.close()


def _used(r: Rig) -> int:
    return int((r.plane._state.addresses["peer_plus_one"] > 0).sum())


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
