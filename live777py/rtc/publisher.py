"""The peer of a publisher: its media goes into the tracks of a stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial

from live777py.core.model import NO_TRAFFIC, PeerState, Traffic
from live777py.protocol import rtcp
from live777py.protocol.codecs import Kind
from live777py.protocol.extensions import FORWARDED, Extension
from live777py.relay.seam import Gap, TrackStats
from live777py.rtc.congestion import INTERVAL, SLOT, TransportWideFeedback
from live777py.rtc.loss import GRACE, LossCounters, Losses
from live777py.rtc.negotiation import (
    LocalParameters,
    ReceivedMedia,
    RemoteParameters,
    answer_publisher,
)
from live777py.rtc.peer import NANOSECONDS, Resources, RtcPeer, call_in_slot
from live777py.rtc.publisher_answer import REMB, TRANSPORT_CC
from live777py.rtc.reports import KeyFrameRequests, PublisherReports, Reading
from live777py.rtc.tracks import StreamTracks, random_ssrc

#: What publishers are told that they may send, in bit/s. It is no estimate but a ceiling, which
#: keeps an encoder from taking silence for congestion.
ALLOWED_BITRATE = 50_000_000

#: Seconds between two looks at whether the publisher has begun to send.
UNANSWERABLE_RETRY = 0.1


class Publisher(RtcPeer):
    """Receives media; asks for what is missing and for key frames, reports what arrives."""

    def __init__(self, resources: Resources, tracks: StreamTracks) -> None:
        super().__init__(resources, tracks)
        self._media: dict[Kind, ReceivedMedia] = {}
        self._reports: PublisherReports
        #: Requests for key frames that were sent.
        self.key_frame_requests = 0
        #: When this publisher took over: what the tracks count of before is not its.
        self._started = 0
        self._requests = KeyFrameRequests()
        #: When a key frame was last wished for, None once the wish is being seen to.
        self._wish: int | None = None
        self._last_wish = 0
        self._request_timer: asyncio.TimerHandle | None = None
        self._losses: dict[Kind, Losses] = {}
        self._loss_timer: asyncio.TimerHandle | None = None
        #: None where transport-wide feedback was not agreed.
        self._congestion: TransportWideFeedback | None = None
        self._congestion_timer: asyncio.TimerHandle | None = None
        #: One of the publisher's sources, -1 when it is to be looked up.
        self._ssrc = -1
        #: How far the plane's log of arrivals has been read.
        self._arrivals = 0
        self._first_mid = ""
        self._may_reduce = False
        #: What the tracks had taken in before, from others.
        self._counted: Traffic | None = None

    async def _negotiate(
        self, offer: str, local: LocalParameters
    ) -> tuple[str, RemoteParameters]:
        answer = answer_publisher(offer, local)
        for media in answer.media:
            self._expect(media)
        self._first_mid = answer.media[0].mid
        self._may_reduce = answer.remote.rtcp_rsize
        return answer.sdp, answer.remote

    def _expect(self, media: ReceivedMedia) -> None:
        """This was agreed."""
        self._media[media.kind] = media
        self._losses[media.kind] = Losses(may_request="nack" in media.feedback)

    def _prepare(self) -> None:
        # Only now: who never connects must change nothing, neither what viewers are promised nor
        # whose packets the tracks take.
        media = tuple(self._media.values())
        self._started = time.monotonic_ns()
        ssrc = random_ssrc()
        self._reports = PublisherReports(
            self._resources.clock,
            ssrc=ssrc,
            cname=self._tracks.cname,
            max_bitrate=ALLOWED_BITRATE if _allows_remb(media) else None,
            reduced_size=self._may_reduce,
            started=self._started,
        )
        for item in media:
            self._bind(item)
        self._counted = self._all_traffic()
        identifier = _transport_cc(media)
        if identifier:
            self._plane.set_transport_cc(self._id, identifier)
            self._congestion = TransportWideFeedback(ssrc)
        self._take_over(media)

    def _take_over(self, media: tuple[ReceivedMedia, ...]) -> None:
        """From now on this is what the stream carries."""
        self._tracks.begin(self, media)

    def _bind(self, media: ReceivedMedia) -> None:
        """Let the tracks take what the publisher sends."""
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
        if media.rtx_payload_type is not None:
            self._plane.bind_rtx(self._id, media.rtx_payload_type, media.payload_type)

    def _ready(self) -> None:
        # Packets from before the handshake may have been lost, the first key frame with them.
        self.request_key_frame()
        if self._congestion is not None:
            self._send_congestion()

    def _leave(self) -> None:
        for timer in (self._request_timer, self._loss_timer, self._congestion_timer):
            if timer is not None:
                timer.cancel()
        self._request_timer = self._loss_timer = self._congestion_timer = None
        self._tracks.finish(self)

    @property
    def _mid(self) -> str:
        return self._first_mid

    def _count(self) -> Traffic:
        if self._counted is None:
            return NO_TRAFFIC
        now = self._all_traffic()
        jitters = [
            stats.jitter / self._media[kind].codec.clock_rate
            for kind, stats in self._stats().items()
        ]
        return Traffic(
            bytes=now.bytes - self._counted.bytes,
            packets=now.packets - self._counted.packets,
            lost=sum(losses.counters.lost for losses in self._losses.values()),
            round_trip=max(self._round_trips(), default=None),
            jitter=max(jitters, default=None),
        )

    def _round_trips(self) -> list[float]:
        known = [losses.round_trip for losses in self._losses.values()]
        return [value / NANOSECONDS for value in known if value is not None]

    def _all_traffic(self) -> Traffic:
        """What its tracks have taken in from whomever."""
        stats = self._stats().values()
        return Traffic(sum(s.bytes for s in stats), sum(s.packets for s in stats))

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

    def packets_missing(self, kind: Kind, gap: Gap) -> None:
        """Packets of a track were passed over; they are asked for if they do not come."""
        losses = self._losses.get(kind)
        # A gap of the publisher before this one is nobody's any more.
        if losses is not None and gap.arrived > self._started:
            losses.gap(gap)
            self._mend()

    def losses(self) -> dict[Kind, LossCounters]:
        """What became of packets that did not come in their order."""
        return {kind: losses.counters for kind, losses in self._losses.items()}

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
            self.key_frame_requests += 1
            self._resources.counts.key_frames_requested += 1
            self._send_rtcp(*self._reports.key_frame_request(ssrc, fir=fir))
        self._schedule()

    def _mend(self) -> None:
        """Ask again for what is missing, if it is time."""
        now = time.monotonic_ns()
        deadlines = []
        for kind, losses in self._losses.items():
            if losses.next_deadline is not None and losses.next_deadline <= now:
                self._ask_again(kind, losses, now)
            if losses.take_lost() and kind == "video":
                self.request_key_frame()
            if losses.next_deadline is not None:
                deadlines.append(losses.next_deadline)
        if self._loss_timer is not None:
            self._loss_timer.cancel()
            self._loss_timer = None
        if deadlines:
            # Not for each gap alone: whoever loses much is looked after in turns.
            delay = max(GRACE, min(deadlines) - now) / NANOSECONDS
            self._loss_timer = self._loop.call_later(delay, self._mend)

    def _ask_again(self, kind: Kind, losses: Losses, now: int) -> None:
        find = partial(self._plane.find_packets, self._tracks.tracks[kind].id)
        missing = losses.due(now, find)
        for packets in self._reports.nacks(losses.ssrc, missing):
            self._send_rtcp(*packets)

    def _send_congestion(self) -> None:
        if self._congestion is None:
            return
        self._congestion_timer = call_in_slot(
            self._loop, INTERVAL, SLOT, self._send_congestion
        )
        packets, self._arrivals = self._plane.arrivals(self._id, self._arrivals)
        if packets:
            for feedback in self._congestion.feedback(packets, self._some_ssrc()):
                self._send_rtcp(*self._reports.feedback(feedback))

    def _some_ssrc(self) -> int:
        """An SSRC of the publisher: some senders pass over feedback to others' sources."""
        if self._ssrc < 0:
            for stats in self._stats().values():
                # Until its first packet a track shows who published before.
                if stats.last_arrival > self._started:
                    self._ssrc = stats.ssrc
        return max(0, self._ssrc)

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
        # An encoder that starts again takes another SSRC.
        self._ssrc = -1
        return self._reports.reports(self._stats().values(), now)

    def _receive(self, packet: rtcp.Packet, now: int) -> None:
        self._reports.receive(packet, now)

    def _stats(self) -> Mapping[Kind, TrackStats]:
        return {
            kind: self._plane.track_stats(self._tracks.tracks[kind].id)
            for kind in self._media
        }


def _allows_remb(media: tuple[ReceivedMedia, ...]) -> bool:
    return any(REMB in item.feedback for item in media)


def _transport_cc(media: tuple[ReceivedMedia, ...]) -> int:
    """The id of the transport-wide number, 0 where it was not agreed.

    A bundle has one meaning for each id (RFC 9143 section 9.1): any section's will do.
    """
    for item in media:
        for identifier, extension in item.extensions.items():
            if extension is Extension.TRANSPORT_CC and TRANSPORT_CC in item.feedback:
                return identifier
    return 0
