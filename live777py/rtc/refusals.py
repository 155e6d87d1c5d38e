"""Learns from ICMP that nobody listens any more where a UDP socket sends to.

The kernel keeps such errors from a socket that is not connected, unless it is asked for them
(IP_RECVERR, see ip(7)). Of the flow's own socket they tell more than of any other: behind a
NAT or a firewall, what comes from another port may be refused though the flow is alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Callable

# Linux's numbers; Python names them from 3.14 on.
IP_RECVERR = 11
IPV6_RECVERR = 25

#: Errors that are read before others have their turn.
_BATCH = 16

#: The beginning of struct sock_extended_err: the error number.
_ERROR = struct.Struct("=I")

#: Room for struct sock_extended_err, and before it times and addresses, where they are wanted.
_ANCILLARY = 512


class Refusals:
    """Watches a socket, until it is closed.

    Each refusal also fails one call of whoever sends or receives by the socket.
    """

    def __init__(
        self,
        sock: socket.socket,
        remote: tuple[str, int],
        on_refused: Callable[[], None],
    ) -> None:
        """Begin.

        Args:
            sock: a duplicate of one that somebody else reads; closed with this object.
            remote: the address in question: others that the socket sends to do not matter.
            on_refused: called for each refusal.
        """
        self._socket = sock
        self._remote = remote[0].partition("%")[0], remote[1]
        self._on_refused = on_refused
        self._loop = asyncio.get_running_loop()
        self._set(1)
        self._loop.add_reader(sock, self._read)

    def close(self) -> None:
        """Watch no more; may be called more than once."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            # This also empties the queue of errors.
            self._set(0)
            self._socket.close()

    def _set(self, value: int) -> None:
        if self._socket.family == socket.AF_INET6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, value)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, IP_RECVERR, value)

    def _read(self) -> None:
        # What is readable may be a datagram, too: it is not ours.
        with contextlib.suppress(BlockingIOError):
            for _ in range(_BATCH):
                if self._socket.fileno() < 0:
                    return
                self._read_one()

    def _read_one(self) -> None:
        _, ancillary, _, address = self._socket.recvmsg(
            1, _ANCILLARY, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT
        )
        is_refused = any(
            kind in (IP_RECVERR, IPV6_RECVERR)
            and len(data) >= _ERROR.size
            and _ERROR.unpack_from(data)[0] == errno.ECONNREFUSED
            for _, kind, data in ancillary
        )
        host, port = address[:2]
        if is_refused and (host.partition("%")[0], port) == self._remote:
            self._on_refused()
