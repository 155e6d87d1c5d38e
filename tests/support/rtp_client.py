"""A WHIP or WHEP client below the codecs: any offer, any RTP packets, as bytes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from aioice import Candidate
from aioice.ice import StunProtocol
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)
from aiortc.rtcicetransport import (
    RTCIceGatherer,
    RTCIceParameters,
    RTCIceTransport,
)

from live777py.protocol import rtcp, rtp
from live777py.protocol.rtcp import Packet
from live777py.protocol.rtp import Malformed, RtpPacket
from tests.support.loopback import loopback_only
from tests.support.offers import OfferedMedia, ParsedAnswer, parse_answer, write_offer
from tests.support.signalling import Signalling

#: One key for all clients of a process: making it takes longer than a handshake.
_certificate: list[RTCCertificate] = []


def certificate() -> RTCCertificate:
    """The certificate of the clients in this process."""
    if not _certificate:
        _certificate.append(RTCCertificate.generateCertificate())
    return _certificate[0]


class _Dtls(RTCDtlsTransport):
    """aiortc's DTLS-SRTP, with decrypted packets going to callbacks."""

    def __init__(self, ice: RTCIceTransport, client: RtpClient) -> None:
        super().__init__(ice, [certificate()])
        self._client = client

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self._client.take_rtp(data)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        self._client.take_rtcp(data)


