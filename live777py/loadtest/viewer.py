"""One viewer: joins by WHEP like any player, then counts what comes.

RTP headers are in clear, so nearly all packets are only counted. The first ones are decrypted,
until a key frame has been seen and a payload has been recognised as one that we published: that
tells the constant distance between the stream's timestamps here and there, which many servers
change, and from then on the end of a frame is known by its timestamp alone. After that one
viewer at a time is decrypted, in turn, and its payloads are compared with what was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from live777py.clients.sdp_session import SdpSession
from live777py.clients.whep import WhepClient
from live777py.loadtest.playback import SentTrack
from live777py.loadtest.publisher import Publisher
from live777py.loadtest.received import Received
from live777py.loadtest.samples import Histogram
from live777py.loadtest.sockets import SLOT, Batch, SocketLoop
from live777py.protocol import rtcp, rtp
from live777py.protocol.codecs import Codec
from live777py.protocol.parameter_sets import inspect
from live777py.protocol.rtcp import GenericNack, ReceiverReport, ReportBlock
from live777py.rtc.dtls import Certificate
from live777py.rtc.outgoing import OutgoingPeer
from live777py.rtc.watched import watched

_HEADER = struct.Struct("!BHII")

#: Packets looked at for a key frame and a payload of ours, before we give up.
_MAX_LOOKS = 20_000

#: A source that is not looked at is decrypted once in so many numbers, so that libsrtp keeps
#: count of their roll-overs.
_TOUCH = 8192

#: Sources of one viewer; a server has one or two for each section.
_MAX_SOURCES = 16

#: Seconds after which a missing packet is asked for again, and after which it is given up.
_ASK_AGAIN = 0.05
RECOVERY_LIMIT = 1.0

#: Packets that may be missing at once.
_MAX_MISSING = 4096


class Measurement:
    """What all viewers measure together.

    Attributes:
        is_on: whether latencies are noted at present.
        latency: of frames.
        recovery: of packets that `--loss` took, from the loss to the arrival of another copy.
        dropped: packets that `--loss` took.
    """

    def __init__(self, loss: float, seed: int) -> None:
        self.is_on = False
        self.loss = loss
        self.random: Callable[[], float] = random.Random(seed).random  # noqa: S311 - no secret
        self.latency = Histogram()
        self.recovery = Histogram()
        self.within_200ms = 0
        self.within_1s = 0
        self.dropped = 0


class Source:
    """One SSRC at one viewer.

    Attributes:
        look_from: packets from this number on are decrypted and looked at.
        sent: the track of ours that it carries; None for what others publish.
        offset: its timestamps minus those that we sent; None until known.
        anchor: the number of a packet here and the number it was sent with.
        jitter: of RFC 3550, in seconds.
    """

    __slots__ = (
        "anchor",
        "codec",
        "is_timed",
        "jitter",
        "last_latency",
        "look_from",
        "looks",
        "offset",
        "received",
        "repairs",
        "sent",
        "ssrc",
    )

    def __init__(
        self, ssrc: int, sequence: int, codec: Codec | None, sent: SentTrack | None
    ) -> None:
        self.ssrc = ssrc
        self.codec = codec
        self.sent = sent
        self.received = Received(sequence)
        self.is_timed = codec is not None and codec.kind == "video"
        #: The source that this one retransmits, by RTX.
        self.repairs: int | None = None
        self.look_from = 0
        self.looks = 0
        self.offset: int | None = None
        self.anchor: tuple[int, int] | None = None
        self.jitter = 0.0
        self.last_latency: float | None = None


class Viewer:
    """One viewer; `join`, and in the end `leave`.

    Attributes:
        posted, connected, first_packet, first_key_frame: of `time.time_ns()`; 0 before.
        verified, altered: payloads that were as sent, and that were not.
        undecryptable: packets that could not be decrypted.
    """

    def __init__(
        self,
        url: str,
        publisher: Publisher | None,
        measurement: Measurement,
        *,
        certificate: Certificate,
        hosts: list[str] | None,
    ) -> None:
        self.url = url
        self.publisher = publisher
        self.posted = 0
        self.connected = 0
        self.first_packet = 0
        self.first_key_frame = 0
        self.verified = 0
        self.altered = 0
        self.undecryptable = 0
        self.sources: dict[int, Source] = {}
        self._measurement = measurement
        self._peer = OutgoingPeer(
            watched(),
            certificate=certificate,
            target=urlsplit(url).hostname or "",
            hosts=hosts,
            on_rtcp=lambda _data: None,
        )
        self._session: SdpSession | None = None
        self._socket: socket.socket | None = None
        self._back: Callable[[bytes], None] = lambda _data: None
        self._codecs: dict[int, Codec] = {}
        self._rtx: dict[int, int] = {}
        self._rtx_ssrcs: dict[int, int] = {}
        self._is_sampled = False
        self._key_timestamp: int | None = None
        self._expected_before = 0
        self._missing: dict[tuple[int, int], list[float]] = {}
        self._to_ask: dict[int, list[int]] = {}
        self._ssrc = random.Random(id(self)).randrange(1, 1 << 32)  # noqa: S311 - no secret

    async def join(self, client: WhepClient, loop: SocketLoop, timeout: float) -> None:
        """Connect, then have `loop` read the socket.

        Raises:
            Refused, Unreachable: by HTTP.
            InvalidAnswer, ConnectFailed: by WebRTC.
        """
        offer = await self._peer.offer()
        self.posted = time.time_ns()
        if self.publisher is not None:
            self._expected_before = self.publisher.packets
        self._session = await client.post(self.url, offer)
        answer = await self._peer.connect(self._session.answer, timeout=timeout)
        for section in answer.media:
            self._codecs |= section.codecs
            self._rtx |= section.rtx
            self._rtx_ssrcs |= section.rtx_ssrcs
        detached = self._peer.detach()
        self.connected = time.time_ns()
        self._socket, self._back = detached.socket, detached.receive
        loop.add(detached.socket, self)

    async def leave(self, client: WhepClient, loop: SocketLoop) -> None:
        """End the session and close."""
        if self._socket is not None:
            loop.remove(self._socket)
            self._socket.close()
            self._socket = None
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
        """Different media packets that came."""
        return sum(source.received.packets for source in self._media)

    @property
    def octets(self) -> int:
        """Bytes of all media packets that came, retransmissions too."""
        return sum(source.received.bytes for source in self.sources.values())

    @property
    def expected(self) -> int:
        """Packets that should have come: by what was sent, or by their numbers."""
        if not self.sources:
            sent = 0 if self.publisher is None else self.publisher.packets
            return max(sent - self._expected_before, 1)
        return sum(map(_expected, self._media))

    @property
    def jitter(self) -> float | None:
        """Of the frames' arrival, in seconds; None when that could not be measured."""
        return next(
            (s.jitter for s in self._media if s.is_timed and s.offset is not None), None
        )

    @property
    def _media(self) -> list[Source]:
        return [s for s in self.sources.values() if s.repairs is None]

    def sample(self, is_sampled: bool) -> None:
        """Decrypt and compare every packet from now on, or no longer."""
        self._is_sampled = is_sampled
        for source in self.sources.values():
            if is_sampled:
                source.look_from = 0
            elif self._has_seen_enough(source):
                source.look_from = source.received.highest + _TOUCH

    def take(self, batch: Batch, index: int, size: int) -> None:
        """A datagram has come."""
        buffer = batch.buffer
        offset = SLOT * index
        if size < 12 or not 128 <= buffer[offset] < 192:
            if size:
                self._back(bytes(buffer[offset : offset + size]))
            return
        second, sequence, timestamp, ssrc = _HEADER.unpack_from(buffer, offset + 1)
        if 192 <= second <= 223:
            self._back(bytes(buffer[offset : offset + size]))
            return
        source = self.sources.get(ssrc)
        if source is None:
            source = self._new_source(batch, index, ssrc, second & 127, sequence)
            if source is None:
                return
        measurement = self._measurement
        if measurement.loss and self._is_lost(source, sequence):
            return
        received = source.received
        received.take(sequence, size)
        if source.repairs is not None:
            self._repair(source, bytes(buffer[offset : offset + size]))
            return
        if received.highest >= source.look_from:
            self._look(source, bytes(buffer[offset : offset + size]))
        if second > 127 and source.is_timed:
            self._end_of_frame(source, timestamp, batch.arrival(index))

    def report(self) -> None:
        """Tell the server what came, as players do."""
        blocks = tuple(
            ReportBlock(
                source.ssrc,
                0,
                min(max(source.received.lost, 0), 0x7FFFFF),
                source.received.highest,
                round(source.jitter * source.codec.clock_rate) if source.codec else 0,
            )
            for source in self._media
        )
        self._send_rtcp(bytes(ReceiverReport(self._ssrc, blocks[:31])))

    def ask_again(self) -> None:
        """Ask once more for what has been missing for a while; give up what is too old."""
        now = time.monotonic()
        for (ssrc, sequence), times in list(self._missing.items()):
            if now - times[0] > RECOVERY_LIMIT:
                del self._missing[ssrc, sequence]
            elif now - times[1] >= _ASK_AGAIN:
                times[1] = now
                self._ask(ssrc, sequence)

    # The way of a packet.

    def _new_source(
        self, batch: Batch, index: int, ssrc: int, payload_type: int, sequence: int
    ) -> Source | None:
        if len(self.sources) >= _MAX_SOURCES:
            return None
        repaired = self._rtx.get(payload_type)
        codec = self._codecs.get(payload_type if repaired is None else repaired)
        sent = None
        if codec is not None and self.publisher is not None:
            sent = self.publisher.tracks.get(codec.kind)
        source = Source(ssrc, sequence, codec, sent)
        if repaired is not None:
            source.repairs = self._rtx_ssrcs.get(ssrc, self._media_ssrc(codec))
        elif not self.first_packet:
            self.first_packet = batch.arrival(index)
        self.sources[ssrc] = source
        return source

    def _media_ssrc(self, codec: Codec | None) -> int:
        return next((s.ssrc for s in self._media if s.codec == codec), -1)

    def _look(self, source: Source, data: bytes) -> None:
        source.looks += 1
        plain = self._peer.unprotect_rtp(data)
        try:
            packet = None if plain is None else rtp.parse(plain)
        except rtp.Malformed:
            packet = None
        if packet is None:
            # A second copy is no fault: libsrtp takes every number once.
            self.undecryptable += not source.received.duplicates
        elif packet.payload and source.codec is not None:
            self._compare(source, packet)
            if (
                not self.first_key_frame
                and self._key_timestamp is None
                and inspect(source.codec.format, packet.payload) is not None
            ):
                self._key_timestamp = packet.timestamp
        if not self._is_sampled and self._has_seen_enough(source):
            source.look_from = source.received.highest + _TOUCH

    def _compare(self, source: Source, packet: rtp.RtpPacket) -> None:
        sent = source.sent
        if sent is None:
            return
        if sent.is_known(packet.payload):
            self.verified += 1
        else:
            self.altered += 1
        if source.offset is None:
            frame = sent.frame_of(packet.payload)
            if frame is not None:
                source.offset = (packet.timestamp - frame.timestamp) % rtp.TIMESTAMPS
                here = rtp.extend_sequence(packet.sequence, source.received.highest)
                source.anchor = here, frame.sequence

    def _has_seen_enough(self, source: Source) -> bool:
        if source.looks >= _MAX_LOOKS:
            return True
        is_matched = source.sent is None or source.offset is not None
        return is_matched and (bool(self.first_key_frame) or not source.is_timed)

    def _end_of_frame(self, source: Source, timestamp: int, arrival: int) -> None:
        if timestamp == self._key_timestamp and not self.first_key_frame:
            self.first_key_frame = arrival
        if source.offset is None or source.sent is None:
            return
        frame = source.sent.frame((timestamp - source.offset) % rtp.TIMESTAMPS)
        # What a server keeps for those who join was sent before they came.
        if frame is None or frame.sent < self.first_packet:
            return
        latency = (arrival - frame.sent) / 1e9
        if source.last_latency is not None:
            change = abs(latency - source.last_latency)
            source.jitter += (change - source.jitter) / 16
        source.last_latency = latency
        if self._measurement.is_on:
            self._measurement.latency.add(latency)

    # Losses that we make.

    def _is_lost(self, source: Source, sequence: int) -> bool:
        measurement = self._measurement
        key = source.ssrc, sequence
        if measurement.random() < measurement.loss:
            # A retransmission by RTX that is lost is asked for again under its own number.
            is_new = key not in self._missing and not source.received.has(sequence)
            if is_new and source.repairs is None and len(self._missing) < _MAX_MISSING:
                now = time.monotonic()
                self._missing[key] = [now, now]
                measurement.dropped += 1
                self._ask(*key)
            return True
        if key in self._missing:
            self._recovered(key)
        return False

    def _recovered(self, key: tuple[int, int]) -> None:
        times = self._missing.pop(key, None)
        if times is not None:
            seconds = time.monotonic() - times[0]
            measurement = self._measurement
            measurement.recovery.add(seconds)
            measurement.within_200ms += seconds <= 0.2
            measurement.within_1s += seconds <= RECOVERY_LIMIT

    def _repair(self, source: Source, data: bytes) -> None:
        """Take what came by RTX: its payload begins with the number it had (RFC 4588)."""
        plain = self._peer.unprotect_rtp(data)
        try:
            packet = None if plain is None else rtp.parse(plain)
        except rtp.Malformed:
            packet = None
        if packet is None or source.repairs is None or len(packet.payload) < 2:
            return
        repaired = self.sources.get(source.repairs)
        if repaired is not None:
            sequence = int.from_bytes(packet.payload[:2])
            repaired.received.take(sequence, 0)
            self._recovered((source.repairs, sequence))

    def _ask(self, ssrc: int, sequence: int) -> None:
        if not self._to_ask:
            # All that is missing in this round is asked for in one packet.
            asyncio.get_running_loop().call_soon(self._send_nacks)
        self._to_ask.setdefault(ssrc, []).append(sequence)

    def _send_nacks(self) -> None:
        asked, self._to_ask = self._to_ask, {}
        for ssrc, lost in asked.items():
            nack = GenericNack(self._ssrc, ssrc, tuple(lost))
            self._send_rtcp(rtcp.compound(ReceiverReport(self._ssrc), nack))

    def _send_rtcp(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._peer.send_rtcp(data)


def _expected(source: Source) -> int:
    received = source.received
    if source.sent is None or source.anchor is None:
        return received.highest - received.first + 1
    here, there = source.anchor
    return max(here - received.first, 0) + source.sent.next_sequence - there
