"""Our side of ICE where we open the connection: aioice's agent (RFC 8445), not lite.

It gathers, checks and keeps the pair in use alive. What is not STUN is handed on as it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import aioice
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import CandidatePair, StunProtocol, relayed_candidate

from live777py.aio.finish import finish
from live777py.protocol.candidate import Candidate
from live777py.protocol.link import LinkedIceServer
from live777py.rtc.outgoing_offer import Answer

logger = logging.getLogger(__name__)

#: Letters of a username fragment and of a password that we make; aioice's four are few where
#: a server tells hundreds of sessions of ours apart by them (RFC 8445 section 5.3).
_UFRAG_BYTES = 6
_PWD_BYTES = 18

#: Seconds for all STUN and TURN servers together, and how many of them are asked.
GATHER_TIMEOUT = 5.0
MAX_SERVERS = 4

#: Seconds that one check of an ICE restart may take before the next candidate is tried.
_CHECK_TIMEOUT = 1.0

Address = tuple[str, int]

#: A username fragment and a password.
Credentials = tuple[str, str]


def new_credentials() -> Credentials:
    """ICE credentials of a session of ours."""
    return secrets.token_hex(_UFRAG_BYTES), secrets.token_hex(_PWD_BYTES)


def source_address(host: str, port: int = 9) -> str | None:
    """The local address from which this machine would send to an IP address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        contextlib.suppress(OSError),
        socket.socket(family, socket.SOCK_DGRAM) as probe,
    ):
        # Connecting a UDP socket only looks the route up.
        probe.setblocking(False)
        probe.connect((host, port))
        return str(probe.getsockname()[0])
    return None