class RtpClient:
    """Publishes or watches with hand-made SDP.

    `async with RtpClient(url, media, direction=…) as client:` posts the offer, connects
    and, on leaving, deletes the session. `vanish` leaves without a word instead.

    Attributes:
        answer: what the server answered.
        rtp: decrypted packets in the order of their arrival.
        rtcp: RTCP packets in the order of their arrival.
        closed: set when the server has ended the DTLS association.
    """

    def __init__(
        self,
        url: str,
        media: Iterable[OfferedMedia],
        *,
        direction: str,
        setup: str = "actpass",
        edit_offer: Callable[[str], str] = lambda offer: offer,
        with_candidates: bool = True,
    ) -> None:
        self.signalling = Signalling(url)
        self.answer: ParsedAnswer
        self.answer_text = ""
        self.rtp: list[RtpPacket] = []
        self.rtcp: list[Packet] = []
        self.closed = asyncio.Event()
        self.malformed = 0
        self._media = tuple(media)
        self._direction = direction
        self._setup = setup
        self._edit_offer = edit_offer
        self._with_candidates = with_candidates
        self._changed = asyncio.Event()
        gatherer = RTCIceGatherer(iceServers=[])
        self._ice = RTCIceTransport(gatherer)
        self._ice._connection.ice_controlling = True
        self._dtls = _Dtls(self._ice, self)
        self._has_left = False

    @classmethod
    def publisher(cls, url: str, *media: OfferedMedia, setup: str = "actpass") -> Self:
        """A client that sends."""
        return cls(url, media, direction="sendonly", setup=setup)

    @classmethod
    def viewer(cls, url: str, *media: OfferedMedia, setup: str = "actpass") -> Self:
        """A client that receives."""
        return cls(url, media, direction="recvonly", setup=setup)

    async def __aenter__(self) -> Self:
        try:
            await self.post()
            await self.connect()
        except BaseException:
            await self.vanish()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def post(self) -> None:
        """Gather, post the offer, read the answer.

        Raises:
            Refused: the server did not answer 201.
        """
        with loopback_only():
            await self._ice.iceGatherer.gather()
        connection = self._ice._connection
        fingerprint = certificate().getFingerprints()[0]
        candidates = [c.to_sdp() for c in connection.local_candidates]
        offer = write_offer(
            self._media,
            direction=self._direction,
            ufrag=connection.local_username,
            password=connection.local_password,
            fingerprint=f"{fingerprint.algorithm} {fingerprint.value}",
            setup=self._setup,
            candidates=candidates if self._with_candidates else (),
        )
        self.answer_text = await self.signalling.post(self._edit_offer(offer))
        self.answer = parse_answer(self.answer_text)

    async def connect(self, timeout: float = 20.0) -> None:
        """Do ICE and DTLS with what the answer says.

        Raises:
            ConnectionError: one of them failed.
            TimeoutError: one of them took too long.
        """
        answer = self.answer
        async with asyncio.timeout(timeout):
            for text in answer.candidates:
                candidate = Candidate.from_sdp(text)
                await self._ice._connection.add_remote_candidate(candidate)
            await self._ice._connection.add_remote_candidate(None)
            await self._ice.start(
                RTCIceParameters(
                    usernameFragment=answer.ufrag,
                    password=answer.password,
                    iceLite=answer.is_lite,
                )
            )
            if self._ice.state != "completed":
                raise ConnectionError("no connectivity check was answered")
            self._dtls._set_role("server" if answer.setup == "active" else "client")
            self._dtls.on("statechange", self._state_changed)
            fingerprints = [RTCDtlsFingerprint(a, v) for a, v in answer.fingerprints]
            await self._dtls.start(RTCDtlsParameters(fingerprints=fingerprints))
        if self._dtls.state != "connected":
            raise ConnectionError("the DTLS handshake failed")
        # Room for what comes while this process stands still.
        transport = self.pair_protocol.transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)

    def _state_changed(self) -> None:
        if self._dtls.state == "closed" and not self._has_left:
            self.closed.set()

    async def aclose(self) -> None:
        """DELETE the session, then close; does nothing a second time."""
        if self._has_left:
            return
        try:
            if self.signalling.location is not None and not self.closed.is_set():
                await self.signalling.delete()
        finally:
            # Whoever is cancelled meanwhile leaves no socket behind.
            await self._close(goodbye=True)

    async def vanish(self) -> None:
        """Close the socket without DELETE or close_notify."""
        await self._close(goodbye=False)

    async def _close(self, *, goodbye: bool) -> None:
        if self._has_left:
            return
        self._has_left = True
        if not goodbye:
            self._dtls._ssl = None
        try:
            await self._dtls.stop()
            await self._ice.stop()
        finally:
            await self._ice._connection.close()

    # Media.

    @property
    def local_port(self) -> int:
        """The UDP port that this client sends from."""
        return self.pair_protocol.local_candidate.port

    @property
    def pair_protocol(self) -> StunProtocol:
        """aioice's protocol object of the nominated pair."""
        return self._ice._connection._nominated[1].protocol

    @property
    def remote_address(self) -> tuple[str, int]:
        """Where the server is."""
        return self._ice._connection._nominated[1].remote_addr

    async def send_rtp(self, *packets: bytes) -> None:
        """Encrypt and send RTP packets."""
        for packet in packets:
            await self._dtls._send_rtp(packet)

    def protect(self, packet: bytes) -> bytes:
        """Encrypt an RTP packet, to be sent by `send_datagram` as often as one likes."""
        session = self._dtls._tx_srtp
        assert session is not None
        return session.protect(packet)

    async def send_datagram(self, data: bytes) -> None:
        """Send what is encrypted already."""
        await self._ice._send(data)

    async def send_rtcp(self, *packets: Packet) -> None:
        """Encrypt and send one compound RTCP packet."""
        await self._dtls._send_rtp(rtcp.compound(*packets))

    def take_rtp(self, data: bytes) -> None:
        """A decrypted RTP packet has come."""
        try:
            self.rtp.append(rtp.parse(data))
        except Malformed:
            self.malformed += 1
        self._changed.set()

    def take_rtcp(self, data: bytes) -> None:
        """A decrypted RTCP packet has come."""
        try:
            self.rtcp += rtcp.parse(data)
        except Malformed:
            self.malformed += 1
        self._changed.set()

    def rtp_of(self, kind: str) -> list[RtpPacket]:
        """What came of the SSRC that the answer announced first for a kind."""
        ssrc = self.answer.section(kind).ssrcs[0]
        return [packet for packet in self.rtp if packet.ssrc == ssrc]

    def rtcp_of(self, *types: type[Packet]) -> Sequence[Packet]:
        """What came of some types of RTCP packet."""
        return [packet for packet in self.rtcp if isinstance(packet, types)]

    async def until(
        self, condition: Callable[[], object], timeout: float = 20.0
    ) -> None:
        """Wait until `condition()` is true; it is looked at after every packet.

        Raises:
            TimeoutError: it did not become true.
        """
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()
