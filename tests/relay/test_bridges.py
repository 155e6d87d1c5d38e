from __future__ import annotations

import pytest

from live777py.protocol.codecs import Format
from live777py.relay.seam import SourceId, TrackId

from .support import SMALL, Rig, rig, rtp

ONE_BYTE = 0xBEDE


def _source(r: Rig, track: TrackId, format: Format = Format.OPAQUE) -> SourceId:
    return r.plane.open_source(track, format=format, clock_rate=90_000)


def test_a_removed_track_leaves_its_source_without_one() -> None:
    with rig() as r:
        track = r.plane.add_track()
        source = _source(r, track)
        r.plane.remove_track(track)
        r.turn()
        assert r.plane.inject(source, [rtp(1)]) == 1
        r.turn()
        assert r["no_track"] == 1
        r.plane.close_source(source)
        r.turn()
        assert r["graves"] == 0


def test_wrong_arguments_open_no_source() -> None:
    with rig() as r:
        track = r.plane.add_track()
        with pytest.raises(ValueError, match="range"):
            r.plane.open_source(track, format=Format.OPAQUE, clock_rate=0)
        with pytest.raises(ValueError, match="does not exist"):
            _source(r, TrackId(7))
        with pytest.raises(ValueError, match="does not exist"):
            r.plane.source_stats(SourceId(0))
        assert r["sources"] == 0


def test_a_stopped_plane_takes_nothing() -> None:
    with rig() as r:
        source = _source(r, r.plane.add_track())
        r.plane.stop()
        assert r.plane.inject(source, [rtp(1)]) == 0


def test_a_removed_track_takes_its_taps_with_it() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        tap = r.plane.open_tap(track)
        r.plane.remove_track(track)
        r.turn()
        publisher.publish(rtp(1))
        r.turn()
        with pytest.raises(ValueError, match="does not exist"):
            r.plane.read_tap(tap)
        assert list(r.plane.tapped()) == []
        assert (r["graves"], r["taps"]) == (0, 0)


def test_wrong_arguments_open_no_tap() -> None:
    with rig() as r:
        track = r.plane.add_track()
        for packets in (0, SMALL.tap_packets + 1):
            with pytest.raises(ValueError, match="range"):
                r.plane.open_tap(track, packets=packets)
        with pytest.raises(ValueError, match="does not exist"):
            r.plane.open_tap(TrackId(7))


def test_a_stopped_plane_gives_nothing() -> None:
    with rig() as r:
        r.plane.open_tap(r.plane.add_track())
        r.plane.stop()
        assert list(r.plane.tapped()) == []