def has_address(address: tuple[Any, ...]) -> bool:
    """Whether an address as of `getsockname` still is one of this machine's."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address[0], 0, *address[2:]))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


class FullIce(aioice.Connection):
    """aioice's agent, with the host addresses that we choose and no queue.

    What is overridden is public there: `get_component_candidates` is given the addresses of
    this machine without loopback; `data_received` would put datagrams into a queue without
    bound; `check_complete` is the one place that knows the nominated pair.
    """

    def __init__(
        self,
        *,
        hosts: Sequence[str] | None,
        loopback: str | None,
        on_data: Callable[[bytes], None],
        on_heard: Callable[[], None],
        on_closed: Callable[[], None],
    ) -> None:
        """Prepare an agent.

        Args:
            hosts: local addresses to use instead of all that this machine has.
            loopback: one to use beside them.
            on_data: takes what is not STUN.
            on_heard: told of every datagram that comes through a TURN server.
            on_closed: told when the connection has ended, perhaps more than once.
        """
        ufrag, pwd = new_credentials()
        super().__init__(ice_controlling=True, local_username=ufrag, local_password=pwd)
        self._hosts = hosts
        self._loopback = loopback
        self._on_data = on_data
        self._on_heard = on_heard
        self._on_closed = on_closed
        self._pair: CandidatePair | None = None
        self._opened: set[str] = set()
        self._is_muted = False

    @property
    def pair(self) -> CandidatePair:
        """The nominated pair."""
        if self._pair is None:
            raise RuntimeError("not connected")
        return self._pair

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[aioice.Candidate]:
        """Gather candidates of our own choice of addresses."""
        chosen = list(addresses if self._hosts is None else self._hosts)
        if self._loopback is not None and self._loopback not in chosen:
            chosen.insert(0, self._loopback)
        self._opened.update(chosen)
        return await self._open_sockets(component, chosen)

    async def start(self, answer: Answer, *, may_gather: bool = False) -> None:
        """Check connectivity with what the other side has said.

        Args:
            answer: the other side's.
            may_gather: the checks have not failed until `gather_from` has ended, too.

        Raises:
            ConnectionError: no check succeeded.
        """
        await self._open_routes(answer.candidates)
        self.remote_username = answer.ufrag
        self.remote_password = answer.pwd
        # Whatever the other side is, one pair is nominated, after its check (RFC 8445 section
        # 8.1.1). aioice does so towards lite agents only; others would be asked for several
        # pairs at once, and may send media by one (as Pion does) that we do not read.
        self.remote_is_lite = True
        for candidate in answer.candidates:
            await self.add_remote_candidate(
                aioice.Candidate.from_sdp(str(_as_known(candidate)))
            )
        if not may_gather:
            await self.add_remote_candidate(None)
        await self.connect()
        for protocol in self._protocols:
            is_relayed = protocol.local_candidate.type == "relay"
            if is_relayed and protocol is not self.pair.protocol:
                # The server's allocation is given back; nobody waits for that.
                protocol.transport.close()

    async def gather_from(
        self,
        servers: Iterable[LinkedIceServer],
        found: Callable[[aioice.Candidate], None],
    ) -> None:
        """Gather candidates with STUN and TURN servers, while `start` checks what there is.

        Servers that do not work are passed over. They are those of the answer: to ask for them
        beforehand (OPTIONS, RFC 9725 section 4.6) would cost each attempt a round trip, and
        delay what most servers are reached by, the direct path.

        Args:
            servers: those that a client should use.
            found: told of each candidate when it is there.
        """
        usable = [server for server in servers if _is_usable(server)]
        try:
            async with asyncio.timeout(GATHER_TIMEOUT), asyncio.TaskGroup() as group:
                for server in usable[:MAX_SERVERS]:
                    group.create_task(self._ask_server(server, found))
        except TimeoutError:
            logger.debug("ICE servers did not answer within %g s", GATHER_TIMEOUT)
        finally:
            # aioice would go on waiting for more, if nobody has ended it meanwhile.
            await self.add_remote_candidate(None)

    async def _ask_server(
        self, server: LinkedIceServer, found: Callable[[aioice.Candidate], None]
    ) -> None:
        with _passed_over(server):
            if server.scheme == "stun":
                await self._reflect(server, found)
            else:
                found(await self._relay(server))

    async def _reflect(
        self, server: LinkedIceServer, found: Callable[[aioice.Candidate], None]
    ) -> None:
        """Learn what the other side of a NAT sees of our sockets."""
        loop = asyncio.get_running_loop()
        resolved = await loop.getaddrinfo(
            server.host, server.port, type=socket.SOCK_DGRAM
        )
        async with asyncio.TaskGroup() as group:
            for protocol in self._protocols:
                if protocol.local_candidate.type != "host":
                    continue
                own = ipaddress.ip_address(protocol.local_candidate.host)
                for _, _, _, _, address in resolved:
                    there = ipaddress.ip_address(str(address[0]).partition("%")[0])
                    is_fit = own.version == there.version
                    if is_fit and own.is_loopback == there.is_loopback:
                        place = str(address[0]), int(address[1])
                        group.create_task(_reflected(protocol, server, place, found))
                        break

    async def _relay(self, server: LinkedIceServer) -> aioice.Candidate:
        """Allocate at a TURN server, and check all pairs from there, too."""
        candidate, protocol = await relayed_candidate(
            component=1,
            hide_related_address=False,
            protocol_factory=lambda: _Relayed(self, self._on_heard),
            turn_server=(server.host, server.port),
            turn_username=server.username,
            turn_password=server.credential,
            turn_ssl=server.scheme == "turns",
            turn_transport=server.transport,
        )
        # aioice pairs a new remote candidate with all local ones, but not the other way round.
        self._protocols.append(protocol)
        for remote in self.remote_candidates:
            self._pair_remote_candidate(remote)
        self.sort_check_list()
        return candidate

    async def restart(
        self, local: Credentials, remote: Credentials, candidates: Iterable[Candidate]
    ) -> None:
        """Check with new credentials, and use the pair that is answered first from then on.

        Raises:
            ConnectionError: none was.
        """
        used = self.pair
        self._local_username, self._local_password = local
        self.remote_username, self.remote_password = remote
        pairs = [used]
        pairs += [
            CandidatePair(used.protocol, aioice.Candidate.from_sdp(str(_as_known(c))))
            for c in candidates
            if (c.host, c.port) != used.remote_addr[:2]
            and (":" in c.host) is (":" in used.remote_addr[0])
        ]
        for pair in pairs:
            with contextlib.suppress(TimeoutError, aioice.stun.TransactionError):
                async with asyncio.timeout(_CHECK_TIMEOUT):
                    await pair.protocol.request(
                        self.build_request(pair, nominate=True),
                        pair.remote_addr,
                        integrity_key=remote[1].encode(),
                    )
                # Consent is asked for where media goes (RFC 7675).
                self._nominated[pair.component] = self._pair = pair
                return
        raise ConnectionError("no check was answered")

    def ask(self) -> None:
        """Send a check over the nominated pair, and do not wait for the answer."""
        pair = self.pair
        request = self.build_request(pair, nominate=False)
        request.add_message_integrity((self.remote_password or "").encode())
        if _is_open(pair.protocol):
            pair.protocol.send_stun(request, pair.remote_addr)

    async def _open_routes(self, candidates: Iterable[Candidate]) -> None:
        """Open the local addresses that lead to remote candidates and are not open yet.

        Such as loopback when a server on this machine announces only that. The other side
        learns them from our checks, as peer-reflexive candidates.
        """
        routes = {source_address(c.host, c.port) for c in candidates} - {None}
        missing = sorted(str(route) for route in routes - self._opened)
        if missing:
            self._opened.update(missing)
            await self._open_sockets(1, missing)

    async def _open_sockets(
        self, component: int, addresses: list[str]
    ) -> list[aioice.Candidate]:
        # Cancelled between two of them, aioice would forget the first, and never close it.
        return await finish(super().get_component_candidates, component, addresses)

    def check_complete(self, pair: CandidatePair) -> None:
        """Remember the first pair that is nominated."""
        super().check_complete(pair)
        if pair.nominated and self._pair is None:
            self._pair = pair

    def data_received(self, data: bytes, component: int) -> None:
        """Hand a datagram on at once."""
        self._on_data(data)

    def protocol_lost(self, protocol: StunProtocol) -> None:
        """Notice the loss of the socket in use."""
        super().protocol_lost(protocol)
        if self._pair is not None and self._pair.protocol is protocol:
            self._on_closed()

    async def close(self) -> None:
        """Close, and say so: aioice does it by itself when consent ends."""
        await super().close()
        self._on_closed()

    def mute(self) -> None:
        """Send nothing more."""
        self._is_muted = True

    def send_now(self, data: bytes) -> None:
        """Send a datagram over the nominated pair, if there is one."""
        pair = self._pair
        if pair is None or self._is_muted:
            return
        if _is_open(pair.protocol):
            pair.protocol.transport.sendto(data, pair.remote_addr)


class _Relayed(StunProtocol):
    """The end of a TURN server's allocation; all that comes there comes from our peer."""

    def __init__(self, receiver: FullIce, on_heard: Callable[[], None]) -> None:
        super().__init__(receiver)
        self._on_heard = on_heard

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """Say that something came, then see what it is."""
        self._on_heard()
        super().datagram_received(data, addr)


