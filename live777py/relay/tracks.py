"""What control may ask for tracks: who feeds them, and from which payload types."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from live777py.protocol.codecs import Format
from live777py.protocol.extensions import Extension

from . import commands, stats
from .bridges import Bridges
from .groups import usable
from .registry import Track, check_clock_rate, check_payload_type, pack_extensions
from .seam import Found, Group, PeerId, TrackId, TrackStats
from .viewers import Viewers


class Tracks(Viewers, Bridges):
    """The part of `Plane` that is about tracks."""

    def add_track(self) -> TrackId:
        """A new track that nobody feeds.

        Raises:
            AtCapacity: there are as many as the settings allow.
        """
        track = TrackId(self._track_ids.take())
        self._tracks[track] = Track()
        return track

    def remove_track(self, track: TrackId) -> None:
        """Forget a track, its viewers and what fed it."""
        gone = self._tracks.get(track)
        if gone is None:
            return
        for viewer in tuple(gone.viewers):
            self.remove_viewer(viewer)
        for peer, owner in self._peers.items():
            for payload_type in [
                number for number, fed in owner.bindings.items() if fed == track
            ]:
                del owner.bindings[payload_type]
                self._commands.post(commands.UNBIND, peer, payload_type)
        for source, feeding in self._sources.items():
            if feeding.track == track:
                feeding.track = None
                self._commands.post(commands.UNBIND, self._publisher(source), 0)
        for tap in tuple(gone.taps):
            self.close_tap(tap)
        del self._tracks[track]

        def bury() -> None:
            self._memory.release_track(track)
            self._track_ids.give(track)

        self._commands.post(commands.REMOVE_TRACK, track, then=bury)

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
        """Feed a track from a payload type of a peer, which becomes its only publisher."""
        owner, fed = self._peer(peer), self._track(track)
        check_payload_type(payload_type, 0)
        check_clock_rate(clock_rate)
        packed = pack_extensions({e: number for number, e in extensions.items()})
        is_new = fed.publisher != peer
        fed.publisher = peer
        replaced = owner.bindings.get(payload_type)
        owner.bindings[payload_type] = track
        if replaced is not None and replaced not in owner.bindings.values():
            self._unpublish(peer, replaced)
        self._commands.post(
            commands.BIND,
            peer,
            payload_type,
            track,
            int(format),
            clock_rate,
            packed,
            int(is_new),
        )

    def bind_rtx(self, peer: PeerId, rtx_payload_type: int, payload_type: int) -> None:
        """Take retransmissions (RFC 4588) of what `payload_type` was bound for."""
        owner = self._peer(peer)
        check_payload_type(rtx_payload_type, 0)
        if payload_type not in owner.bindings or rtx_payload_type in owner.bindings:
            raise ValueError(
                f"payload type {rtx_payload_type} cannot repeat {payload_type}"
            )
        self._commands.post(commands.BIND_RTX, peer, rtx_payload_type, payload_type)

    def track_stats(self, track: TrackId) -> TrackStats:
        """How a track is doing."""
        self._track(track)
        viewers = sum(lane.audiences["viewers"][track] for lane in self._memory.lanes)
        return stats.track_stats(self._state.tracks, track, int(viewers))

    def group(self, track: TrackId) -> Group:
        """What a viewer of a track could begin with now."""
        self._track(track)
        row = self._state.tracks[track]
        age = int(self._state.engine[0].catch_up_age)
        history = self._settings.history
        packets = int(usable(row, history, time.monotonic_ns(), age))
        return Group(packets, int(row.group_started) if packets else 0)

    def find_packets(self, track: TrackId, numbers: Sequence[int]) -> Found:
        """Which of some packets of a track are in its history."""
        self._track(track)
        return stats.find_packets(self._state, track, numbers)
