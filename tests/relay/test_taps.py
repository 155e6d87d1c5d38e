from __future__ import annotations

import asyncio
import dataclasses
import select

import pytest

from live777py.errors import AtCapacity
from live777py.protocol.codecs import Format
from live777py.relay.plane import Plane
from live777py.relay.seam import TapId

from .support import SMALL, Rtp, parse, rig, rtp

KEY, DELTA = b"\x10\0", b"\x10\1"


def _read(plane: Plane, tap: TapId) -> list[Rtp]:
    return [parse(data) for data in plane.read_tap(tap)]


def test_a_tap_gets_plain_packets_in_the_tracks_numbering() -> None:
    with rig() as r:
        publisher, track, (viewer,) = r.stream()
        publisher.publish(rtp(900))
        r.turn()
        tap, other = r.plane.open_tap(track), r.plane.open_tap(track)
        r.turn()
        for n in (901, 902):
            publisher.publish(rtp(n, n, b"%d" % n, marker=True, padding=4))
        r.turn()
        assert len(viewer.packets(3)) == 3
        got = _read(r.plane, tap)
        assert [p.payload[:3] for p in got] == [b"901", b"902"]
        assert got[1].sequence == got[0].sequence + 1
        assert got[1].timestamp == r.plane.track_stats(track).last_timestamp
        assert all(p.marker and p.padding for p in got)
        assert {(p.ssrc, p.payload_type) for p in got} == {(0, 0)}
        assert _read(r.plane, tap) == []
        assert _read(r.plane, other) == got
        assert r["tapped"] == 4


def test_one_descriptor_wakes_for_all_taps() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        taps = [r.plane.open_tap(track) for _ in range(2)]
        silent = r.plane.open_tap(r.plane.add_track())
        r.turn()
        assert not select.select([r.plane.tap_fd], [], [], 0)[0]
        publisher.publish(rtp(1))
        r.turn()
        assert select.select([r.plane.tap_fd], [], [], 0)[0]
        got = dict(r.plane.tapped())
        assert sorted(got) == taps
        assert silent not in got
        assert not select.select([r.plane.tap_fd], [], [], 0)[0]
        assert list(r.plane.tapped()) == []


def test_a_slow_tap_loses_whole_frames_up_to_the_next_one() -> None:
    with rig() as r:
        publisher, track, (viewer,) = r.stream()
        tap = r.plane.open_tap(track, packets=3)
        r.turn()
        # Two packets a frame: the second frame's end does not fit.
        for n in range(5):
            publisher.publish(rtp(n, n // 2))
        r.turn()
        first = _read(r.plane, tap)
        assert [p.timestamp for p in first] == [0, 0, 1]
        publisher.publish(rtp(5, 2))
        for n in range(6, 8):
            publisher.publish(rtp(n, n // 2))
        r.turn()
        second = _read(r.plane, tap)
        assert [p.timestamp for p in second] == [3, 3]
        assert second[0].sequence - first[0].sequence == 6
        stats = r.plane.tap_stats(tap)
        assert (stats.packets, stats.dropped, stats.frames_dropped) == (5, 3, 2)
        assert stats.waiting == 0
        assert r["tap_dropped"] == 3
        # Nobody else has lost anything.
        assert len(viewer.packets(8)) == 8


def test_a_slow_tap_of_a_video_goes_on_with_a_whole_key_frame() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.VP8)
        tap = r.plane.open_tap(track, packets=2)
        r.turn()
        # The third frame is a key frame whose second packet has no room.
        for n, (time, payload) in enumerate(
            [(0, KEY), (1, KEY), (1, b"\0more"), (2, DELTA), (3, KEY), (3, b"\0more")]
        ):
            publisher.publish(rtp(n, time, payload))
            r.turn()
            if n == 2:
                assert len(_read(r.plane, tap)) == 2
        publisher.publish(rtp(6, 4, DELTA))
        r.turn()
        got = _read(r.plane, tap)
        assert [p.timestamp for p in got] == [3, 3]
        stats = r.plane.tap_stats(tap)
        assert (stats.dropped, stats.frames_dropped) == (3, 3)


def test_a_closed_tap_is_taken_out_of_its_list_and_its_id_comes_back_clean() -> None:
    settings = dataclasses.replace(SMALL, max_taps=3)
    with rig(settings) as r:
        publisher, track, _ = r.stream(0)
        taps = [r.plane.open_tap(track) for _ in range(3)]
        with pytest.raises(AtCapacity):
            r.plane.open_tap(track)
        r.turn()
        left = set(taps)
        # From the middle of the list, its head, and alone.
        for number, tap in enumerate((taps[1], taps[2], taps[0])):
            publisher.publish(rtp(number))
            r.turn()
            assert {identity for identity, _ in r.plane.tapped()} == left
            left.discard(tap)
            r.plane.close_tap(tap)
            r.plane.close_tap(tap)
            with pytest.raises(ValueError, match="does not exist"):
                r.plane.read_tap(tap)
            with pytest.raises(ValueError, match="does not exist"):
                r.plane.tap_stats(tap)
            r.turn()
        publisher.publish(rtp(3))
        r.turn()
        again = r.plane.open_tap(track)
        assert again == taps[1]
        assert r.plane.read_tap(again) == []
        r.turn()
        publisher.publish(rtp(4))
        r.turn()
        assert len(r.plane.read_tap(again)) == 1
        assert r["taps"] == 1


async def test_taps_are_fed_in_the_event_loop_where_threads_are_unwanted() -> None:
    with rig() as r:
        track = r.plane.add_track()
        source = r.plane.open_source(track, format=Format.OPAQUE, clock_rate=48_000)
        tap = r.plane.open_tap(track)
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(r.plane.tap_fd, woken.set)
        r.plane.start()
        # More than a batch: the loop must wake itself.
        r.plane.inject(source, [rtp(n, n) for n in range(150)])
        got: list[bytes] = []
        async with asyncio.timeout(20):
            while len(got) < 150:
                await woken.wait()
                woken.clear()
                for which, packets in r.plane.tapped():
                    assert which == tap
                    got += packets
        loop.remove_reader(r.plane.tap_fd)
