"""Watches this machine's network: what could not be reached may be reachable now.

Linux tells whoever listens to rtnetlink (RFC 3549, rtnetlink(7)) of links, addresses and routes
that come. Elsewhere, and where a sandbox forbids it, nobody is told, and nothing else happens.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

#: Seconds in which what belongs together comes: an address, its routes.
SETTLE = 0.1

#: Least seconds between two calls.
INTERVAL = 1.0

#: Datagrams that are read before a call; there may be no end of them.
MAX_DATAGRAMS = 64

#: Links and addresses that are remembered, to know what is new.
MAX_KNOWN = 4096

_MAX_DATAGRAM = 1 << 16

# linux/rtnetlink.h: the groups of links, and of the addresses and routes of IPv4 and IPv6.
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_NEW_LINK, _DEL_LINK = 16, 17
_NEW_ADDRESS, _DEL_ADDRESS = 20, 21
_NEW_ROUTE = 24

#: struct nlmsghdr: length with this header, type, flags, sequence, port. Messages and attributes
#: begin at multiples of four.
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")

#: struct ifinfomsg: family, type, index, flags, change.
_LINK = struct.Struct("=BxHiII")
_RUNNING = 0x1 | 0x40  # IFF_UP, IFF_RUNNING

#: struct ifaddrmsg: family, prefix length, flags, scope, index.
_ADDRESS = struct.Struct("=BBBBI")
_TENTATIVE = 0x40  # IFA_F_TENTATIVE: not to be used yet; it is told again when it is
_IFA_ADDRESS, _IFA_LOCAL = 1, 2

#: struct rtmsg up to its flags.
_ROUTE = struct.Struct("=BBBBBBBBI")
_CLONED = 0x200  # RTM_F_CLONED: an entry of a cache


async def watch(changed: Callable[[], object]) -> None:
    """Call `changed` whenever a link, an address or a route has come, until cancelled.

    What comes at once is one call, and there is at most one a second. It returns where the
    system does not tell.
    """
    try:
        sock = _open()
    except (OSError, AttributeError) as error:
        logger.debug("the network is not watched: %s", error)
        return
    news = News()
    with sock:
        while True:
            if not await _read(sock, news):
                continue
            await asyncio.sleep(SETTLE)
            _drain(sock, news)
            changed()
            # What comes meanwhile waits in the socket, or is missed, which is told as well.
            await asyncio.sleep(INTERVAL)


class News:
    """Tells what is new from what is told again, or has gone. It holds no socket."""

    def __init__(self) -> None:
        #: Links that run, and addresses with their links.
        self._known: set[int | tuple[int, bytes]] = set()

    def receive(self, data: bytes) -> bool:
        """Take a datagram; whether something has come that may help to reach others."""
        # Each is looked at, also behind one that is news: each is to be remembered.
        found = [self._is_news(kind, body) for kind, body in _messages(data)]
        return any(found)

    def _is_news(self, kind: int, body: bytes) -> bool:
        try:
            if kind in (_NEW_LINK, _DEL_LINK):
                _, _, index, flags, _ = _LINK.unpack_from(body)
                runs = kind == _NEW_LINK and flags & _RUNNING == _RUNNING
                return self._note(index, is_there=runs)
            if kind in (_NEW_ADDRESS, _DEL_ADDRESS):
                _, _, flags, _, index = _ADDRESS.unpack_from(body)
                if flags & _TENTATIVE:
                    return False
                address = index, _address(body[_ADDRESS.size :])
                return self._note(address, is_there=kind == _NEW_ADDRESS)
            if kind == _NEW_ROUTE:
                return not _ROUTE.unpack_from(body)[-1] & _CLONED
        except struct.error:
            # Cut short; the kernel does not do that.
            pass
        return False

    def _note(self, key: int | tuple[int, bytes], *, is_there: bool) -> bool:
        if not is_there:
            self._known.discard(key)
            return False
        if key in self._known:
            return False
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known.add(key)
        return True


def _open() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        sock.setblocking(False)
        sock.bind((0, _GROUPS))
    except BaseException:
        sock.close()
        raise
    return sock


async def _read(sock: socket.socket, news: News) -> bool:
    """Wait for a datagram; whether there is news in it, or some may have been missed."""
    loop = asyncio.get_running_loop()
    try:
        data, sender = await loop.sock_recvfrom(sock, _MAX_DATAGRAM)
    except OSError as error:
        return _were_missed(error)
    # A flood of them must not keep others from running.
    await asyncio.sleep(0)
    return _is_kernel(sender) and news.receive(data)


def _drain(sock: socket.socket, news: News) -> None:
    """Take what is there already; it is told with what came before."""
    for _ in range(MAX_DATAGRAMS):
        try:
            data, sender = sock.recvfrom(_MAX_DATAGRAM)
        except BlockingIOError:
            return
        except OSError as error:
            _were_missed(error)
        else:
            if _is_kernel(sender):
                news.receive(data)


def _were_missed(error: OSError) -> bool:
    """Whether it is only that there were more messages than the socket holds.

    Raises:
        OSError: it is something else.
    """
    if error.errno != errno.ENOBUFS:
        raise error
    return True


def _is_kernel(sender: tuple[int, int]) -> bool:
    return sender[0] == 0


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The types and bodies of the messages in a datagram."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += _aligned(length)


def _address(attributes: bytes) -> bytes:
    """The local address, or on links without two ends the only one."""
    found = b""
    at = 0
    while at + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, at)
        if length < _ATTRIBUTE.size:
            break
        if kind == _IFA_LOCAL or (kind == _IFA_ADDRESS and not found):
            found = attributes[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3
