"""Reads the UDP sockets of many viewers in batches, in rounds that all of them share.

The kernel notes when each datagram came, so a measurement does not contain the time until
its round. Where the system has no recvmmsg or epoll, all sockets are read singly in each round.
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
from typing import Protocol, Self

BATCH = 64
SLOT = 2048

#: Datagrams a socket may hold while the process is busy with others.
RECEIVE_BUFFER = 1 << 20

#: Seconds between two rounds of reading.
REST = 0.002

#: SO_TIMESTAMPNS of Linux, also the type of the control message; SO_MEMINFO and its ninth word.
_SO_TIMESTAMPNS = 35
_SO_MEMINFO = 55
_MEMINFO_DROPS = 8
_MEMINFO = struct.Struct("9I")

_CONTROL = 64
_STAMP = struct.Struct("@Niiqq")  # cmsghdr with a timespec


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


class Batch:
    """Reads many datagrams with one call, where the system can.

    Attributes:
        buffer: datagram number n begins at n × SLOT.
    """

    def __init__(self) -> None:
        self.buffer = bytearray(BATCH * SLOT)
        self._control = bytearray(BATCH * _CONTROL)
        self._recvmmsg: Callable[..., int] | None = None
        if sys.platform == "linux":
            # PyDLL: the call never blocks, so giving the GIL away would only cost.
            self._recvmmsg = ctypes.PyDLL(None, use_errno=True).recvmmsg
        data = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))
        control = ctypes.addressof(ctypes.c_char.from_buffer(self._control))
        self._vectors = (_IoVec * BATCH)(
            *(_IoVec(data + SLOT * index, SLOT) for index in range(BATCH))
        )
        self._messages = (_MMsgHdr * BATCH)()
        for index, message in enumerate(self._messages):
            message.header.iov = ctypes.pointer(self._vectors[index])
            message.header.iov_length = 1
            message.header.control = control + _CONTROL * index
            message.header.control_length = _CONTROL
        # The kernel overwrites lengths; putting all back is one copy.
        self._fresh = bytes(self._messages)
        words = memoryview(self._messages).cast("B").cast("I")
        self._lengths = words[
            _MMsgHdr.length.offset // 4 :: ctypes.sizeof(_MMsgHdr) // 4
        ]

    def read(self, sock: socket.socket) -> list[int]:
        """The length of each datagram that waits, BATCH at most."""
        if self._recvmmsg is None:
            return list(self._read_singly(sock))
        ctypes.memmove(self._messages, self._fresh, len(self._fresh))
        count = self._recvmmsg(
            sock.fileno(), self._messages, BATCH, socket.MSG_DONTWAIT, None
        )
        return self._lengths[: max(count, 0)].tolist()

    def arrival(self, index: int) -> int:
        """When a datagram of the last `read` came, of `time.time_ns()`."""
        if self._recvmmsg is not None:
            size, level, kind, seconds, nanoseconds = _STAMP.unpack_from(
                self._control, _CONTROL * index
            )
            if size == _STAMP.size and (level, kind) == (
                socket.SOL_SOCKET,
                _SO_TIMESTAMPNS,
            ):
                stamp: int = seconds * 1_000_000_000 + nanoseconds
                return stamp
        return time.time_ns()

    def _read_singly(self, sock: socket.socket) -> Iterator[int]:
        view = memoryview(self.buffer)
        for index in range(BATCH):
            offset = SLOT * index
            try:
                yield sock.recv_into(view[offset : offset + SLOT])
            except OSError:
                return


class Taker(Protocol):
    """What a socket's datagrams go to."""

    def take(self, batch: Batch, index: int, size: int) -> None:
        """A datagram has come, at `index` of `batch`."""


class SocketLoop:
    """Reads the sockets of all viewers of this process.

    `async with SocketLoop() as loop:`; sockets come and go by `add` and `remove`. Nobody else
    may read them meanwhile, and they must not be blocking.
    """

    def __init__(self) -> None:
        self._batch = Batch()
        self._takers: dict[int, tuple[socket.socket, Taker]] = {}
        self._poll: select.epoll | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._dropped = 0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        if sys.platform == "linux":
            self._poll = select.epoll()
        self._resume()
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

    def add(self, sock: socket.socket, taker: Taker) -> None:
        """Read a socket from now on."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._takers[sock.fileno()] = sock, taker
        if self._poll is not None:
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self._poll.register(sock.fileno(), select.EPOLLIN)

    def remove(self, sock: socket.socket) -> None:
        """Read a socket no longer; one that is not read is fine."""
        number = sock.fileno()
        if self._takers.pop(number, None) is None:
            return
        self._dropped += drops(sock)
        if self._poll is not None:
            self._poll.unregister(number)

    @property
    def dropped(self) -> int:
        """Datagrams that the kernel dropped because we did not read in time."""
        return self._dropped + sum(drops(sock) for sock, _ in self._takers.values())

    def _ready(self) -> None:
        if self._poll is not None:
            self._loop.remove_reader(self._poll.fileno())
            for number, _ in self._poll.poll(0, max(1, len(self._takers))):
                self._drain(number)
        else:
            for number in list(self._takers):
                self._drain(number)
        # A short rest lets packets gather: fewer, larger batches under load.
        self._timer = self._loop.call_later(REST, self._resume)

    def _resume(self) -> None:
        self._timer = None
        if self._poll is not None:
            self._loop.add_reader(self._poll.fileno(), self._ready)
        else:
            self._ready()

    def _drain(self, number: int) -> None:
        if number not in self._takers:
            return
        sock, taker = self._takers[number]
        batch = self._batch
        take = taker.take
        while number in self._takers:
            sizes = batch.read(sock)
            for index, size in enumerate(sizes):
                take(batch, index, size)
            if len(sizes) < BATCH:
                return


def drops(sock: socket.socket) -> int:
    """Datagrams that the kernel has dropped at a full socket; 0 where it does not tell."""
    if sys.platform != "linux" or sock.fileno() < 0:
        return 0
    try:
        info = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    except OSError:
        return 0
    if len(info) < _MEMINFO.size:
        return 0
    count: int = _MEMINFO.unpack(info)[_MEMINFO_DROPS]
    return count
