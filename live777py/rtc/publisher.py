"""The peer of a publisher: its media goes into the tracks of a stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from live777py.core.model import PeerState
from live777py.protocol import rtcp
from live777py.protocol.codecs import Kind
from live777py.protocol.extensions import FORWARDED
from live777py.relay.seam import TrackStats
from live777py.rtc.negotiation import (
    LocalParameters,
    ReceivedMedia,
    RemoteParameters,
    answer_publisher,
)
from live777py.rtc.peer import NANOSECONDS, Resources, RtcPeer
from live777py.rtc.reports import KeyFrameRequests, PublisherReports, Reading
from live777py.rtc.tracks import StreamTracks, random_ssrc

#: What publishers are told that they may send, in bit/s. It is no estimate but a ceiling, which
#: keeps an encoder from taking silence for congestion.
ALLOWED_BITRATE = 50_000_000

#: Seconds between two looks at whether the publisher has begun to send.
UNANSWERABLE_RETRY = 0.1


class Publisher(RtcPeer):
    """Receives media; asks for key frames, reports what arrives."""

    def __init__(self, resources: Resources, tracks: StreamTracks) -> None:
        super().__init__(resources, tracks)
        self._media: dict[Kind, ReceivedMedia] = {}
        self._reports: PublisherReports
        #: When this publisher took over: what the tracks count of before is not its.
        self._started = 0
        self._requests = KeyFrameRequests()
        #: When a key frame was last wished for, None once the wish is being seen to.
        self._wish: int | None = None
        self._last_wish = 0
        self._request_timer: asyncio.TimerHandle | None = None

    async def _negotiate(
        self, offer: str, local: LocalParameters
    ) -> tuple[str, RemoteParameters]:
        answer = answer_publisher(offer, local)
        self._started = time.monotonic_ns()
        self._reports = PublisherReports(
            self._resources.clock,
            ssrc=random_ssrc(),
            cname=self._tracks.cname,
            max_bitrate=ALLOWED_BITRATE if _allows_remb(answer.media) else None,
            reduced_size=answer.remote.rtcp_rsize,
            started=self._started,
        )
        for media in answer.media:
            self._media[media.kind] = media
            self._plane.bind(
                self._id,
                media.payload_type,
                self._tracks.tracks[media.kind].id,
                format=media.codec.format,
                clock_rate=media.codec.clock_rate,
                extensions={
                    number: extension
                    for number, extension in media.extensions.items()
                    if extension in FORWARDED
                },
            )
        return answer.sdp, answer.remote

    def _prepare(self) -> None:
        # Only now: who never connects must not change what viewers are promised.
        self._tracks.begin(self, tuple(self._media.values()))

    def _ready(self) -> None:
        # Packets from before the handshake may have been lost, the first key frame with them.
        self.request_key_frame()

    def _leave(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None
        self._tracks.finish(self)

    # What the tracks ask.

    def request_key_frame(self) -> None:
        """Ask for a key frame of the video, now or as soon as it may be asked again."""
        if "video" in self._media:
            self._wish = self._last_wish = time.monotonic_ns()
            self._pursue()

    def key_frame_arrived(self, arrived: int) -> None:
        """A key frame came; who wished for one before has it."""
        if arrived >= self._last_wish:
            self._wish = None
            self._requests.arrived()
            self._schedule()

    def reading(self, now: int) -> Reading[Kind]:
        """What the outgoing clocks of the stream show, for the viewers' sender reports."""
        stats = self._stats()
        rates = {k: media.codec.clock_rate for k, media in self._media.items()}
        return self._reports.reading({k: (s, rates[k]) for k, s in stats.items()}, now)

    # Inside.

    def _pursue(self) -> None:
        """Ask for what is wished, if it is time and there is somebody to ask."""
        ssrc = self._video_ssrc()
        if ssrc is None:
            # The wish keeps: no attempt is spent before one can succeed.
            self._schedule(UNANSWERABLE_RETRY)
            return
        now = time.monotonic_ns()
        if self._wish is None:
            is_due = self._requests.due(now)
        else:
            self._wish = None
            is_due = self._requests.request(now)
        feedback = self._media["video"].feedback
        if is_due and feedback & {"nack pli", "ccm fir"}:
            fir = "nack pli" not in feedback
            self._send_rtcp(*self._reports.key_frame_request(ssrc, fir=fir))
        self._schedule()

    def _schedule(self, delay: float | None = None) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None
        deadline = self._requests.next_deadline
        if delay is None and deadline is not None:
            delay = max(0, deadline - time.monotonic_ns()) / NANOSECONDS
        if delay is not None:
            self._request_timer = self._loop.call_later(delay, self._pursue)

    def _video_ssrc(self) -> int | None:
        """Of whom to ask for a key frame: who sends, or who has said that it will."""
        if self._state is not PeerState.CONNECTED:
            return None
        stats = self._stats()["video"]
        if stats.ssrc >= 0 and stats.last_arrival > self._started:
            return stats.ssrc
        return next(iter(self._media["video"].ssrcs), None)

    def _report(self, now: int) -> list[rtcp.Packet]:
        return self._reports.reports(self._stats().values(), now)

    def _receive(self, packet: rtcp.Packet, now: int) -> None:
        self._reports.receive(packet, now)

    def _stats(self) -> Mapping[Kind, TrackStats]:
        return {
            kind: self._plane.track_stats(self._tracks.tracks[kind].id)
            for kind in self._media
        }


def _allows_remb(media: tuple[ReceivedMedia, ...]) -> bool:
    return any("goog-remb" in item.feedback for item in media)
