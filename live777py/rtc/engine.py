"""The WebRTC engine: one socket, one data plane, one certificate for all peers."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from live777py.config import Webrtc
from live777py.core.model import MediaCounters
from live777py.core.ports import Media, Peer, Relay, RemotePeer, ViewerPeer
from live777py.core.remote import Remote
from live777py.protocol.codecs import Codec, Kind
from live777py.relay.cfuncs import COMPILED
from live777py.relay.plane import Plane
from live777py.relay.settings import PlaneSettings
from live777py.relay.sockets import open_udp
from live777py.relay.warm import warm
from live777py.rtc.addresses import announced, candidates
from live777py.rtc.counters import media_counters
from live777py.rtc.dtls import Certificate
from live777py.rtc.negotiation import check_viewer
from live777py.rtc.peer import Resources
from live777py.rtc.publisher import Publisher
from live777py.rtc.reports import WallClock
from live777py.rtc.sink import Sink
from live777py.rtc.source import Source
from live777py.rtc.tracks import StreamTracks
from live777py.rtc.transport import Transport
from live777py.rtc.viewer import Viewer
from live777py.rtc.watch import Watch

logger = logging.getLogger(__name__)

#: Seconds after which a start that compiles says so.
COMPILE_HINT = 2.0

#: Threads for media packets where the configuration does not say.
MAX_THREADS = 4

#: Rows of the data plane's tables beyond those that `max_sessions` needs.
SPARE_ROWS = 64


class Engine(Media):
    """What all peers share.

    Use it as `async with Engine(settings)`: entering opens the media socket and starts the data
    plane, leaving stops it. Peers must have ended before.

    Attributes:
        hosts: the announced addresses, best first.
    """

    def __init__(self, settings: Webrtc) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._resources: Resources
        self._failure: asyncio.Future[str]
        self.hosts: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        self._failure = asyncio.get_running_loop().create_future()
        settings = self._settings
        async with AsyncExitStack() as stack:
            sock = stack.enter_context(_open(settings))
            addresses = await announced(sock, settings.addresses, settings.public_ips)
            plane = Plane(sock, _plane_settings(settings))
            stack.callback(plane.stop)
            plane.on_failure = self._plane_failed
            await _compile()
            plane.start()
            stack.enter_context(Watch(plane.counters))
            self.hosts = tuple(dict.fromkeys(address.host for address in addresses))
            self._resources = Resources(
                plane=plane,
                transport=stack.enter_context(Transport(plane)),
                certificate=Certificate.generate(),
                candidates=candidates(addresses),
                clock=WallClock.started(time.time_ns(), time.monotonic_ns()),
                idle_timeout=settings.idle_timeout,
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def relay(self, name: str) -> Relay:
        """Tracks for a new stream.

        Raises:
            AtCapacity: the plane has no track left.
        """
        return StreamRelay(self._resources, name)

    def check_viewer(self, offer: str) -> None:
        """See whether a viewer's offer could be answered, whatever is published.

        Raises:
            Invalid: the offer is malformed, unusable or without a codec that is forwarded.
        """
        check_viewer(offer)

    def counters(self) -> MediaCounters:
        """What the data plane and the peers have counted."""
        shared = self._resources
        counted = {**shared.plane.counters(), **shared.transport.counters()}
        return media_counters(counted, shared.counts)

    async def failed(self) -> str:
        """Wait until the data plane has died; returns what happened."""
        return await asyncio.shield(self._failure)

    def _plane_failed(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_result(f"the data plane has ended: {error!r}")


class StreamRelay(Relay):
    """The tracks of one stream, and the peers that belong to them."""

    def __init__(self, resources: Resources, name: str) -> None:
        self._resources = resources
        self._tracks = StreamTracks(resources.plane, resources.transport, name)

    @property
    def codecs(self) -> Mapping[Kind, Codec]:
        """What is being published, by kind."""
        return self._tracks.codecs

    def publisher(self) -> Peer:
        """A peer whose media goes into the tracks."""
        return Publisher(self._resources, self._tracks)

    def viewer(self) -> ViewerPeer:
        """A peer that is sent the tracks."""
        return Viewer(self._resources, self._tracks)

    def has_seen(self, age: float) -> None:
        """Viewers are about to come who have seen what was sent until so many seconds ago."""
        self._tracks.has_seen(age)

    def source(self, remote: Remote) -> RemotePeer:
        """A peer whose media goes into the tracks, opened by us at another server."""
        return Source(self._resources, self._tracks, remote)

    def sink(self, remote: Remote) -> RemotePeer:
        """A peer that is sent the tracks, opened by us at another server."""
        return Sink(self._resources, self._tracks, remote)

    def close(self) -> None:
        """Free the tracks; their peers have ended."""
        self._tracks.close()


async def _compile() -> None:
    """Have machine code before the first packet; from the cache it takes a moment."""
    hint = asyncio.get_running_loop().call_later(
        COMPILE_HINT,
        logger.warning,
        "compiling the data plane, once for this version; this takes up to a minute",
    )
    try:
        await asyncio.to_thread(warm)
    finally:
        hint.cancel()


def _open(settings: Webrtc) -> socket.socket:
    listen = settings.listen
    try:
        return open_udp(
            listen.host,
            listen.port,
            receive_buffer=settings.receive_buffer,
            send_buffer=settings.send_buffer,
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"cannot listen on [webrtc] listen = {listen}: {reason}"
        ) from error


def _threads(wanted: int) -> int:
    """How many threads move packets; as plain Python they would only wait for one another."""
    if wanted < 0:
        # A container's CPUs are those of its mask.
        has_mask = hasattr(os, "sched_getaffinity")
        cpus = len(os.sched_getaffinity(0)) if has_mask else os.cpu_count() or 1
        wanted = min(cpus, MAX_THREADS)
    return wanted if COMPILED else min(wanted, 1)


def _plane_settings(settings: Webrtc) -> PlaneSettings:
    return PlaneSettings(
        threads=_threads(settings.threads),
        gso=settings.gso,
        coalesce=settings.coalesce,
        # Each session has at most one audio and one video; rows come back a moment after they were
        # given up, so that there are a few more than can be in use.
        max_peers=settings.max_sessions + SPARE_ROWS,
        max_viewers=2 * (settings.max_sessions + SPARE_ROWS),
        max_tracks=2 * (settings.max_sessions + SPARE_ROWS),
    )
