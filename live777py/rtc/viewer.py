"""The peer of a viewer: it is sent the tracks of a stream."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time

from live777py.core.model import NO_TRAFFIC, Traffic
from live777py.core.ports import ViewerPeer
from live777py.protocol import rtcp
from live777py.protocol.codecs import Codec, Kind
from live777py.relay.seam import Path, ViewerId
from live777py.rtc.negotiation import (
    LocalParameters,
    RemoteParameters,
    SentMedia,
    answer_viewer,
)
from live777py.rtc.outgoing_offer import (
    AnsweredMedia,
    OutgoingMedia,
    read_answer,
    write_offer,
)
from live777py.rtc.peer import NANOSECONDS, Resources, RtcPeer
from live777py.rtc.reports import ViewerReports
from live777py.rtc.tracks import StreamTracks
from live777py.rtc.watched import DESCRIBING, WATCHED

logger = logging.getLogger(__name__)

#: A payload type that is none: nothing is sent.
SILENT = -1

#: First sequence numbers lie below this, so that a loss right at the start cannot make the
#: receiver guess a wrong roll-over counter (RFC 3711 section 3.3.1).
FIRST_SEQUENCES = 1 << 15

TIMESTAMPS = 1 << 32

#: Bytes of an RTP header without extensions.
RTP_HEADER = 12

#: A viewer that was not heard of for this part of the idle timeout is sent nothing: its
#: network or the viewer itself is gone, and what is sent there may be in others' way.
PAUSE_AFTER = 0.25

#: But never sooner than this, in seconds: receivers may report as seldom as every five.
LEAST_PAUSE = 6.0

#: Seconds for which a viewer that has seen all key frames there are waits for a new one, and those
#: between two looks whether it is there.
NEW_PICTURE_WITHIN = 0.8
NEW_PICTURE_LOOK = 0.02


class Viewer(RtcPeer, ViewerPeer):
    """Sends media, again what was lost; passes wishes for key frames on, reports."""

    def __init__(self, resources: Resources, tracks: StreamTracks) -> None:
        super().__init__(resources, tracks)
        self._media: dict[Kind, SentMedia] = {}
        self._viewers: dict[Kind, ViewerId] = {}
        self._payload_types: dict[Kind, int] = {}
        self._is_paused = False
        self._muted: set[Kind] = set()
        #: What our own offer had, until it is answered.
        self._offered: tuple[OutgoingMedia, ...] = ()
        #: Until when it has watched by another session; 0 for never.
        self._seen_until = 0
        #: While it waits for a key frame that it has not seen.
        self._picture_timer: asyncio.TimerHandle | None = None
        self._pause_after = max(LEAST_PAUSE, PAUSE_AFTER * resources.idle_timeout)
        self._reports: ViewerReports[Kind] = ViewerReports(
            cname=tracks.cname,
            ssrcs={kind: track.sender.ssrc for kind, track in tracks.tracks.items()},
        )

    async def _negotiate(
        self, offer: str, local: LocalParameters
    ) -> tuple[str, RemoteParameters]:
        await self._tracks.described()
        answer = answer_viewer(
            offer,
            local,
            self._tracks.source,
            {kind: track.sender for kind, track in self._tracks.tracks.items()},
            stream_id=self._tracks.stream_id,
            cname=self._tracks.cname,
        )
        self._media = {media.kind: media for media in answer.media}
        return answer.sdp, answer.remote

    async def offer(self) -> str:
        """Offer what is being published, or all codecs while nobody publishes."""
        self._offered = await self._published()
        return write_offer(
            self._offered,
            self._local(),
            session=secrets.randbits(62),
            cname=self._tracks.cname,
            is_lite=True,
        )

    async def _published(self) -> tuple[OutgoingMedia, ...]:
        """The sections of an offer of ours."""
        await self._tracks.described()
        source = self._tracks.source
        return tuple(
            OutgoingMedia(
                kind,
                WATCHED[kind] if source is None else (source[kind],),
                track.sender.ssrc,
                track.sender.rtx_ssrc,
                DESCRIBING[kind],
            )
            for kind, track in self._tracks.tracks.items()
            if source is None or kind in source
        )

    def accept(self, answer: str) -> None:
        """Take the answer to our offer.

        Raises:
            InvalidAnswer: it is malformed or accepts nothing.
        """
        read = read_answer(answer, self._offered)
        self._media = {m.kind: sent_media(m) for m in read.media if m.is_accepted}
        self._agreed(
            RemoteParameters(
                ufrag=read.ufrag,
                pwd=read.pwd,
                fingerprints=read.fingerprints,
                dtls_role=read.dtls_role,
                rtcp_rsize=read.rtcp_rsize,
            )
        )

    @property
    def _mid(self) -> str:
        return next((media.mid for media in self._media.values()), "0")

    def _count(self) -> Traffic:
        stats = [self._plane.viewer_stats(viewer) for viewer in self._viewers.values()]
        if not stats:
            return NO_TRAFFIC
        # Some report on what they have refused as well (Broadcast Box).
        heard = {k: r for k, r in self._reports.reception.items() if k in self._viewers}
        round_trips = [r.round_trip for r in heard.values() if r.round_trip is not None]
        jitters = [
            r.jitter / self._media[kind].codecs[0][0].clock_rate
            for kind, r in heard.items()
        ]
        packets = sum(s.packets for s in stats)
        return Traffic(
            bytes=sum(s.octets for s in stats) + RTP_HEADER * packets,
            packets=packets,
            lost=sum(max(0, r.packets_lost) for r in heard.values()),
            round_trip=max(round_trips, default=None),
            jitter=max(jitters, default=None),
        )

    def mute(self, kind: Kind, muted: bool) -> None:
        """Send no more of this kind, or send it again; one that it never had is fine."""
        if muted == (kind in self._muted):
            return
        if muted:
            self._muted.add(kind)
        else:
            self._muted.discard(kind)
        viewer = self._viewers.get(kind)
        if viewer is not None:
            self._plane.pause(viewer, muted or self._is_paused)
            if not muted and kind == "video":
                self._tracks.request_picture()

    def _ready(self) -> None:
        for kind, media in self._media.items():
            self._viewers[kind] = self._plane.add_viewer(
                self._id,
                self._tracks.tracks[kind].id,
                payload_type=SILENT,
                ssrc=self._tracks.tracks[kind].sender.ssrc,
                first_sequence=1 + secrets.randbelow(FIRST_SEQUENCES - 1),
                timestamp_offset=secrets.randbelow(TIMESTAMPS),
                extensions=media.extensions,
                rtx_ssrc=self._tracks.tracks[kind].sender.rtx_ssrc,
                catch_up=True,
            )
            if kind in self._muted:
                self._plane.pause(self._viewers[kind], True)
        if self._seen_until and "video" in self._viewers:
            self._tracks.request_picture(self._seen_until)
            now = time.monotonic_ns()
            self._await_picture(now + int(NEW_PICTURE_WITHIN * NANOSECONDS))
        else:
            self.source_changed()
        self._tracks.attach(self)

    def has_seen(self, age: float) -> None:
        """Begin with no key frame that came more than so many seconds ago, while one may come."""
        self._seen_until = time.monotonic_ns() - int(age * NANOSECONDS)

    def _await_picture(self, deadline: int) -> None:
        """Send nothing before there is a new picture, while one may be expected."""
        self._picture_timer = None
        now = time.monotonic_ns()
        is_new = self._tracks.has_picture_since(self._seen_until)
        if "video" not in self._tracks.codecs or is_new or now >= deadline:
            self.source_changed()
            return
        self._picture_timer = self._loop.call_later(
            NEW_PICTURE_LOOK, self._await_picture, deadline
        )

    def _leave(self) -> None:
        if self._picture_timer is not None:
            self._picture_timer.cancel()
            self._picture_timer = None
        self._tracks.detach(self)
        # The plane forgets the viewers of a peer together with the peer.
        self._viewers.clear()

    # What the tracks tell.

    def source_changed(self) -> None:
        """Send what is now being published under the payload type that was agreed for it."""
        if self._picture_timer is not None:
            # It is yet to begin.
            return
        for kind, codec in self._tracks.codecs.items():
            if kind in self._viewers:
                self._set_codec(kind, codec)

    def _set_codec(self, kind: Kind, codec: Codec) -> None:
        agreed = self._media[kind].payload_type_for(codec)
        if agreed is None:
            # The profile that a publisher offers is a promise; its parameter sets will tell.
            known = {offered.name for offered, _, _ in self._media[kind].codecs}
            is_sure = self._tracks.tracks[kind].described.is_set()
            if is_sure or codec.name not in known:
                self.end(
                    f"the stream is now {codec}, which this viewer did not negotiate",
                    "codec_changed",
                )
            return
        payload_type, rtx_payload_type = agreed
        before = self._payload_types.get(kind, SILENT)
        if payload_type == before:
            return
        self._payload_types[kind] = payload_type
        self._plane.set_payload_type(
            self._viewers[kind],
            payload_type,
            SILENT if rtx_payload_type is None else rtx_payload_type,
        )
        if kind == "video" and before != SILENT:
            # Another payload type is another decoder, which begins with a key frame: the
            # plane goes back to the latest if it has it.
            self._tracks.request_picture()

    # What the transport calls.

    def receive_stun(self, data: bytes, path: Path, arrived: int) -> None:
        """Answer a connectivity check, which may be the end of a silence."""
        super().receive_stun(data, path, arrived)
        self._end_pause()

    def receive_rtcp(self, data: bytes, path: Path, arrived: int) -> None:
        """Take in a compound RTCP packet, which may be the end of a silence."""
        super().receive_rtcp(data, path, arrived)
        self._end_pause()

    # Inside.

    def _look(self, silent: float) -> None:
        if silent > self._pause_after and not self._is_paused:
            self._set_paused(True)

    def _end_pause(self) -> None:
        if self._is_paused:
            silent = self._silent(time.monotonic_ns())
            if silent <= self._pause_after:
                self._set_paused(False)
                self._tracks.request_picture()

    def _set_paused(self, paused: bool) -> None:
        self._is_paused = paused
        logger.debug(
            "peer %d: %s", self._id, "paused, it is silent" if paused else "goes on"
        )
        for kind, viewer in self._viewers.items():
            self._plane.pause(viewer, paused or kind in self._muted)

    def _report(self, now: int) -> list[rtcp.Packet]:
        reading = self._tracks.reading(now)
        if reading is None:
            return []
        sent = {k: self._plane.viewer_stats(v) for k, v in self._viewers.items()}
        return self._reports.reports(reading, sent, now)

    def _receive(self, packet: rtcp.Packet, now: int) -> None:
        match packet:
            case rtcp.PictureLoss(media_ssrc=ssrc):
                self._picture_lost(ssrc)
            case rtcp.FullIntraRequest(requests=requests):
                for ssrc, _ in requests:
                    self._picture_lost(ssrc)
            case rtcp.GenericNack(media_ssrc=ssrc, lost=lost):
                kind = self._kind_of(ssrc)
                if kind is not None:
                    self._plane.retransmit(self._viewers[kind], lost)
            case _:
                self._reports.receive(packet, now)

    def _picture_lost(self, ssrc: int) -> None:
        if self._kind_of(ssrc) == "video":
            self._resources.counts.key_frames_wanted += 1
            self._tracks.request_key_frame()

    def _kind_of(self, ssrc: int) -> Kind | None:
        """Which of the viewer's media has this SSRC; retransmissions are none of them."""
        for kind in self._viewers:
            if self._tracks.tracks[kind].sender.ssrc == ssrc:
                return kind
        return None


def sent_media(media: AnsweredMedia) -> SentMedia:
    """What the answer to our offer lets us send."""
    repairs = {repaired: rtx for rtx, repaired in media.rtx.items()}
    first = next(iter(media.codecs))
    return SentMedia(
        mid=media.mid,
        kind=media.kind,
        codecs=tuple(
            (codec, payload_type, repairs.get(payload_type))
            for payload_type, codec in media.codecs.items()
        ),
        extensions={e: number for number, e in media.extensions.items()},
        feedback=media.feedback[first],
    )
