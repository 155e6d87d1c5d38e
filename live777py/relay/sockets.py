"""Opening the UDP socket that all peers share, and sending single datagrams from it."""

from __future__ import annotations

import ctypes
import errno
import logging
import socket
import struct
from functools import lru_cache

from .paths import address_to_words
from .seam import Path

logger = logging.getLogger(__name__)

# Linux's numbers; Python names none of them.
IP_PKTINFO = 8
SO_TIMESTAMPNS = 35
SO_RXQ_OVFL = 40
SO_ATTACH_REUSEPORT_CBPF = 51
UDP_SEGMENT = 103
_LINK_LOCAL = 0x3FA
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def open_udp(
    host: str, port: int, *, receive_buffer: int, send_buffer: int
) -> socket.socket:
    """Bind the shared socket.

    Args:
        host: an address; "::" serves IPv4 as well, or IPv4 alone where there is no IPv6.
        port: 0 for any.
        receive_buffer, send_buffer: bytes for the kernel's buffers; a warning names the
            sysctl to raise when it gives less.

    Raises:
        OSError: the address cannot be bound.
    """
    if host in ("", "::"):
        try:
            sock = _bind(socket.AF_INET6, "::", port)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            sock = _bind(socket.AF_INET, "", port)
    else:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        sock = _bind(found[0][0], str(found[0][4][0]), port)
    try:
        _set_buffers(sock, receive_buffer, send_buffer)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            only = 0 if host == "::" else 1
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        prepare(sock)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def prepare(sock: socket.socket) -> None:
    """Have the kernel tell where and when datagrams came, and how many it dropped."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def share(sock: socket.socket, count: int) -> list[socket.socket]:
    """More sockets to send from, with the address and port of a bound one.

    All that arrives goes on to `sock`: a filter chooses the first of those that share the
    port. `sock` was bound without SO_REUSEPORT, and another server's bind without it fails as
    ever. Where the platform has no such thing there are none, and a warning.
    """
    made: list[socket.socket] = []
    try:
        if count > 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for _ in range(count):
            made.append(_share_one(sock))
            # From the first on, that nothing is lost to a socket which nobody reads.
            _steer_to_first(sock)
    except (OSError, AttributeError) as error:
        for own in made:
            own.close()
        logger.warning("media packets are sent by one thread alone: %s", error)
        return []
    return made


def _share_one(sock: socket.socket) -> socket.socket:
    own = socket.socket(sock.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        own.setblocking(False)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sock.family == socket.AF_INET6:
            only = sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        # What the kernel reports is double what it is to be asked for.
        size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        own.bind(sock.getsockname())
    except BaseException:
        own.close()
        raise
    return own


def _steer_to_first(sock: socket.socket) -> None:
    """Have the kernel give all datagrams for the shared port to the socket bound first."""
    # A classic BPF program of one instruction: return 0, the index of that socket.
    program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
    described = struct.pack("@HP", 1, ctypes.addressof(program))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, described)


def has_gso(sock: socket.socket) -> bool:
    """Whether the kernel knows UDP GSO."""
    try:
        sock.getsockopt(socket.IPPROTO_UDP, UDP_SEGMENT)
    except OSError:
        return False
    return True


def _set_buffers(sock: socket.socket, receive: int, send: int) -> None:
    wanted = (
        (socket.SO_RCVBUF, receive, "net.core.rmem_max"),
        (socket.SO_SNDBUF, send, "net.core.wmem_max"),
    )
    clamped = []
    for option, size, sysctl in wanted:
        sock.setsockopt(socket.SOL_SOCKET, option, size)
        # The kernel doubles what it is asked for, and reports the double.
        if sock.getsockopt(socket.SOL_SOCKET, option) < 2 * size:
            clamped.append(f"{sysctl}={size}")
    if clamped:
        logger.warning(
            "the kernel limits the UDP buffers, bursts may be lost: sysctl -w %s",
            " ".join(clamped),
        )


def match_buffers(sock: socket.socket, model: socket.socket) -> None:
    """Make a socket's buffers at least as large as another's."""
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        size = model.getsockopt(socket.SOL_SOCKET, option)
        if sock.getsockopt(socket.SOL_SOCKET, option) < size:
            # What the kernel reports is double what it is to be asked for.
            sock.setsockopt(socket.SOL_SOCKET, option, size // 2)


def send_control(sock: socket.socket, data: bytes, path: Path) -> None:
    """Send one datagram along a path, from the local address that it names.

    Raises:
        OSError: the kernel did not take it.
        ValueError: the path is none, or not one of this socket's family.
    """
    is_ipv6 = sock.family == socket.AF_INET6
    host, port, local, scope = path
    if not (0 < port < 1 << 16 and 0 <= scope < 1 << 32):
        raise ValueError(f"port {port} or scope {scope} is out of range")
    name: tuple[str, int] | tuple[str, int, int, int] = (_host(is_ipv6, host), port)
    if is_ipv6:
        name = (*name, 0, scope)
    sock.sendmsg([data], _local_control(is_ipv6, local, scope), 0, name)


# By addresses and not by paths: each client has a port of its own.
@lru_cache(maxsize=4096)
def _host(is_ipv6: bool, host: str) -> str:
    """A remote address as a socket of this family takes it."""
    high, low = address_to_words(host)
    is_mapped = high == 0 and low >> 32 == 0xFFFF
    if is_ipv6:
        return f"::ffff:{host}" if is_mapped else host.partition("%")[0]
    if not is_mapped:
        raise ValueError(f"{host} cannot be reached from an IPv4 socket")
    return host


@lru_cache(maxsize=1024)
def _local_control(
    is_ipv6: bool, local: str, scope: int
) -> list[tuple[int, int, bytes]]:
    """The control message that makes a datagram leave from a local address."""
    high, low = address_to_words(local)
    if high == 0 and low == 0:
        return []
    if is_ipv6:
        is_link_local = (high >> 54) & 0x3FF == _LINK_LOCAL
        interface = scope if is_link_local else 0
        info = struct.pack("!qq", high, low) + struct.pack("=I", interface)
        return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info)]
    info = struct.pack("=I", 0) + struct.pack("!I", low & 0xFFFFFFFF) + bytes(4)
    return [(socket.IPPROTO_IP, IP_PKTINFO, info)]
