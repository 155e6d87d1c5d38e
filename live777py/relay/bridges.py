"""What control may ask for sources and sinks that are not WebRTC."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator

from live777py.protocol.codecs import Format

from . import commands, stats
from .injection import SourceWriter
from .registry import Registry, Source, check_clock_rate
from .seam import SourceId, SourceStats, TapId, TapStats, TrackId
from .settings import PlaneSettings
from .taps import TapReader


class Bridges(Registry):
    """The part of `Plane` that is about sources and taps."""

    def __init__(self, sock: socket.socket, settings: PlaneSettings) -> None:
        super().__init__(sock, settings)
        self._writer = SourceWriter(self._memory)
        self._reader = TapReader(self._memory)
        self._inject_dropped = 0

    # Sources

    def open_source(
        self, track: TrackId, *, format: Format, clock_rate: int
    ) -> SourceId:
        """Feed a track by `inject` from now on, which excludes any other publisher.

        Raises:
            AtCapacity: there are as many sources as the settings allow.
        """
        fed = self._track(track)
        check_clock_rate(clock_rate)
        source = SourceId(self._source_ids.take())
        self._sources[source] = Source(track)
        fed.publisher = self._publisher(source)
        binding = (0, track, int(format), clock_rate, 0, 1)
        self._commands.post(commands.BIND, fed.publisher, *binding)
        self._commands.post(commands.OPEN_SOURCE, source)
        return source

    def inject(self, source: SourceId, packets: Iterable[bytes]) -> int:
        """Put RTP packets into a source's track.

        Numbers, timestamps and SSRC are the source's own; another SSRC takes over when the
        old one was silent, as a peer's would. Header extensions do not travel.

        Returns:
            How many were taken; there was no room for the rest, which is counted.
        """
        feeding = self._source(source)
        if self._runner.is_stopped:
            return 0
        taken, dropped = self._writer.put(source, packets)
        feeding.dropped += dropped
        self._inject_dropped += dropped
        if taken:
            self._runner.wake()
        return taken

    def close_source(self, source: SourceId) -> None:
        """Forget a source, and what the loop has not seen of it."""
        gone = self._sources.pop(source, None)
        if gone is None:
            return
        if gone.track is not None:
            self._unpublish(self._publisher(source), gone.track)

        def bury() -> None:
            self._memory.release_source(source)
            self._source_ids.give(source)

        self._commands.post(commands.CLOSE_SOURCE, source, then=bury)

    def source_stats(self, source: SourceId) -> SourceStats:
        """What a source has put in."""
        dropped = self._source(source).dropped
        row = self._state.peers[self._publisher(source)]
        waiting = self._writer.waiting(source)
        return SourceStats(
            int(row.packets_received), int(row.bytes_received), waiting, dropped
        )

    # Taps

    def open_tap(self, track: TrackId, *, packets: int = 512) -> TapId:
        """Collect a track's packets for `read_tap`, from the next one on that arrives.

        They are plain RTP in the track's outgoing numbering, with payload type and SSRC zero.
        Where `packets` are waiting, whole frames are dropped: up to the next frame, or to the
        next key frame of a video whose frames depend on each other.

        Raises:
            AtCapacity: there are as many taps as the settings allow.
        """
        tapped = self._track(track)
        if not 0 < packets <= self._settings.tap_packets:
            raise ValueError(f"{packets} packets are out of range")
        tap = TapId(self._tap_ids.take())
        self._taps[tap] = track
        tapped.taps.add(tap)
        self._commands.post(commands.OPEN_TAP, tap, track, packets)
        return tap

    @property
    def tap_fd(self) -> int:
        """Readable when `tapped` has something to give."""
        return self._runner.tap_fd

    def tapped(self) -> Iterator[tuple[TapId, list[bytes]]]:
        """What all taps have; to be drained whenever `tap_fd` is readable."""
        if self._runner.is_stopped:
            return
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._runner.tap_fd)
        for tap in tuple(self._taps):
            if tap in self._taps and (packets := self._reader.read(tap)):
                yield tap, packets

    def read_tap(self, tap: TapId) -> list[bytes]:
        """What one tap has."""
        self._check_tap(tap)
        return self._reader.read(tap)

    def close_tap(self, tap: TapId) -> None:
        """Forget a tap, and what was not read of it."""
        track = self._taps.pop(tap, None)
        if track is None:
            return
        self._track(track).taps.discard(tap)

        def bury() -> None:
            self._memory.release_tap(tap)
            self._tap_ids.give(tap)

        self._commands.post(commands.CLOSE_TAP, tap, then=bury)

    def tap_stats(self, tap: TapId) -> TapStats:
        """What a tap was given."""
        self._check_tap(tap)
        return stats.tap_stats(self._state.taps.rows, tap, self._reader.waiting(tap))
