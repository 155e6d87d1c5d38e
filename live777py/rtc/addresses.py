"""Which addresses the media socket announces as ICE candidates, and in which order.

It looks at the network interfaces and resolves host names when the server starts. It opens no
lasting socket and sends no packet other than what the resolver sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import ifaddr

from live777py.errors import ConfigError
from live777py.protocol.candidate import Candidate

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Seconds for the resolver at start.
RESOLVE_TIMEOUT = 5.0

#: Interface addresses announced by default; a host with a hundred container bridges would
#: otherwise make answers that clients with small buffers refuse (FFmpeg: 8,192 bytes).
MAX_FOUND = 16

# Documentation addresses (RFC 5737, RFC 3849): connecting a UDP socket sends nothing and shows
# which source address the routing table chooses.
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}

# Linux, include/uapi/linux/if_addr.h: temporary, deprecated, tentative, duplicate.
_UNWANTED_IPV6 = 0x01 | 0x20 | 0x40 | 0x08

_HOST_TYPE_PREFERENCE = 126  # RFC 8445 section 5.1.2.2
_COMPONENT = 1


class Announced(Protocol):
    """An entry of `[webrtc] addresses` or `[webrtc] public_ips`."""

    @property
    def host(self) -> str:
        """An IP address or, in `public_ips`, a host name."""

    @property
    def port(self) -> int | None:
        """The port to announce; None for that of the socket."""


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """Where clients can reach the media socket."""

    host: str
    port: int


async def announced(
    sock: socket.socket,
    addresses: Iterable[Announced],
    public_ips: Iterable[Announced],
    *,
    interface_addresses: Callable[[], list[IpAddress]] | None = None,
    resolve_timeout: float = RESOLVE_TIMEOUT,
) -> tuple[LocalAddress, ...]:
    """What to announce, the address that a client should use first.

    Args:
        sock: the bound media socket.
        addresses: local addresses, announced in this order; none for all usable ones.
        public_ips: addresses that a router maps to this machine, announced before the others.
        interface_addresses: finds the local addresses; for tests.
        resolve_timeout: seconds that all host names may take together.

    Raises:
        ConfigError: an entry cannot be served by this socket, or there is nothing to announce.
    """
    served = _Served.by(sock)
    faults: list[str] = []
    public = await _public(served, list(public_ips), faults, resolve_timeout)
    local = [_local(served, entry, faults) for entry in addresses]
    if faults:
        raise ConfigError(*faults)
    found = [address for address in local if address is not None]
    if not local:
        # Interfaces are files of the operating system: looking may block.
        find = interface_addresses or usable_addresses
        every = await asyncio.to_thread(find)
        found = _served_by_default(served, every, nothing_else=not public)
    hosts = dict.fromkeys([*public, *found])
    if not hosts:
        raise ConfigError(
            "webrtc.addresses: this machine has no network address that the media socket "
            "serves; name one, or set webrtc.public_ips"
        )
    return tuple(hosts)


def candidates(addresses: Iterable[LocalAddress]) -> tuple[Candidate, ...]:
    """Host candidates whose priorities fall in the order given (RFC 8445 section 5.1.2.1)."""
    foundations: dict[str, str] = {}
    return tuple(
        Candidate(
            # Equal for equal bases (section 5.1.1.3), whatever the port.
            foundation=foundations.setdefault(a.host, str(len(foundations) + 1)),
            component=_COMPONENT,
            transport="udp",
            priority=_HOST_TYPE_PREFERENCE << 24 | (65535 - n) << 8 | 256 - _COMPONENT,
            host=a.host,
            port=a.port,
        )
        for n, a in enumerate(addresses)
    )


@dataclass(frozen=True, slots=True)
class _Served:
    """What a bound socket receives.

    Attributes:
        versions: IP versions.
        port: the bound port.
        only: the one address that it is bound to, None for a wildcard.
    """

    versions: frozenset[int]
    port: int
    only: IpAddress | None

    @classmethod
    def by(cls, sock: socket.socket) -> _Served:
        host, port = sock.getsockname()[:2]
        address = _plain(ipaddress.ip_address(host.partition("%")[0]))
        if not address.is_unspecified:
            return cls(frozenset({address.version}), port, address)
        if sock.family == socket.AF_INET:
            return cls(frozenset({4}), port, None)
        only_6 = sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        return cls(frozenset({6} if only_6 else {4, 6}), port, None)

    def refusal(self, address: IpAddress) -> str:
        """Why packets to `address` cannot arrive here, even through a router; or nothing."""
        if address.is_unspecified or address.is_multicast:
            return "is not the address of a machine"
        if address.is_link_local:
            return "is link-local, which a candidate cannot carry"
        if address.version not in self.versions:
            return f"is IPv{address.version}, which the media socket does not serve"
        return ""


def _local(served: _Served, entry: Announced, faults: list[str]) -> LocalAddress | None:
    where = f"webrtc.addresses: {entry.host}"
    address = _parse(entry.host)
    if address is None:
        faults.append(f"{where} is not an IP address (names go to webrtc.public_ips)")
        return None
    fault = served.refusal(address)
    if not fault and entry.port not in (None, served.port):
        fault = (
            f"cannot have port {entry.port}: the media socket has {served.port} "
            "(ports that a router maps go to webrtc.public_ips)"
        )
    if not fault and served.only not in (None, address):
        fault = f"is not served: webrtc.listen binds to {served.only} alone"
    if not fault and not _is_of_this_machine(address):
        fault = "is not an address of this machine (if it is mapped to it: webrtc.public_ips)"
    if fault:
        faults.append(f"{where} {fault}")
        return None
    return LocalAddress(str(address), served.port)


async def _public(
    served: _Served, entries: list[Announced], faults: list[str], timeout: float
) -> list[LocalAddress]:
    public = []
    deadline = asyncio.get_running_loop().time() + timeout
    for entry in entries:
        where = f"webrtc.public_ips: {entry.host}"
        address = _parse(entry.host)
        if address is not None:
            fault = served.refusal(address)
            hosts = [address]
        else:
            hosts, fault = await _resolve(served, entry.host, deadline)
        if fault:
            faults.append(f"{where} {fault}")
            continue
        port = served.port if entry.port is None else entry.port
        public += [(host.version, LocalAddress(str(host), port)) for host in hosts]
    # FFmpeg uses the first host candidate whatever it is, so IPv4 goes first.
    return [address for _, address in sorted(public, key=lambda item: item[0])]


async def _resolve(
    served: _Served, name: str, deadline: float
) -> tuple[list[IpAddress], str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(deadline):
            answers = await loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except TimeoutError:
        return [], "cannot be resolved: no answer in time"
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return [], f"cannot be resolved: {reason}"
    hosts = [_parse(str(answer[4][0])) for answer in answers]
    usable = [host for host in hosts if host is not None and not served.refusal(host)]
    if not usable:
        return [], "resolves to no address that the media socket serves"
    return list(dict.fromkeys(usable)), ""


def _served_by_default(
    served: _Served, every: list[IpAddress], *, nothing_else: bool
) -> list[LocalAddress]:
    if served.only is not None:
        return [LocalAddress(str(served.only), served.port)]
    usable = [address for address in every if not served.refusal(address)]
    chosen = [address for address in usable if not address.is_loopback]
    if not chosen and nothing_else:
        chosen = usable
    chosen.sort(key=_rank)
    return [LocalAddress(str(a), served.port) for a in chosen[:MAX_FOUND]]


def _rank(address: IpAddress) -> int:
    """Lower is better; addresses of one rank keep the order in which they were found."""
    if address.is_loopback:
        return 4
    if address.version == 4:
        return 0 if address.is_global else 1
    return 2 if address.is_global else 3


def usable_addresses() -> list[IpAddress]:
    """Addresses of interfaces that are up, those of the default route first."""
    unwanted = _unwanted_ipv6()
    preferred = _default_route_addresses()
    found: list[IpAddress] = []
    for adapter in ifaddr.get_adapters():
        if _is_down(adapter.name):
            continue
        addresses = [
            ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            for ip in adapter.ips
        ]
        addresses = [a for a in addresses if a not in unwanted]
        # All of the default interface: its temporary address is what the route names.
        if preferred.intersection(addresses):
            found[:0] = addresses
        else:
            found += addresses
    return list(dict.fromkeys(found))


def _unwanted_ipv6() -> set[IpAddress]:
    """Temporary and deprecated addresses, where the system tells (RFC 8981)."""
    unwanted: set[IpAddress] = set()
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/net/if_inet6").read_text("ascii").splitlines():
            address, _index, _prefix, _scope, flags = line.split()[:5]
            if int(flags, 16) & _UNWANTED_IPV6:
                unwanted.add(ipaddress.IPv6Address(bytes.fromhex(address)))
    return unwanted


def _default_route_addresses() -> set[IpAddress]:
    addresses: set[IpAddress] = set()
    for family, elsewhere in _ELSEWHERE.items():
        with (
            contextlib.suppress(OSError),
            socket.socket(family, socket.SOCK_DGRAM) as probe,
        ):
            probe.connect((elsewhere, 9))
            addresses.add(ipaddress.ip_address(probe.getsockname()[0]))
    return addresses


def _is_down(interface: str) -> bool:
    """A bridge without anybody on it, a cable that is not plugged in."""
    with contextlib.suppress(OSError):
        state = Path("/sys/class/net", interface, "operstate").read_text("ascii")
        return state.strip() in ("down", "lowerlayerdown", "notpresent")
    return False


def _is_of_this_machine(address: IpAddress) -> bool:
    # Binding asks the routing table, which knows more than the interfaces do: 127.0.0.2 is
    # local, and so is a prefix of an any-cast route.
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _parse(host: str) -> IpAddress | None:
    try:
        return _plain(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None


def _plain(address: IpAddress) -> IpAddress:
    """IPv4 addresses as such, also where a dual-stack socket shows them mapped."""
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else address
