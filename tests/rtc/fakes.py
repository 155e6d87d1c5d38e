"""A data plane that remembers what it was told, and the resources around it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from live777py.errors import AtCapacity
from live777py.protocol.codecs import Format
from live777py.protocol.extensions import Extension
from live777py.relay.plane import Plane
from live777py.relay.seam import (
    Arrived,
    Found,
    Gap,
    Group,
    Path,
    PeerId,
    PeerStats,
    SrtpKeys,
    TrackId,
    TrackStats,
    ViewerId,
    ViewerStats,
)
from live777py.rtc.dtls import Certificate
from live777py.rtc.peer import Resources
from live777py.rtc.reports import WallClock
from live777py.rtc.transport import Transport

SILENT_TRACK = TrackStats(
    ssrc=-1,
    payload_type=-1,
    packets=0,
    bytes=0,
    base_sequence=0,
    highest_sequence=0,
    received=0,
    jitter=0,
    key_frames=0,
    last_arrival=0,
    last_timestamp=0,
    timestamp_offset=0,
    viewers=0,
)


class FakePlane:
    """Has room for `tracks` tracks, forwards nothing."""

    control_fd = -1

    def __init__(self, tracks: int = 100) -> None:
        self.room = tracks
        self.tracks: set[int] = set()
        self.peers: set[int] = set()
        self.bound: list[tuple[int, int, Format, int, Mapping[int, Extension]]] = []
        self.viewers: dict[int, dict[str, object]] = {}
        self.sent: list[bytes] = []
        self.keys: dict[int, SrtpKeys] = {}
        self.stats: dict[int, TrackStats] = {}
        self.groups: dict[int, Group] = {}
        self.last_received = 0
        self.repeated: dict[int, int] = {}
        self.transport_cc = 0
        self.lost: list[tuple[ViewerId, tuple[int, ...]]] = []
        self._ids = itertools.count()

    def add_peer(self) -> PeerId:
        peer = PeerId(next(self._ids))
        self.peers.add(peer)
        return peer

    def remove_peer(self, peer: PeerId) -> None:
        self.peers.discard(peer)

    def add_address(self, peer: PeerId, path: Path) -> None:
        pass

    def remove_address(self, peer: PeerId, path: Path) -> None:
        pass

    def select_path(self, peer: PeerId, path: Path) -> None:
        pass

    def set_keys(self, peer: PeerId, keys: SrtpKeys) -> None:
        self.keys[peer] = keys

    def send(self, data: bytes, path: Path) -> None:
        self.sent.append(data)

    def add_track(self) -> TrackId:
        if len(self.tracks) >= self.room:
            raise AtCapacity("no room for another track")
        track = TrackId(next(self._ids))
        self.tracks.add(track)
        return track

    def remove_track(self, track: TrackId) -> None:
        self.tracks.discard(track)

    def bind(
        self,
        peer: PeerId,
        payload_type: int,
        track: TrackId,
        *,
        format: Format,
        clock_rate: int,
        extensions: Mapping[int, Extension],
    ) -> None:
        self.bound.append((payload_type, track, format, clock_rate, extensions))

    def bind_rtx(self, peer: PeerId, rtx_payload_type: int, payload_type: int) -> None:
        self.repeated[rtx_payload_type] = payload_type

    def set_transport_cc(self, peer: PeerId, identifier: int) -> None:
        self.transport_cc = identifier

    def find_packets(self, track: TrackId, numbers: Sequence[int]) -> Found:
        return Found({}, 0)

    def arrivals(self, peer: PeerId, position: int) -> Arrived:
        return Arrived([], position)

    def notices(self) -> Iterator[Gap]:
        return iter(())

    def add_viewer(
        self, peer: PeerId, track: TrackId, **parameters: object
    ) -> ViewerId:
        viewer = ViewerId(next(self._ids))
        self.viewers[viewer] = {"track": track, **parameters}
        return viewer

    def set_payload_type(
        self, viewer: ViewerId, payload_type: int, rtx_payload_type: int = -1
    ) -> None:
        self.viewers[viewer]["payload_type"] = payload_type
        self.viewers[viewer]["rtx_payload_type"] = rtx_payload_type

    def retransmit(self, viewer: ViewerId, sequences: Iterable[int]) -> None:
        self.lost.append((viewer, tuple(sequences)))

    def pause(self, viewer: ViewerId, paused: bool) -> None:
        self.viewers[viewer]["paused"] = paused

    def peer_stats(self, peer: PeerId) -> PeerStats:
        return PeerStats(self.last_received, 0, 0, 0, 0, 0)

    def track_stats(self, track: TrackId) -> TrackStats:
        return self.stats.get(track, SILENT_TRACK)

    def group(self, track: TrackId) -> Group:
        return self.groups.get(track, Group(0, 0))

    def viewer_stats(self, viewer: ViewerId) -> ViewerStats:
        return ViewerStats(10, 1000, 0, 1, 10)


def publishing(ssrc: int, **changes: int) -> TrackStats:
    """Statistics of a track that somebody feeds."""
    live = SILENT_TRACK._replace(
        ssrc=ssrc,
        payload_type=96,
        packets=100,
        received=100,
        highest_sequence=99,
        last_arrival=1,
    )
    return live._replace(**changes)


def resources(plane: FakePlane, *, idle_timeout: float = 30.0) -> Resources:
    """What peers share, around a fake plane; nothing is opened."""
    real = cast(Plane, plane)
    return Resources(
        plane=real,
        transport=Transport(real),
        certificate=Certificate.generate(),
        candidates=(),
        clock=WallClock.started(1_700_000_000_000_000_000, 0),
        idle_timeout=idle_timeout,
    )
