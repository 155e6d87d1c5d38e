"""A peer with real ICE, DTLS and media: what connects where a check needs it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
import time
from typing import Protocol
from urllib.parse import urlsplit

from live777py.conformance.fragments import Fragment
from live777py.conformance.model import Side
from live777py.protocol.codecs import Codec
from live777py.rtc.dtls import Certificate
from live777py.rtc.full_ice import Credentials
from live777py.rtc.outgoing import ConnectFailed, OutgoingPeer, is_loopback
from live777py.rtc.outgoing_offer import OutgoingMedia
from live777py.rtc.watched import watched

OPUS = Codec("audio", "opus", 48_000, 2, (("minptime", "10"), ("useinbandfec", "1")))
H264 = Codec(
    "video",
    "H264",
    90_000,
    parameters=(
        ("level-asymmetry-allowed", "1"),
        ("packetization-mode", "1"),
        ("profile-level-id", "42e01f"),
    ),
)

#: One grey picture of 64 by 64 pixels, made by x264: parameter sets and an IDR slice.
_PICTURE = tuple(
    bytes.fromhex(unit)
    for unit in (
        "6742c00ada109a1000000300100000030148f1226a",
        "68ce0fc8",
        "65888404bc9c9c9c9d75d75d75d75d75d75e",
    )
)
#: 20 ms of silence (RFC 6716 section 3.1: SILK, one frame, discontinuous).
_SILENCE = bytes.fromhex("f8fffe")

#: Seconds between packets of sound, and how many of them go with one picture.
_STEP = 0.02
_PER_PICTURE = 5

_HEADER = struct.Struct("!BBHII")


class Peer(Protocol):
    """What the checks ask of a peer; its sockets belong to it until `aclose`."""

    @property
    def packets(self) -> int:
        """Media packets received so far."""

    async def offer(self) -> str:
        """Gather candidates and write the offer."""

    async def connect(self, answer: str) -> None:
        """Connect, and begin to send if there is something to publish.

        Raises:
            CannotConnect: with the reason.
        """

    async def restart(self, local: Credentials, remote: Fragment) -> None:
        """Go over to new ICE credentials.

        Raises:
            CannotConnect: with the reason.
        """

    async def closed(self) -> str:
        """Wait until the other side has ended the connection; returns the reason."""

    async def vanish(self) -> None:
        """Close without a word, as when a cable is pulled."""

    async def aclose(self) -> None:
        """Say goodbye by DTLS and close; does nothing a second time."""


class Peers(Protocol):
    """Makes peers."""

    def __call__(self, side: Side, url: str) -> Peer:
        """A new peer for an endpoint."""


class CannotConnect(Exception):
    """There is no connection, and why."""


class RealPeers:
    """Makes real peers, all with one certificate."""

    def __init__(self) -> None:
        self._certificate = Certificate.generate()

    def __call__(self, side: Side, url: str) -> RealPeer:
        """A new peer for an endpoint."""
        return RealPeer(side, url, self._certificate)


class RealPeer:
    """A peer that publishes a grey picture and silence, or that watches."""

    def __init__(self, side: Side, url: str, certificate: Certificate) -> None:
        self._packets = 0
        self._ssrc = secrets.randbelow(1 << 31) | 1
        host = urlsplit(url).hostname or ""
        media = (
            (
                OutgoingMedia("audio", (OPUS,), self._ssrc),
                OutgoingMedia("video", (H264,), self._ssrc ^ 0x40000000),
            )
            if side == "whip"
            else watched(("audio", "video"))
        )
        self._peer = OutgoingPeer(
            media,
            certificate=certificate,
            target=host,
            hosts=_loopback(host),
            cname="conformance",
            on_rtp=self._count,
            on_rtcp=lambda _data: None,
        )
        self._sender: _Sender | None = None
        self._publishes = side == "whip"

    @property
    def packets(self) -> int:
        """Media packets received so far."""
        return self._packets

    async def offer(self) -> str:
        """Gather candidates and write the offer."""
        return await self._peer.offer()

    async def connect(self, answer: str) -> None:
        """Connect, and begin to send if there is something to publish."""
        try:
            read = await self._peer.connect(answer, timeout=8.0)
        except Exception as error:
            # The answer is somebody else's, and anything may be wrong with it.
            raise CannotConnect(str(error) or type(error).__name__) from error
        if self._publishes:
            types = {m.kind: next(iter(m.codecs), None) for m in read.media}
            self._sender = _Sender(
                self._peer, self._ssrc, types.get("audio"), types.get("video")
            )

    async def restart(self, local: Credentials, remote: Fragment) -> None:
        """Go over to new ICE credentials."""
        usable = [c for c in remote.candidates if c.is_usable and c.port]
        try:
            await self._peer.restart(
                local, (remote.ufrag or "", remote.pwd or ""), usable
            )
        except ConnectFailed as error:
            raise CannotConnect(str(error)) from error

    async def closed(self) -> str:
        """Wait until the other side has ended the connection; returns the reason."""
        return await self._peer.closed()

    async def vanish(self) -> None:
        """Close without a word, as when a cable is pulled."""
        self._stop()
        await self._peer.aclose(goodbye=False)

    async def aclose(self) -> None:
        """Say goodbye by DTLS and close; does nothing a second time."""
        self._stop()
        await self._peer.aclose()

    def _count(self, _packet: bytes) -> None:
        self._packets += 1

    def _stop(self) -> None:
        if self._sender is not None:
            self._sender.stop()
            self._sender = None


class _Sender:
    """Sends sound fifty times a second and a picture ten times, by timers of the loop."""

    def __init__(
        self, peer: OutgoingPeer, ssrc: int, audio: int | None, video: int | None
    ) -> None:
        self._peer = peer
        self._ssrc = ssrc
        self._audio = audio
        self._video = video
        self._turn = 0
        self._sequences = [secrets.randbelow(1 << 15), secrets.randbelow(1 << 15)]
        self._begin = time.monotonic()
        self._timer = asyncio.get_running_loop().call_soon(self._send)

    def stop(self) -> None:
        self._timer.cancel()

    def _send(self) -> None:
        if self._audio is not None:
            self._packet(0, self._audio, self._turn * 960, _SILENCE, marker=False)
        if self._video is not None and self._turn % _PER_PICTURE == 0:
            for unit in _PICTURE:
                ticks = self._turn * 1800
                self._packet(1, self._video, ticks, unit, marker=unit is _PICTURE[-1])
        self._turn += 1
        due = self._begin + self._turn * _STEP - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(due, 0), self._send)

    def _packet(
        self, track: int, payload_type: int, ticks: int, payload: bytes, *, marker: bool
    ) -> None:
        number = self._sequences[track] = (self._sequences[track] + 1) & 0xFFFF
        ssrc = self._ssrc ^ (0x40000000 if track else 0)
        second = payload_type | (0x80 if marker else 0)
        head = _HEADER.pack(0x80, second, number, ticks & 0xFFFFFFFF, ssrc)
        with contextlib.suppress(OSError):
            self._peer.send_rtp(head + payload)


def _loopback(host: str) -> list[str] | None:
    """To a server on this machine only its own address leads; elsewhere all of ours may."""
    if not is_loopback(host):
        return None
    return ["127.0.0.1" if host.lower() == "localhost" else host]
