"""One published stream: a clip in a loop, at its own pace, to any WHIP server."""

from __future__ import annotations

import asyncio
import random
import time
from urllib.parse import urlsplit

from live777py.clients.sdp_session import SdpSession
from live777py.clients.whip import WhipClient
from live777py.loadtest.playback import Prepared, SentTrack
from live777py.protocol import rtcp
from live777py.protocol.codecs import Kind
from live777py.protocol.rtcp import (
    FullIntraRequest,
    GenericNack,
    PictureLoss,
    SenderReport,
    SourceDescription,
)
from live777py.protocol.rtp import Malformed, ntp_from_unix_ns
from live777py.rtc.dtls import Certificate
from live777py.rtc.outgoing import ConnectFailed, OutgoingPeer
from live777py.rtc.outgoing_offer import OutgoingMedia

#: Seconds between sender reports, and at least between key frames that are asked for.
_REPORT_INTERVAL = 1.0
_KEY_INTERVAL = 0.5

#: Retransmissions for one NACK packet.
_MAX_RETRANSMISSIONS = 256


class Publisher:
    """One stream that is published; `connect`, then `run` until cancelled, then `leave`.

    Attributes:
        tracks: by kind, what was sent.
        retransmitted: packets that the server asked for again.
        key_frames_asked: how often the server asked for a key frame.
        latest: the longest that a picture was sent after its time, in seconds.
    """

    def __init__(
        self,
        url: str,
        number: int,
        clip: Prepared,
        *,
        certificate: Certificate,
        hosts: list[str] | None,
        seed: int,
    ) -> None:
        self.url = url
        self.number = number
        self.retransmitted = 0
        self.key_frames_asked = 0
        self.latest = 0.0
        generator = random.Random(f"{seed} {number}")  # noqa: S311 - no secret
        self.tracks: dict[Kind, SentTrack] = {
            track.codec.kind: SentTrack(
                track,
                stream=number,
                ssrc=generator.randrange(1, 1 << 31),
                rtx_ssrc=generator.randrange(1 << 31, 1 << 32),
                generator=generator,
            )
            for track in clip.tracks
        }
        media = [
            OutgoingMedia(kind, (track.codec,), track.ssrc, track.rtx_ssrc)
            for kind, track in self.tracks.items()
        ]
        self._peer = OutgoingPeer(
            media,
            certificate=certificate,
            target=urlsplit(url).hostname or "",
            hosts=hosts,
            cname=f"loadtest-{number}",
            on_rtcp=self._receive_rtcp,
        )
        self._session: SdpSession | None = None
        self._last_key = 0.0

    async def connect(self, client: WhipClient, timeout: float) -> None:
        """Publish.

        Raises:
            Refused, Unreachable: by HTTP.
            InvalidAnswer, ConnectFailed: by WebRTC.
        """
        offer = await self._peer.offer()
        self._session = await client.post(self.url, offer)
        answer = await self._peer.connect(self._session.answer, timeout=timeout)
        for kind, track in list(self.tracks.items()):
            section = answer.section(kind)
            if section is None or not section.codecs:
                del self.tracks[kind]
                continue
            track.payload_type = next(iter(section.codecs))
            track.rtx_payload_type = next(
                (rtx for rtx, pt in section.rtx.items() if pt == track.payload_type),
                None,
            )
        if not self.tracks:
            raise ConnectFailed(f"{self.url} takes nothing of what is published")

    async def run(self, delay: float = 0.0) -> None:
        """Send in a loop until the server ends the session.

        Args:
            delay: seconds to wait first, so that several streams do not send in step.
        """
        begin = time.monotonic() + delay
        next_report = begin
        tracks = list(self.tracks.values())
        while not self._peer.is_closed:
            track = min(tracks, key=lambda track: track.due)
            wait = begin + track.due - time.monotonic()
            # Others get their turn also when we are late.
            await asyncio.sleep(max(wait, 0))
            late = time.monotonic() - begin - track.due
            self.latest = max(self.latest, late)
            frame, packets = track.next_sample()
            for packet in packets:
                self._peer.send_rtp(packet)
            frame.sent = time.time_ns()
            if time.monotonic() >= next_report:
                next_report = time.monotonic() + _REPORT_INTERVAL
                self._report(tracks)

    async def leave(self, client: WhipClient) -> None:
        """End the session and close."""
        if self._session is not None:
            await client.delete(self._session)
            self._session = None
        await self._peer.aclose()

    @property
    def is_gone(self) -> bool:
        """Whether the connection has ended, by whichever side."""
        return self._peer.is_closed

    @property
    def packets(self) -> int:
        """Sent so far."""
        return sum(track.packets for track in self.tracks.values())

    def _report(self, tracks: list[SentTrack]) -> None:
        now = ntp_from_unix_ns(time.time_ns())
        for track in tracks:
            report = SenderReport(
                track.ssrc,
                now,
                track.timestamp,
                track.packets & 0xFFFFFFFF,
                track.octets & 0xFFFFFFFF,
            )
            name = SourceDescription.named(f"loadtest-{self.number}", track.ssrc)
            self._peer.send_rtcp(rtcp.compound(report, name))

    def _receive_rtcp(self, data: bytes) -> None:
        try:
            packets = rtcp.parse(data)
        except Malformed:
            return
        for packet in packets:
            match packet:
                case GenericNack(media_ssrc=ssrc, lost=lost):
                    self._retransmit(ssrc, lost)
                case PictureLoss() | FullIntraRequest():
                    self._key_frame_asked()
                case _:
                    pass

    def _retransmit(self, ssrc: int, lost: tuple[int, ...]) -> None:
        for track in self.tracks.values():
            if track.ssrc != ssrc:
                continue
            for sequence in lost[:_MAX_RETRANSMISSIONS]:
                packet = track.retransmission(sequence)
                if packet is not None:
                    self._peer.send_rtp(packet)
                    self.retransmitted += 1

    def _key_frame_asked(self) -> None:
        self.key_frames_asked += 1
        now = time.monotonic()
        video = self.tracks.get("video")
        if video is not None and now - self._last_key >= _KEY_INTERVAL:
            self._last_key = now
            video.want_key_frame()
