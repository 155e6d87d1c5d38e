from __future__ import annotations

import asyncio
import dataclasses
import gc
import os
import random
import select
import sys
import threading
import time
import weakref

import pytest

from live777py.relay import runner
from live777py.relay.cfuncs import COMPILED
from live777py.relay.plane import Plane
from live777py.relay.seam import Path, PeerId, TrackId, ViewerId

from .support import SMALL, Endpoint, Rig, rig, rtp, udp, until

THREADED = dataclasses.replace(SMALL, threads=1)


def test_control_datagrams_that_cannot_be_sent_are_counted() -> None:
    with rig() as r:
        r.plane.send(b"x", Path("127.0.0.1", 0, ""))
        r.plane.send(b"x", Path("::1", 9, ""))
        r.plane.send(bytes(70_000), Path("127.0.0.1", 9, ""))
        assert r["control_unsent"] == 3


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
    until(lambda: r["commands"] == posted)
    return publisher, track, watchers


async def test_packets_flow_in_the_event_loop_where_threads_are_unwanted() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        r.plane.start()
        r.plane.set_payload_type(ViewerId(0), 101)
        posted = r.plane._commands._head
        async with asyncio.timeout(20):
            while r["commands"] != posted:  # noqa: ASYNC110 - counters tell nobody
                await asyncio.sleep(0.001)
            publisher.publish(rtp(1))
            while not r["packets_out"]:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
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
            async with asyncio.timeout(20):
                while not failures:
                    await asyncio.sleep(0.001)
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
        until(lambda: r["commands"] == posted)
        until(lambda: not list(r.plane.control_packets()) and r["graves"] == 0)
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
    interval = sys.getswitchinterval()
    with rig(THREADED) as r:
        publisher, _, (viewer,) = _running_stream(r, 1)
        datagrams = [publisher.protect.protect(rtp(n)) for n in range(40)]
        child = os.fork()
        if child == 0:
            for data in datagrams:
                time.sleep(0.005)
                publisher.send(data)
            os._exit(0)
        # A loop that waits for nothing lets nobody else have the interpreter.
        sys.setswitchinterval(3600)
        try:
            end = time.monotonic() + 20
            while (forwarded := r["packets_out"]) < 40 and time.monotonic() < end:
                pass
        finally:
            sys.setswitchinterval(interval)
        os.waitpid(child, 0)
        assert forwarded == 40
        assert len(viewer.packets(40)) == 40


def test_a_plane_that_was_never_started_can_be_stopped() -> None:
    sock = udp()
    plane = Plane(sock, SMALL)
    plane.stop()
    with pytest.raises(RuntimeError):
        plane.start()
    with pytest.raises(RuntimeError):
        plane.turn()
    sock.close()
