from __future__ import annotations

import dataclasses
import select
import time

import pytest

from live777py.errors import AtCapacity
from live777py.protocol.codecs import Format
from live777py.relay.seam import SourceId, TrackId
from live777py.relay.tables import MAX_PACKET

from .support import SMALL, Rig, rig, rtp

ONE_BYTE = 0xBEDE


def _source(r: Rig, track: TrackId, format: Format = Format.OPAQUE) -> SourceId:
    return r.plane.open_source(track, format=format, clock_rate=90_000)


def test_what_a_source_puts_in_is_numbered_and_sent_as_anybodys() -> None:
    with rig() as r:
        track = r.plane.add_track()
        viewer = r.endpoint()
        r.watch(viewer, track)
        source = _source(r, track)
        packets = [
            rtp(900 + n, 7 + n, extension=(ONE_BYTE, b"\x10\x01")) for n in range(3)
        ]
        assert r.plane.inject(source, iter(packets)) == 3
        assert r.plane.source_stats(source).waiting == 3
        r.turn()
        got = viewer.packets(3)
        assert [p.sequence for p in got] == [1, 2, 3]
        assert [p.timestamp for p in got] == [7, 8, 9]
        assert {p.payload for p in got} == {b"payload"}
        # Nobody knows what its extensions are.
        assert {p.extension for p in got} == {None}
        stats = r.plane.track_stats(track)
        assert (stats.packets, stats.received, stats.ssrc) == (3, 3, 42)
        inserted = r.plane.source_stats(source)
        assert (inserted.packets, inserted.waiting, inserted.dropped) == (3, 0, 0)
        assert inserted.bytes == sum(map(len, packets))
        assert r["injected"] == 3


def test_key_frames_of_a_source_are_told() -> None:
    with rig() as r:
        track = r.plane.add_track()
        source = _source(r, track, Format.VP8)
        r.plane.inject(source, [rtp(1, payload=b"\x10\0")])
        r.turn()
        assert [p.peer for p in r.plane.control_packets()] == [track]
        assert r.plane.track_stats(track).key_frames == 1


def test_the_last_of_peers_and_sources_publishes_and_goes_on_with_the_numbers() -> None:
    with rig() as r:
        publisher, track, (viewer,) = r.stream()
        publisher.publish(rtp(5000, 1))
        r.turn()
        source = _source(r, track)
        r.turn()
        publisher.publish(rtp(5001, 2))
        r.plane.inject(source, [rtp(1, 9, b"injected")])
        r.turn()
        assert r["foreign_ssrc"] == 1
        r.bind(publisher, track)
        r.turn()
        publisher.publish(rtp(5002, 3, b"back"))
        r.plane.inject(source, [rtp(2, 9, b"injected")])
        r.turn()
        second = _source(r, track)
        r.turn()
        r.plane.inject(source, [rtp(3, 9, b"old")])
        r.plane.inject(second, [rtp(3, 9, b"new")])
        r.turn()
        got = viewer.packets(4)
        assert [p.payload for p in got] == [b"payload", b"injected", b"back", b"new"]
        assert [p.sequence for p in got] == [1, 2, 3, 4]
        assert got[0].timestamp < got[1].timestamp < got[2].timestamp
        assert r["foreign_ssrc"] == 3


def test_a_source_may_use_any_number_of_ssrcs_one_after_the_other() -> None:
    with rig() as r:
        track = r.plane.add_track()
        source = _source(r, track)
        state = r.plane._state
        for ssrc in range(300):
            r.plane.inject(source, [rtp(1, ssrc=ssrc)])
            r.turn()
            # As if it had been silent for a second.
            state.tracks[track].last_arrival -= 1_000_000_000
        assert r.plane.track_stats(track).packets == 300


def test_a_full_ring_drops_the_rest_and_counts_it() -> None:
    settings = dataclasses.replace(SMALL, source_packets=8)
    with rig(settings) as r:
        track = r.plane.add_track()
        viewer = r.endpoint()
        r.watch(viewer, track)
        source = _source(r, track)
        for _ in range(3):
            packets = [rtp(n, n) for n in range(10)]
            assert r.plane.inject(source, packets) == 8
            assert r.plane.inject(source, packets[8:]) == 0
            r.turn()
        assert r.plane.source_stats(source).dropped == 12
        assert r["inject_dropped"] == 12


def test_what_is_too_long_or_no_packet_costs_only_itself() -> None:
    with rig() as r:
        track = r.plane.add_track()
        viewer = r.endpoint()
        r.watch(viewer, track)
        source = _source(r, track)
        wrong = [
            b"",
            b"short",
            b"\0" + rtp(1)[1:],
            bytes(MAX_PACKET + 1),
            bytes(70_000),
        ]
        largest = rtp(2, payload=bytes(MAX_PACKET - 12))
        assert r.plane.inject(source, [rtp(1), *wrong, largest]) == 5
        r.turn()
        assert len(viewer.datagrams(2)[1]) == MAX_PACKET + 16
        assert r["malformed"] == 3
        assert r["inject_dropped"] == 2


def test_more_than_a_batch_is_taken_in_turns_without_waiting() -> None:
    with rig() as r:
        track = r.plane.add_track()
        source, other = _source(r, r.plane.add_track()), _source(r, track)
        r.turn()
        r.plane.inject(source, [rtp(n) for n in range(200)])
        r.plane.inject(other, [rtp(n) for n in range(70)])
        # Each turn wakes the next one, and no source waits for another.
        counts = [r.plane.turn(5000) for _ in range(4)]
        assert counts == [128, 70, 64, 8]
        assert r.plane.track_stats(track).packets == 70


def test_a_closed_source_is_silent_and_its_id_comes_back_clean() -> None:
    settings = dataclasses.replace(SMALL, max_sources=2)
    with rig(settings) as r:
        track = r.plane.add_track()
        viewer = r.endpoint()
        r.watch(viewer, track)
        first, second = _source(r, r.plane.add_track()), _source(r, track)
        with pytest.raises(AtCapacity):
            _source(r, track)
        r.turn()
        r.plane.inject(first, [rtp(1)])
        r.plane.close_source(first)
        r.plane.close_source(first)
        with pytest.raises(ValueError, match="does not exist"):
            r.plane.inject(first, [rtp(1)])
        with pytest.raises(AtCapacity):
            _source(r, track)
        r.plane.inject(second, [rtp(1)])
        r.turn()
        assert r["injected"] == 1
        again = _source(r, track)
        assert again == first
        assert r.plane.inject(again, [rtp(70, payload=b"again")]) == 1
        r.turn()
        assert [p.payload for p in viewer.packets(2)] == [b"payload", b"again"]
        stats = r.plane.source_stats(again)
        assert (stats.packets, stats.waiting) == (1, 0)
        assert r["sources"] == 2


def test_packets_are_injected_while_the_loop_has_a_thread() -> None:
    with rig(dataclasses.replace(SMALL, threads=1)) as r:
        track = r.plane.add_track()
        source = _source(r, track)
        tap = r.plane.open_tap(track)
        r.plane.start()
        got: list[bytes] = []
        sent = 0
        end = time.monotonic() + 10
        while len(got) < 2000:
            assert time.monotonic() < end
            packets = [rtp(sent + n, sent + n) for n in range(20)]
            sent += r.plane.inject(source, packets)
            if select.select([r.plane.tap_fd], [], [], 0.01)[0]:
                for which, more in r.plane.tapped():
                    assert which == tap
                    got += more
        numbers = [int.from_bytes(data[2:4], "big") for data in got]
        assert numbers == list(range(numbers[0], numbers[0] + len(got)))
