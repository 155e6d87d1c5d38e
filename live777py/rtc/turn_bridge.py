"""Lets the data plane use a path through a TURN server, which has no socket of its own.

The plane is given one end of a pair of loopback sockets; what it sends is read at the other end
and goes on through the allocation, and the other way round.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

#: Datagrams that are read before others have their turn.
_BATCH = 64

#: Bytes of each direction that may wait in the kernel; what comes then is lost.
_BUFFER = 1 << 20

#: The longest datagram.
_LONGEST = 1 << 16

#: Seconds without anything from the other side after which it is sent no more media: each
#: datagram is a task of aioice's, and without the TURN server they would never end.
_SILENCE = 5.0


class TurnBridge:
    """The pair of sockets, for the time of one session.

    What comes from the other side goes to `deliver`. `close` may be called more than once.

    Attributes:
        socket: the plane's end, connected to ours; closed with this object.
        address: of our end.
        dropped: datagrams that were lost here, of both directions.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        """Open the sockets, and begin to read.

        Args:
            send: takes what the plane sends.

        Raises:
            OSError: there are too many open files.
        """
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._heard = self._loop.time()
        self.dropped = 0
        with contextlib.ExitStack() as stack:
            self._end = stack.enter_context(_bound())
            self.socket = stack.enter_context(_bound())
            self.address: tuple[str, int] = self._end.getsockname()
            # Nobody else on this machine may put anything in.
            self._end.connect(self.socket.getsockname())
            self.socket.connect(self.address)
            self._stack = stack.pop_all()
        self._loop.add_reader(self._end, self._read)

    def heard(self) -> None:
        """Something came from the other side."""
        self._heard = self._loop.time()

    def deliver(self, data: bytes) -> None:
        """Give the plane a datagram; one for which there is no room is lost."""
        try:
            self._end.send(data)
        except OSError:
            self.dropped += 1

    def close(self) -> None:
        """Close both ends."""
        if self._end.fileno() >= 0:
            self._loop.remove_reader(self._end)
        self._stack.close()

    def _read(self) -> None:
        is_silent = self._loop.time() - self._heard > _SILENCE
        for _ in range(_BATCH):
            if self._end.fileno() < 0:
                return
            try:
                data = self._end.recv(_LONGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # the plane has closed its end
            if is_silent:
                self.dropped += 1
            else:
                self._send(data)


def _bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        sock.bind(("127.0.0.1", 0))
    except BaseException:
        sock.close()
        raise
    return sock
