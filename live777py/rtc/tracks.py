"""The tracks of one stream: one publisher's media in, any number of viewers out."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from live777py.protocol import rtp
from live777py.protocol.codecs import KINDS, Codec, Format, Kind
from live777py.protocol.parameter_sets import inspect
from live777py.relay.plane import Plane
from live777py.relay.seam import Gap, TrackId
from live777py.rtc.negotiation import ReceivedMedia, Sender
from live777py.rtc.reports import Reading
from live777py.rtc.transport import Transport

logger = logging.getLogger(__name__)

#: Seconds for which a viewer's answer waits for a publisher's parameter sets: its offer may
#: promise another profile than its encoder makes (OBS always says 42e01f).
PARAMETER_SETS_TIMEOUT = 0.5

#: Formats whose profile is believed when it is seen. Encoders of H.264 offer another one; servers
#: that were offered VP9 more than once send every profile under one number (Broadcast Box).
TOLD_BY_KEY_FRAMES = (Format.H264, Format.VP9)

#: Nanoseconds for which all viewers share one reading of the clocks.
READING_AGE = 50_000_000


#: Nanoseconds: a key frame that is older is asked to be replaced, although the data plane may
#: still begin with it. To decode what came since would take a weak viewer long, and a publisher
#: that answers gives it a picture of now instead.
RECENT = 2_500_000_000

#: Gaps that are kept for a publisher of whom it is not known yet what it sends.
MAX_UNCLAIMED = 64


class PublishingPeer(Protocol):
    """What the tracks ask of a publisher."""

    def request_key_frame(self) -> None:
        """Ask it for a key frame, as often as it may be asked."""

    def key_frame_arrived(self, arrived: int) -> None:
        """A key frame has come, at that time."""

    def packets_missing(self, kind: Kind, gap: Gap) -> None:
        """Packets of a track were passed over."""

    def reading(self, now: int) -> Reading[Kind]:
        """What the outgoing clocks show at `now`."""


class ViewingPeer(Protocol):
    """What the tracks tell a viewer."""

    def source_changed(self) -> None:
        """What is being published has changed."""


@dataclass(slots=True)
class Track:
    """One outgoing track, stable for the life of the stream.

    Attributes:
        id: of the plane.
        sender: the SSRCs that viewers see.
        media: what the publisher sends into it, None while nobody does.
        codec: of the publisher, refined by the parameter sets that it sends.
        described: set once the parameter sets have been seen, or none are to come.
    """

    id: TrackId
    sender: Sender
    media: ReceivedMedia | None = None
    codec: Codec | None = None
    described: asyncio.Event = field(default_factory=asyncio.Event)


class StreamTracks:
    """Joins a stream's publisher, its viewers and the plane's tracks.

    Publishers call `begin` and viewers `attach` when they are connected, `finish` and `detach` when
    they leave.
    """

    def __init__(self, plane: Plane, transport: Transport, name: str) -> None:
        self.name = name
        #: Joins audio and video in the eyes of viewers, and tells nothing about anybody.
        self.cname = secrets.token_hex(8)
        self.stream_id = secrets.token_hex(8)
        self.tracks: dict[Kind, Track] = {}
        self.publisher: PublishingPeer | None = None
        #: Gaps that came while nobody published: of one that is about to, perhaps.
        self._unclaimed: deque[tuple[Kind, Gap]] = deque(maxlen=MAX_UNCLAIMED)
        self._reading: Reading[Kind] | None = None
        self._reading_taken = 0
        self._plane = plane
        self._transport = transport
        self._viewers: set[ViewingPeer] = set()
        #: The first packet of the latest key frame, whoever sent it, and its arrival.
        self._latest_key_frame = b""
        self._key_frame_came = -1
        #: Until when those have watched elsewhere who are about to come; 0 for nobody.
        self._seen_until = 0
        try:
            for kind in KINDS:
                self._open(kind)
        except BaseException:
            self.close()
            raise

    def _open(self, kind: Kind) -> None:
        track_id = self._plane.add_track()
        sender = Sender(ssrc=random_ssrc(), rtx_ssrc=random_ssrc())
        self.tracks[kind] = Track(track_id, sender)
        self._transport.register_key_frames(track_id, self._key_frame)
        self._transport.register_gaps(track_id, partial(self._gap, kind))

    def close(self) -> None:
        """Free the tracks."""
        for track in self.tracks.values():
            self._transport.unregister_key_frames(track.id)
            self._transport.unregister_gaps(track.id)
            self._plane.remove_track(track.id)
        self.tracks.clear()

    @property
    def codecs(self) -> Mapping[Kind, Codec]:
        """What is being published, by kind."""
        return {
            kind: track.codec
            for kind, track in self.tracks.items()
            if track.codec is not None
        }

    @property
    def source(self) -> Mapping[Kind, Codec] | None:
        """What is being published, or None when nobody publishes."""
        return None if self.publisher is None else self.codecs

    def begin(
        self,
        publisher: PublishingPeer,
        media: tuple[ReceivedMedia, ...],
        *,
        since: int | None = None,
    ) -> None:
        """A publisher is connected: its media is what the stream now carries.

        Args:
            publisher: whom to ask for what is missing.
            media: what it sends.
            since: when it began to, where that is known; a key frame that came after may tell
                what its parameter sets are.
        """
        self.publisher = publisher
        self._reading = None
        for item in media:
            track = self.tracks[item.kind]
            track.media = item
            track.codec = item.codec
            track.described = asyncio.Event()
            if item.codec.format not in TOLD_BY_KEY_FRAMES:
                track.described.set()
        if since is not None and self._key_frame_came >= since:
            self._describe(self._latest_key_frame)
        self._tell_viewers()
        # Whose these are the publisher knows: it passes over those of others.
        while self._unclaimed:
            publisher.packets_missing(*self._unclaimed.popleft())

    def has_seen(self, age: float) -> None:
        """Viewers are about to come who have seen what was sent until so many seconds ago."""
        seen_until = time.monotonic_ns() - int(age * 1e9)
        self._seen_until = max(self._seen_until, seen_until)

    @property
    def seen_ago(self) -> float | None:
        """Seconds since the latest picture came that viewers know who are there, or will be.

        None where there are none who have seen anything.
        """
        stats = self._plane.track_stats(self.tracks["video"].id)
        here = stats.last_arrival if stats.viewers else 0
        seen_until = max(here, self._seen_until)
        return (time.monotonic_ns() - seen_until) / 1e9 if seen_until else None

    def has_picture_since(self, moment: int) -> bool:
        """Whether the plane has a key frame of after that time for a viewer to begin with."""
        group = self._plane.group(self.tracks["video"].id)
        return group.packets > 0 and group.started >= moment

    def finish(self, publisher: PublishingPeer) -> None:
        """A publisher has gone; viewers stay and wait for the next one."""
        if self.publisher is not publisher:
            return
        self.publisher = None
        for track in self.tracks.values():
            track.media = None
            track.codec = None
            track.described.set()

    def attach(self, viewer: ViewingPeer) -> None:
        """A viewer is connected and wants a picture."""
        self._viewers.add(viewer)
        self.request_picture()

    def detach(self, viewer: ViewingPeer) -> None:
        """A viewer has gone."""
        self._viewers.discard(viewer)

    def request_picture(self, since: int = 0) -> None:
        """Ask for a key frame unless the plane has one with which a viewer can begin.

        A key frame costs all who watch: many times the bits of any other, or its quality.

        Args:
            since: what came before that time is nothing to begin with.
        """
        if not self.has_picture_since(max(since, time.monotonic_ns() - RECENT)):
            self.request_key_frame()

    def request_key_frame(self) -> None:
        """Ask the publisher for a key frame, as often as it may be asked."""
        if self.publisher is not None:
            self.publisher.request_key_frame()

    def reading(self, now: int) -> Reading[Kind] | None:
        """What the outgoing clocks show, now or a moment ago; None while nobody publishes.

        It is a pair of clocks read at once, so its age does not matter to a sender report.
        """
        if self.publisher is None:
            return None
        if self._reading is None or now - self._reading_taken >= READING_AGE:
            self._reading = self.publisher.reading(now)
            self._reading_taken = now
        return self._reading

    async def described(self) -> None:
        """Wait until the publisher's parameter sets are known, but not for long."""
        video = self.tracks["video"]
        if video.codec is None or video.described.is_set():
            return
        self.request_key_frame()
        try:
            async with asyncio.timeout(PARAMETER_SETS_TIMEOUT):
                await video.described.wait()
        except TimeoutError:
            logger.debug("%s: no parameter sets yet, trusting the offer", self.name)

    def _key_frame(self, packet: bytes, arrived: int) -> None:
        """The plane saw a key frame: learn the true profile from its parameter sets."""
        self._latest_key_frame, self._key_frame_came = packet, arrived
        if self.publisher is None or self.tracks["video"].codec is None:
            return
        self.publisher.key_frame_arrived(arrived)
        if self._describe(packet):
            self._tell_viewers()

    def _describe(self, packet: bytes) -> bool:
        """Take the parameters from a key frame's first packet; whether that is news."""
        track = self.tracks["video"]
        if track.codec is None:
            return False
        info = inspect(track.codec.format, rtp.parse(packet).payload)
        if info is None:
            return False
        merged = {**dict(track.codec.parameters), **dict(info.parameters)}
        codec = replace(track.codec, parameters=tuple(merged.items()))
        news = codec != track.codec or not track.described.is_set()
        track.codec = codec
        track.described.set()
        return news

    def _gap(self, kind: Kind, gap: Gap) -> None:
        if self.publisher is None:
            self._unclaimed.append((kind, gap))
        else:
            self.publisher.packets_missing(kind, gap)

    def _tell_viewers(self) -> None:
        for viewer in tuple(self._viewers):
            viewer.source_changed()


def random_ssrc() -> int:
    """An SSRC that is not 0, which some receivers take for "unknown"."""
    return secrets.randbelow(0xFFFF_FFFE) + 1