def _is_usable(server: LinkedIceServer) -> bool:
    """Whether it can be asked; over DTLS (RFC 7350) none can, and unencrypted it is not wanted."""
    return server.scheme in ("stun", "turn") or (
        server.scheme == "turns" and server.transport == "tcp"
    )


def _is_open(protocol: StunProtocol) -> bool:
    """Whether something may be sent; aioice's transport for TURN then drops it by itself."""
    # By name: up to Python 3.11 asyncio's is no DatagramTransport.
    is_closing = getattr(protocol.transport, "is_closing", None)
    return is_closing is None or not is_closing()


@contextlib.contextmanager
def _passed_over(server: LinkedIceServer) -> Iterator[None]:
    """Go on without a server that does not work."""
    try:
        yield
    except Exception as error:
        # Whatever becomes in aioice of what a stranger sends.
        logger.debug("%r: %r", server, error)


async def _reflected(
    protocol: StunProtocol,
    server: LinkedIceServer,
    address: Address,
    found: Callable[[aioice.Candidate], None],
) -> None:
    request = aioice.stun.Message(
        message_method=aioice.stun.Method.BINDING,
        message_class=aioice.stun.Class.REQUEST,
    )
    base = protocol.local_candidate
    with _passed_over(server):
        response, _ = await protocol.request(request, address)
        host, port = response.attributes["XOR-MAPPED-ADDRESS"]
        if (host, port) == (base.host, base.port):
            return  # there is no NAT (RFC 8445 section 5.1.3)
        found(
            aioice.Candidate(
                foundation=candidate_foundation("srflx", "udp", base.host),
                component=1,
                transport="udp",
                priority=candidate_priority(1, "srflx"),
                host=host,
                port=port,
                type="srflx",
                related_address=base.host,
                related_port=base.port,
            )
        )


def _as_known(candidate: Candidate) -> Candidate:
    """A candidate of a type that aioice takes; a peer-reflexive one is announced by some."""
    if candidate.type in ("host", "srflx", "relay"):
        return candidate
    return Candidate(
        candidate.foundation,
        candidate.component,
        candidate.transport,
        candidate.priority,
        candidate.host,
        candidate.port,
    )
