from __future__ import annotations

import dataclasses
import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from live777py.protocol.codecs import Format
from live777py.relay import (
    cfuncs,
    fanout,
    loop,
    retransmit,
    runner,
    sockets,
    viewers,
)
from live777py.relay.cfuncs import COMPILED
from live777py.relay.lanes import STEP, least_loaded
from live777py.relay.loop import turn
from live777py.relay.seam import PeerId, TrackId
from live777py.relay.tables import State

from .support import SMALL, Endpoint, Rig, rig, rtp, udp, until

THREE = dataclasses.replace(SMALL, threads=3)
IDR, SLICE = b"\x65idr", b"\x41slice"


@contextmanager
def _behind(
    monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> Iterator[tuple[Rig, Endpoint, TrackId, Endpoint]]:
    """A stream whose viewer is in another lane, which takes turns by `_catch_up` only."""
    monkeypatch.setattr(viewers, "least_loaded", lambda loads: len(loads) - 1)
    with rig(dataclasses.replace(SMALL, threads=2, **changes)) as r:
        r.sending = r.plane._memory.lanes[1]
        publisher, track, (viewer,) = r.stream(1, Format.H264)
        yield r, publisher, track, viewer


def _receive(r: Rig) -> None:
    """Turns of the first lane alone."""
    while turn(r.plane._state, 0):
        pass


def _send(r: Rig) -> None:
    """Turns of the other lane alone."""
    turn(r.plane._memory.lanes[1], 0)
    r.plane._commands.advance()


def _sequences(endpoint: Endpoint) -> list[int]:
    return [packet.sequence for packet in endpoint.packets()]


def test_small_loads_stay_together_and_large_ones_are_shared_out() -> None:
    loads = [0, 0, 0]
    lanes = []
    for _ in range(6 * STEP):
        lane = least_loaded(loads)
        loads[lane] += 1
        lanes.append(lane)
    assert lanes == [lane for lane in (0, 1, 2, 0, 1, 2) for _ in range(STEP)]


def test_all_viewers_of_a_peer_are_in_one_lane_for_its_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = [2, 1]
    monkeypatch.setattr(viewers, "least_loaded", lambda loads: chosen.pop())
    with rig(THREE) as r:
        publisher, track, _ = r.stream(0)
        first, second = r.endpoint(), r.endpoint()
        ids = [r.watch(first, track, ssrc=1), r.watch(second, track, ssrc=2)]
        r.plane.remove_viewer(ids[0])
        r.watch(first, track, ssrc=3)
        r.watch(first, track, ssrc=4)
        r.turn()
        publisher.publish(rtp(1))
        r.turn()
        assert {p.ssrc for p in first.packets(2)} == {3, 4}
        assert {p.ssrc for p in second.packets(1)} == {2}
        sent = [lane.counters[0].packets_out for lane in r.plane._memory.lanes]
        assert sent == [0, 2, 1]
        assert r["packets_out"] == 3
        assert r.plane.track_stats(track).viewers == 3
        assert r.plane.peer_stats(first.peer).packets_sent == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_other_lanes_send_from_the_same_port_and_the_first_receives(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(viewers, "least_loaded", lambda loads: 2)
    with rig(THREE, host) as r:
        publisher = r.endpoint(host)
        track = r.plane.add_track()
        r.bind(publisher, track)
        watchers = [r.endpoint(host) for _ in range(20)]
        for n, watcher in enumerate(watchers):
            r.watch(watcher, track, ssrc=n + 1)
        publisher.publish(rtp(1))
        r.turn()
        for watcher in watchers:
            _, address = watcher.sock.recvfrom(2000)
            assert address[:2] == r.sock.getsockname()[:2]
            # What comes back reaches the lane that receives, whoever it comes from.
            watcher.send(b"\0\1stun")
        r.turn()
        assert r["control_stun"] == 20


def test_a_viewer_begins_where_the_first_lane_was_when_it_was_added(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _behind(monkeypatch) as (r, publisher, track, early):
        publisher.publish(rtp(1, 1))
        _receive(r)
        late = r.endpoint()
        r.watch(late, track)
        publisher.publish(rtp(2, 2))
        _receive(r)
        _send(r)
        assert [p.timestamp for p in early.packets(2)] == [1, 2]
        assert [p.timestamp for p in late.packets(1)] == [2]


def test_catching_up_sends_nothing_that_waits_in_the_ring_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _behind(monkeypatch) as (r, publisher, track, _):
        for n in (0, 1, 3, 4):
            publisher.publish(rtp(n, n, IDR if n == 0 else SLICE))
        _receive(r)
        endpoint = r.endpoint()
        r.watch(endpoint, track, catch_up=True)
        _receive(r)
        # All of these are in the history already when the lane comes to the viewer.
        for n in (5, 2, 6):
            publisher.publish(rtp(n, n, SLICE))
        _receive(r)
        r.catch_up()
        datagrams = endpoint.datagrams()
        # The first packet comes once more, on purpose.
        assert datagrams.count(datagrams[0]) == 2
        assert len(datagrams) == 8
        assert len(set(datagrams)) == 7


def test_a_key_frame_that_waits_in_the_ring_is_where_a_viewer_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _behind(monkeypatch) as (r, publisher, track, _):
        publisher.publish(rtp(0, 0, SLICE))
        _receive(r)
        endpoint = r.endpoint()
        r.watch(endpoint, track, catch_up=True)
        _receive(r)
        for n in range(1, 5):
            publisher.publish(rtp(n, n, IDR if n == 2 else SLICE))
        _receive(r)
        _send(r)
        r.catch_up()
        assert [p.timestamp for p in endpoint.packets()] == [2, 3, 4]


def test_what_was_overwritten_meanwhile_is_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _behind(monkeypatch, command_rows=1024) as (r, publisher, _, viewer):
        for n in range(300):
            publisher.publish(rtp(n, n))
            if n % 32 == 31:
                _receive(r)
        _receive(r)
        _send(r)
        # The history holds 256.
        assert [p.timestamp for p in viewer.packets()] == list(range(44, 300))
        assert r["lane_overtaken"] == 44
        assert r["lane_dropped"] == r["protect_failed"] == 0


def test_a_packet_that_changes_while_it_is_copied_is_never_encrypted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if COMPILED:
        pytest.skip("machine code cannot be interrupted")
    with _behind(monkeypatch) as (r, publisher, _, viewer):
        publisher.publish(rtp(1, 1))
        publisher.publish(rtp(2, 2))
        _receive(r)
        copy = cfuncs.memcpy
        copied: list[int] = []

        def interrupted(target: int, source: int, length: int) -> int:
            copied.append(length)
            if len(copied) == 1:
                packets = r.plane._state.history.packets
                first = packets["number"].max() - 1
                packets["number"][packets["number"] == first] = 0
            return copy(target, source, length)

        monkeypatch.setattr(fanout, "memcpy", interrupted)
        _send(r)
        assert [p.timestamp for p in viewer.packets()] == [2]
        assert (len(copied), r["lane_overtaken"]) == (2, 1)


@pytest.mark.parametrize("rtx", [101, -1])
def test_a_packet_that_changes_before_it_is_sent_again_is_not_looked_into(
    monkeypatch: pytest.MonkeyPatch, rtx: int
) -> None:
    if COMPILED:
        pytest.skip("machine code cannot be interrupted")
    with _behind(monkeypatch) as (r, publisher, track, _):
        endpoint = r.endpoint()
        viewer = r.watch(endpoint, track, rtx_payload_type=rtx, rtx_ssrc=2000)
        for n in range(2):
            publisher.publish(rtp(n, n))
        r.turn()
        endpoint.datagrams(2)
        is_too_soon = retransmit._is_too_soon

        def interrupted(state: State, index: int, number: int) -> bool:
            if number == first:
                slots = state.history.packets["number"] == first
                state.history.packets["number"][slots] = 0
                # No RTP packet, and no end to its header extension.
                state.history.bytes[slots, :16] = 0xFF
            return is_too_soon(state, index, number)

        first = int(r.plane._state.history.packets["number"].max()) - 1
        monkeypatch.setattr(retransmit, "_is_too_soon", interrupted)
        r.plane.retransmit(viewer, [1, 2])
        r.turn()
        assert len(endpoint.datagrams(1)) == 1
        assert endpoint.datagrams() == []
        assert (r["lane_overtaken"], r["retransmitted"]) == (1, 1)


def test_a_full_ring_drops_packets_but_no_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _behind(monkeypatch, command_rows=64) as (r, publisher, track, viewer):
        for n in range(40):
            publisher.publish(rtp(n, n))
        _receive(r)
        assert r["lane_dropped"] == 8
        endpoint = r.endpoint()
        for _ in range(50):
            r.plane.remove_viewer(r.watch(endpoint, track))
            _receive(r)
        # 32 packets and 32 commands fill the lane's ring; the rest waits in the first's.
        assert r.plane._state.engine[0].is_stalled == 1
        assert r["graves"] > 0
        for _ in range(5):
            _send(r)
            _receive(r)
        _send(r)
        r.plane._commands.advance()
        assert (r["graves"], r["commands_waiting"]) == (0, 0)
        assert r.plane._state.engine[0].is_stalled == 0
        assert r.plane.track_stats(track).viewers == 1
        assert len(viewer.packets(32)) == 32
        # What was dropped is in the history for who asks.
        r.plane.retransmit(next(iter(r.plane._viewers)), range(1, 41))
        r.turn()
        assert len(viewer.packets()) == 0


def test_nothing_is_freed_while_a_lane_may_use_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _behind(monkeypatch) as (r, publisher, track, viewer):
        publisher.publish(rtp(1, 1))
        _receive(r)
        r.plane.remove_track(track)
        r.plane.remove_peer(viewer.peer)
        _receive(r)
        r.plane._commands.advance()
        assert r["graves"] == 3
        assert r.plane._state.history.packets["number"].any()
        _send(r)
        # It was on its way before the removal, and arrives.
        assert [p.timestamp for p in viewer.packets(1)] == [1]
        assert r["graves"] == 0
        assert not r.plane._state.history.packets["number"].any()


def test_a_track_used_again_begins_anew_in_a_lane_that_was_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _behind(monkeypatch) as (r, publisher, track, viewer):
        for n in range(100, 120):
            publisher.publish(rtp(n, n, IDR))
        r.turn()
        viewer.packets()
        r.plane.remove_track(track)
        r.turn()
        for again in [r.plane.add_track() for _ in range(8)]:
            if again == track:
                break
        r.bind(publisher, again, format=Format.H264)
        publisher.publish(rtp(7, 7, IDR, ssrc=9))
        r.turn()
        r.watch(viewer, again, ssrc=5, catch_up=True)
        r.turn()
        r.catch_up()
        assert [p.timestamp for p in viewer.packets()] == [7]


def test_new_keys_are_used_from_their_place_in_the_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _behind(monkeypatch) as (r, publisher, _, viewer):
        publisher.publish(rtp(1, 1))
        _receive(r)
        other = r.endpoint()
        r.plane.set_keys(viewer.peer, other.keys)
        publisher.publish(rtp(2, 2))
        _receive(r)
        assert r["graves"] == 1
        _send(r)
        before, after = viewer.datagrams(2)
        assert viewer.unprotect.unprotect(before)[4:8] == bytes((0, 0, 0, 1))
        assert other.unprotect.unprotect(after)[4:8] == bytes((0, 0, 0, 2))
        assert r["graves"] == 0


def test_a_peer_may_be_adopted_before_and_after_its_lane_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _behind(monkeypatch) as (r, publisher, track, viewer), udp() as own:
        r.plane.adopt(viewer.peer, own, viewer.path)
        before, second = r.endpoint(), udp()
        r.plane.adopt(before.peer, second, before.path)
        r.watch(before, track)
        r.turn()
        publisher.publish(rtp(1))
        r.turn()
        for endpoint, sock in ((viewer, own), (before, second)):
            _, address = endpoint.sock.recvfrom(2000)
            assert address == sock.getsockname()
        r.plane.release(viewer.peer)
        r.plane.select_path(viewer.peer, viewer.path)
        r.turn()
        publisher.publish(rtp(2))
        r.turn()
        assert viewer.sock.recvfrom(2000)[1] == r.sock.getsockname()
        second.close()


def test_one_thread_sends_where_ports_cannot_be_shared(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sockets, "SO_ATTACH_REUSEPORT_CBPF", 9999)
    with caplog.at_level(logging.WARNING), rig(THREE) as r:
        assert "one thread alone" in caplog.text
        publisher, _, watchers = r.stream(40)
        publisher.publish(rtp(1))
        r.turn()
        assert r["packets_out"] == len(watchers)
        assert len(r.plane._memory.lanes) == 1


def test_each_lane_has_a_thread_by_name() -> None:
    before = {thread.name for thread in threading.enumerate()}
    with rig(THREE) as r:
        r.plane.start()
        names = {thread.name for thread in threading.enumerate()} - before
        assert names == {"media", "media-1", "media-2"}
    assert {thread.name for thread in threading.enumerate()} == before


def test_a_failure_of_any_lane_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    run = loop.run

    def fail_second(state: State) -> None:
        if state is lanes[1]:
            raise RuntimeError("a bug")
        run(state)

    monkeypatch.setattr(runner, "run", fail_second)
    with rig(THREE) as r:
        lanes = r.plane._memory.lanes
        failures: list[BaseException] = []
        r.plane.on_failure = failures.append
        r.plane.start()
        until(lambda: r.plane.failed is not None)
        list(r.plane.control_packets())
        assert [str(failure) for failure in failures] == ["a bug"]


def test_many_viewers_come_and_go_on_three_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        viewers, "least_loaded", lambda loads: min(range(3), key=loads.__getitem__)
    )
    source = random.Random(4)
    settings = dataclasses.replace(THREE, history=1024, command_rows=1024)
    with rig(settings) as r:
        publisher, track, watchers = r.stream(6)
        r.plane.start()
        changing = [r.endpoint() for _ in range(24)]
        got: dict[PeerId, list[int]] = {watcher.peer: [] for watcher in watchers}
        sequence = 0
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            for _ in range(8):
                publisher.publish(rtp(sequence, sequence, bytes(900)))
                sequence += 1
            for endpoint in source.sample(changing, 4):
                _check(endpoint)
                r.plane.remove_peer(endpoint.peer)
                endpoint.peer = r.plane.add_peer()
                r.plane.select_path(endpoint.peer, endpoint.path)
                r.plane.set_keys(endpoint.peer, endpoint.keys)
                r.watch(endpoint, track, ssrc=source.getrandbits(32))
            until(lambda: _graves(r) < 20)
            for watcher in watchers:
                got[watcher.peer] += _sequences(watcher)
        until(lambda: r.plane.track_stats(track).packets == sequence)
        until(lambda: _have_all(r, watchers, sequence))
        until(lambda: _graves(r) == 0)
        r.plane.stop()
        assert r.plane.failed is None
        counters = r.plane.counters()
        for name in ("protect_failed", "send_dropped", "lane_dropped"):
            assert counters[name] == 0, name
        assert counters["lane_overtaken"] == 0
        assert counters["viewers"] >= 6
        for watcher in watchers:
            numbers = got[watcher.peer] + _sequences(watcher)
            # In order, each once, none missing.
            assert numbers == [n & 0xFFFF for n in range(1, sequence + 1)]


def _graves(r: Rig) -> int:
    list(r.plane.control_packets())
    return r["graves"]


def _have_all(r: Rig, watchers: list[Endpoint], count: int) -> bool:
    return all(r.plane.peer_stats(w.peer).packets_sent == count for w in watchers)


def _check(endpoint: Endpoint) -> None:
    """What a viewer got decrypts and is in order, whichever streams it is of."""
    last: dict[int, int] = {}
    for packet in endpoint.packets():
        assert packet.sequence == last.get(packet.ssrc, packet.sequence - 1) + 1
        last[packet.ssrc] = packet.sequence
