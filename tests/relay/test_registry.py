from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from live777py.errors import AtCapacity
from live777py.protocol.codecs import Format
from live777py.protocol.extensions import Extension
from live777py.relay.plane import Plane
from live777py.relay.registry import pack_extensions
from live777py.relay.seam import Path, PeerId, TrackId, ViewerId

from .support import SMALL, rig, rtp, udp, until

THREADED = dataclasses.replace(SMALL, threads=1)


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
            until(lambda: plane.counters()["commands"] == 3)
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
        assert set(stats[2:]) == {0}


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
