"""Viewers for load: they connect like any other, then only count what arrives.

Once connected, a viewer's socket is taken from asyncio and read in batches, shared by
all viewers of the process; nothing is decrypted. STUN and DTLS go back to aioice, so
consent and the end of a session work as ever.
"""

from __future__ import annotations

import asyncio
import ctypes
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from tests.support.offers import OfferedMedia, audio, video
from tests.support.rtp_client import RtpClient

BATCH = 64
SLOT = 2048

#: Datagrams a socket may hold while the process is busy with others.
RECEIVE_BUFFER = 1 << 20

#: Numbers within which a duplicate is recognised.
_REMEMBERED = 1024
_SEEN = (1 << _REMEMBERED) - 1

#: Seconds between two rounds of reading; also the error of the times that are told.
REST = 0.002

#: The first byte of RTP and RTCP (RFC 7983 section 7).
_RTP = range(128, 192)
_HEADER = struct.Struct("!BHII")


class _IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _MsgHdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_IoVec)),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _MMsgHdr(ctypes.Structure):
    _fields_ = (("header", _MsgHdr), ("length", ctypes.c_uint))


class _Batch:
    """Reads many datagrams with one call, where the system can."""

    def __init__(self) -> None:
        self.buffer = bytearray(BATCH * SLOT)
        self._recvmmsg: Callable[..., int] | None = None
        if sys.platform == "linux":
            # PyDLL: the call never blocks, so giving the GIL away would only cost.
            self._recvmmsg = ctypes.PyDLL(None, use_errno=True).recvmmsg
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))
        self._vectors = (_IoVec * BATCH)(
            *(_IoVec(address + SLOT * index, SLOT) for index in range(BATCH))
        )
        self._messages = (_MMsgHdr * BATCH)()
        for message, vector in zip(self._messages, self._vectors, strict=True):
            message.header.iov = ctypes.pointer(vector)
            message.header.iov_length = 1

    def read(self, sock: socket.socket) -> list[tuple[int, int]]:
        """Offset in `buffer` and length of each datagram that waits, BATCH at most."""
        if self._recvmmsg is None:
            return list(self._read_singly(sock))
        count = self._recvmmsg(
            sock.fileno(), self._messages, BATCH, socket.MSG_DONTWAIT, None
        )
        messages = self._messages
        return [(SLOT * i, messages[i].length) for i in range(count)]

    def _read_singly(self, sock: socket.socket) -> Iterator[tuple[int, int]]:
        view = memoryview(self.buffer)
        for index in range(BATCH):
            offset = SLOT * index
            try:
                yield offset, sock.recv_into(view[offset : offset + SLOT])
            except OSError:
                return


class Received:
    """What came of one SSRC, by its sequence numbers; duplicates count once."""

    __slots__ = ("bytes", "duplicates", "first", "highest", "packets", "seen")

    def __init__(self, sequence: int) -> None:
        self.first = sequence
        self.highest = sequence - 1
        self.packets = 0
        self.bytes = 0
        self.duplicates = 0
        #: A bit for each of the latest numbers up to the highest.
        self.seen = 0

    def take(self, sequence: int, size: int) -> None:
        """A packet with this number has come."""
        self.bytes += size
        ahead = (sequence - self.highest + 0x8000 & 0xFFFF) - 0x8000
        if ahead > 0:
            self.highest += ahead
            self.seen = (self.seen << ahead | 1) & _SEEN
            self.packets += 1
        elif self.seen >> -ahead & 1:
            self.duplicates += 1
        else:
            if -ahead < _REMEMBERED:
                self.seen |= 1 << -ahead
            self.packets += 1
            self.first = min(self.first, self.highest + ahead)

    @property
    def lost(self) -> int:
        """Numbers between the first and the highest that have not come."""
        return self.highest - self.first + 1 - self.packets


class _Client(RtpClient):
    """The client of a counting viewer, until its socket is taken and for STUN and DTLS."""

    counter: CountingViewer

    def take_rtp(self, data: bytes) -> None:
        self.counter.take(data, 0, len(data))

    def take_rtcp(self, data: bytes) -> None:
        self.counter.take(data, 0, len(data))


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

    async def join(self, loop: ViewerLoop, *, timeout: float = 10.0) -> None:
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
        loop.add(self, self._protocol.transport)

    async def leave(self, loop: ViewerLoop, *, delete: bool = True) -> None:
        """Go, with a DELETE or without a word."""
        if self._protocol is not None:
            loop.remove(self, self._protocol.transport)
            self._protocol = None
        await (self.client.aclose() if delete else self.client.vanish())

    async def until_packets(self, count: int, timeout: float = 5.0) -> None:
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

    def take(self, buffer: bytes | bytearray, offset: int, size: int) -> None:
        """A datagram has come."""
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


class ViewerLoop:
    """Reads the sockets of all viewers of this process.

    `async with ViewerLoop() as loop:`; viewers come and go by their `join` and `leave`.
    """

    def __init__(self) -> None:
        self._batch = _Batch()
        self._viewers: dict[int, tuple[socket.socket, CountingViewer]] = {}
        self._poll: select.epoll | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        if sys.platform == "linux":
            self._poll = select.epoll()
            self._loop.add_reader(self._poll.fileno(), self._ready)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._poll is not None:
            self._loop.remove_reader(self._poll.fileno())
            self._poll.close()

    def add(self, viewer: CountingViewer, transport: Any) -> None:
        """Read this viewer's socket from now on."""
        transport.pause_reading()
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._viewers[sock.fileno()] = sock, viewer
        if self._poll is not None:
            self._poll.register(sock.fileno(), select.EPOLLIN)
        else:
            self._loop.add_reader(sock.fileno(), self._drain, sock.fileno())

    def remove(self, viewer: CountingViewer, transport: Any) -> None:
        """Give this viewer's socket back to asyncio."""
        number = transport.get_extra_info("socket").fileno()
        if self._viewers.pop(number, None) is None:
            return
        if self._poll is not None:
            self._poll.unregister(number)
        else:
            self._loop.remove_reader(number)
        transport.resume_reading()

    def _ready(self) -> None:
        assert self._poll is not None
        for number, _ in self._poll.poll(0, max(1, len(self._viewers))):
            self._drain(number)
        # A short rest lets packets gather: fewer, larger batches under load.
        self._loop.remove_reader(self._poll.fileno())
        self._timer = self._loop.call_later(REST, self._resume)

    def _resume(self) -> None:
        assert self._poll is not None
        self._timer = None
        self._loop.add_reader(self._poll.fileno(), self._ready)

    def _drain(self, number: int) -> None:
        sock, viewer = self._viewers[number]
        buffer = self._batch.buffer
        while number in self._viewers:
            datagrams = self._batch.read(sock)
            for offset, size in datagrams:
                viewer.take(buffer, offset, size)
            if len(datagrams) < BATCH:
                return
