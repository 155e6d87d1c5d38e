"""The peer of a viewer: it is sent the tracks of a stream."""

from __future__ import annotations

import logging
import secrets
import time

from live777py.protocol import rtcp
from live777py.protocol.codecs import Codec, Kind
from live777py.relay.seam import Path, ViewerId
from live777py.rtc.negotiation import (
    LocalParameters,
    RemoteParameters,
    SentMedia,
    answer_viewer,
)
from live777py.rtc.peer import Resources, RtcPeer
from live777py.rtc.reports import ViewerReports
from live777py.rtc.tracks import StreamTracks

logger = logging.getLogger(__name__)

#: A payload type that is none: nothing is sent.
SILENT = -1

#: First sequence numbers lie below this, so that a loss right at the start cannot make the
#: receiver guess a wrong roll-over counter (RFC 3711 section 3.3.1).
FIRST_SEQUENCES = 1 << 15

TIMESTAMPS = 1 << 32

#: A viewer that was not heard of for this part of the idle timeout is sent nothing: its
#: network or the viewer itself is gone, and what is sent there may be in others' way.
PAUSE_AFTER = 0.25

#: But never sooner than this, in seconds: receivers may report as seldom as every five.
LEAST_PAUSE = 6.0


class Viewer(RtcPeer):
    """Sends media, again what was lost; passes wishes for key frames on, reports."""

    def __init__(self, resources: Resources, tracks: StreamTracks) -> None:
        super().__init__(resources, tracks)
        self._media: dict[Kind, SentMedia] = {}
        self._viewers: dict[Kind, ViewerId] = {}
        self._payload_types: dict[Kind, int] = {}
        self._is_paused = False
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
        self.source_changed()
        self._tracks.attach(self)

    def _leave(self) -> None:
        self._tracks.detach(self)
        # The plane forgets the viewers of a peer together with the peer.
        self._viewers.clear()

    # What the tracks tell.

    def source_changed(self) -> None:
        """Send what is now being published under the payload type that was agreed for it."""
        for kind, codec in self._tracks.codecs.items():
            if kind in self._viewers:
                self._set_codec(kind, codec)

    def _set_codec(self, kind: Kind, codec: Codec) -> None:
        agreed = self._media[kind].payload_type_for(codec)
        if agreed is None:
            # What a publisher offers is a promise; its parameter sets will tell.
            if self._tracks.tracks[kind].described.is_set():
                self.end(
                    f"the stream is now {codec}, which this viewer did not negotiate"
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
        for viewer in self._viewers.values():
            self._plane.pause(viewer, paused)

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
            self._tracks.request_key_frame()

    def _kind_of(self, ssrc: int) -> Kind | None:
        """Which of the viewer's media has this SSRC; retransmissions are none of them."""
        for kind in self._viewers:
            if self._tracks.tracks[kind].sender.ssrc == ssrc:
                return kind
        return None
