"""Viewers for load below the load test: any offer, sockets read by the load test's loop.

Once connected, a viewer's socket is taken from asyncio and read in batches, shared by
all viewers of the process; nothing is decrypted. STUN and DTLS go back to aioice, so
consent and the end of a session work as ever.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import Any

from live777py.loadtest.received import Received
from live777py.loadtest.sockets import REST, SLOT, Batch, SocketLoop
from tests.support.offers import OfferedMedia, audio, video
from tests.support.rtp_client import RtpClient

__all__ = ["CountingViewer", "ViewerLoop"]

#: Reads the sockets of all viewers of this process.
ViewerLoop = SocketLoop

#: The first byte of RTP and RTCP (RFC 7983 section 7).
_RTP = range(128, 192)
_HEADER = struct.Struct("!BHII")


class _Client(RtpClient):
    """The client of a counting viewer, until its socket is taken and for STUN and DTLS."""

    counter: CountingViewer

    def take_rtp(self, data: bytes) -> None:
        self.counter.count(data, 0, len(data))

    def take_rtcp(self, data: bytes) -> None:
        self.counter.count(data, 0, len(data))


class CountingViewer:
    """One viewer that counts; give it to a `ViewerLoop`.

    Attributes:
        received: by SSRC.
        rtcp: RTCP packets that came.
        posted, connected, first_packet, first_picture: `time.monotonic()` of the POST,
            of the end of the DTLS handshake, of the first RTP packet, and of the first
            end of a picture (marker bit) since; 0 before.
    """

    def __init__(self, url: str, *media: OfferedMedia) -> None:
        self.client = _Client.viewer(url, *(media or (video(), audio())))
        self.client.counter = self
        self.received: dict[int, Received] = {}
        self.rtcp = 0
        self.posted = 0.0
        self.connected = 0.0
        self.first_packet = 0.0
        self.first_picture = 0.0
        self._protocol: Any = None
        self._remote: tuple[str, int] = ("", 0)
        self._socket: socket.socket

    async def join(self, loop: ViewerLoop, *, timeout: float = 20.0) -> None:
        """Connect, then let `loop` read the socket.

        Raises:
            Refused: the server did not answer 201.
            ConnectionError, TimeoutError: ICE or DTLS failed.
        """
        self.posted = time.monotonic()
        try:
            await self.client.post()
            await self.client.connect(timeout)
        except BaseException:
            await self.client.vanish()
            raise
        self.connected = time.monotonic()
        self._protocol = self.client.pair_protocol
        self._remote = self.client.remote_address
        self._protocol.transport.pause_reading()
        self._socket = self._protocol.transport.get_extra_info("socket").dup()
        loop.add(self._socket, self)

    async def leave(self, loop: ViewerLoop, *, delete: bool = True) -> None:
        """Go, with a DELETE or without a word."""
        if self._protocol is not None:
            loop.remove(self._socket)
            self._socket.close()
            self._protocol.transport.resume_reading()
            self._protocol = None
        await (self.client.aclose() if delete else self.client.vanish())

    async def until_packets(self, count: int, timeout: float = 20.0) -> None:
        """Wait until so many RTP packets have come, by looking now and then.

        Raises:
            TimeoutError: they have not.
        """
        async with asyncio.timeout(timeout):
            # Counting is the fast path: it does not stop to wake anybody.
            while self.packets < count:  # noqa: ASYNC110
                await asyncio.sleep(REST)

    @property
    def packets(self) -> int:
        """RTP packets that came."""
        return sum(source.packets for source in self.received.values())

    @property
    def lost(self) -> int:
        """RTP packets that are missing."""
        return sum(source.lost for source in self.received.values())

    def take(self, batch: Batch, index: int, size: int) -> None:
        """A datagram has come."""
        self.count(batch.buffer, SLOT * index, size)

    def count(self, buffer: bytes | bytearray, offset: int, size: int) -> None:
        """Count a datagram."""
        if size < 12 or buffer[offset] not in _RTP:
            if self._protocol is not None and size:
                data = bytes(buffer[offset : offset + size])
                self._protocol.datagram_received(data, self._remote)
            return
        second, sequence, _, ssrc = _HEADER.unpack_from(buffer, offset + 1)
        if 192 <= second <= 223:
            self.rtcp += 1
            return
        source = self.received.get(ssrc)
        if source is None:
            source = self.received[ssrc] = Received(sequence)
        source.take(sequence, size)
        if not self.first_picture:
            self._take_first(marker=second > 127)

    def _take_first(self, *, marker: bool) -> None:
        now = time.monotonic()
        if not self.first_packet:
            self.first_packet = now
        if marker:
            self.first_picture = now
