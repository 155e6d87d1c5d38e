"""Peers that we open to another WHIP or WHEP server: full ICE, DTLS in either role, SRTP.

Signalling is the caller's: `OutgoingPeer` writes the offer and takes the answer. It reads its
own sockets through asyncio until somebody takes the nominated one over (`detach`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aioice
from aioice.ice import CandidatePair, StunProtocol

from live777py.aio.finish import finish
from live777py.errors import Unavailable
from live777py.protocol.candidate import Candidate
from live777py.relay import srtp
from live777py.relay.seam import SrtpKeys
from live777py.rtc.answer import LocalParameters
from live777py.rtc.dtls import Certificate, Dtls, HandshakeFailed
from live777py.rtc.outgoing_offer import (
    Answer,
    OutgoingMedia,
    read_answer,
    write_offer,
)

#: Letters of a username fragment and of a password that we make; aioice's four are few where
#: a server tells hundreds of sessions of ours apart by them (RFC 8445 section 5.3).
_UFRAG_BYTES = 6
_PWD_BYTES = 18

#: Packets back from the newest that may be sent again.
HISTORY = 1024

#: Seconds that a goodbye may take.
_CLOSE_TIMEOUT = 5.0

#: The first byte of DTLS, and of RTP and RTCP (RFC 7983 section 7).
_DTLS = range(20, 64)
_RTP = range(128, 192)

#: Seconds that one check of an ICE restart may take before the next candidate is tried.
_CHECK_TIMEOUT = 1.0

Address = tuple[str, int]

#: A username fragment and a password.
Credentials = tuple[str, str]


def new_credentials() -> Credentials:
    """ICE credentials of a session of ours."""
    return secrets.token_hex(_UFRAG_BYTES), secrets.token_hex(_PWD_BYTES)


class ConnectFailed(Unavailable):
    """There is no connection to the other server, and why."""

    code = "connect_failed"


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server.

    Attributes:
        scheme: "stun", "turn" or "turns".
        host, port: where it is.
        transport: "udp" or "tcp", for TURN.
        username, credential: for TURN.
    """

    scheme: str
    host: str
    port: int
    transport: str = "udp"
    username: str | None = None
    credential: str | None = None

    def __repr__(self) -> str:
        return f"IceServer({self.scheme}:{self.host}:{self.port})"


@dataclass(frozen=True, slots=True)
class Detached:
    """The nominated pair, read by somebody else from now on.

    Attributes:
        socket: of the local candidate, which asyncio no longer reads; a duplicate, for the
            caller to close.
        remote: where the other side is.
        receive: takes back what is not media: STUN, DTLS, RTCP.
    """

    socket: socket.socket
    remote: Address
    receive: Callable[[bytes], None]


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


def is_loopback(host: str) -> bool:
    """Whether a host is this machine's own, by address or as localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


class OutgoingPeer:
    """One peer connection that we open.

    `async with OutgoingPeer(media, …) as peer:`, then `offer`, post it, `connect(answer)`; what
    arrives goes to the callbacks, what is to be sent into `send_rtp` and `send_rtcp`. Leaving
    the block says goodbye and closes the sockets. `closed` ends when the other side has gone.

    Attributes:
        answer: after `connect` was called.
        keys: after `connect` returned: what a data plane needs to take the media over.
    """

    def __init__(
        self,
        media: Sequence[OutgoingMedia],
        *,
        certificate: Certificate,
        target: str = "",
        hosts: Sequence[str] | None = None,
        ice_servers: Iterable[IceServer] = (),
        cname: str = "live777py",
        on_rtp: Callable[[bytes], None] | None = None,
        on_rtcp: Callable[[bytes], None] | None = None,
        on_closed: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare a peer; nothing is opened yet.

        Args:
            media: what is offered.
            certificate: ours.
            target: the host of the server's URL; if it is a loopback address, candidates of
                that address are gathered too.
            hosts: local addresses to use instead of all that this machine has.
            ice_servers: the first STUN and the first TURN server are used.
            cname: the name of what we send.
            on_rtp: takes decrypted RTP packets.
            on_rtcp: takes decrypted compound RTCP packets.
            on_closed: told once why the connection has ended, whoever ended it.
        """
        self.answer: Answer | None = None
        self.keys: SrtpKeys | None = None
        self._media = tuple(media)
        self._certificate = certificate
        self._cname = cname
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp
        self._on_closed = on_closed
        loopback = None
        if is_loopback(target):
            loopback = "127.0.0.1" if target.lower() == "localhost" else target
        self._ice = _Ice(ice_servers, hosts, loopback, self._receive, self._ice_closed)
        self._dtls: Dtls | None = None
        self._sessions: srtp.Sessions | None = None
        self._waiting: list[bytes] = []
        self._gone = asyncio.Event()
        self._reason = ""
        self._is_closed = False
        self.undecryptable = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def offer(self) -> str:
        """Gather candidates and write the offer.

        Raises:
            ConnectFailed: no socket could be opened.
        """
        await self._ice.gather_candidates()
        candidates = tuple(
            Candidate.parse(candidate.to_sdp())
            for candidate in self._ice.local_candidates
        )
        if not candidates:
            raise ConnectFailed("no local address could be opened to send from")
        local = LocalParameters(
            self._ice.local_username,
            self._ice.local_password,
            self._certificate.fingerprint,
            candidates,
        )
        return write_offer(
            self._media, local, session=secrets.randbits(62), cname=self._cname
        )

    async def connect(self, answer: str, *, timeout: float = 10.0) -> Answer:
        """Take the answer, check connectivity and shake hands.

        Raises:
            InvalidAnswer: the answer cannot be used.
            ConnectFailed: no check was answered, or the handshake failed, or in time.
        """
        self.answer = read = read_answer(answer, self._media)
        self._dtls = Dtls(
            self._certificate,
            role=read.dtls_role,
            fingerprints=read.fingerprints,
            send=self._send,
            on_closed=self._end,
        )
        for data in self._waiting:
            self._dtls.receive(data)
        self._waiting.clear()
        step = "ICE: no connectivity check was answered"
        try:
            async with asyncio.timeout(timeout):
                await self._ice.start(read)
                step = "DTLS: the handshake was not answered"
                self.keys = await self._dtls.handshake()
        except TimeoutError as error:
            raise ConnectFailed(f"{step} within {timeout:g} s") from error
        except HandshakeFailed as error:
            raise ConnectFailed(f"DTLS: {error}") from error
        except ConnectionError as error:
            if read.candidates:
                raise ConnectFailed(step) from error
            raise ConnectFailed("ICE: the answer has no usable candidate") from error
        self._sessions = srtp.create(self.keys, history=HISTORY)
        return read

    async def restart(
        self,
        local: Credentials,
        remote: Credentials,
        candidates: Iterable[Candidate],
        *,
        timeout: float = 5.0,
    ) -> None:
        """Go over to new ICE credentials, which were exchanged before (RFC 8445 section 9).

        The path in use is tried first, then each candidate. DTLS and SRTP stay as they are.

        Raises:
            ConnectFailed: no check with the new credentials was answered in time.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._ice.restart(local, remote, candidates)
        except (TimeoutError, ConnectionError) as error:
            reason = "ICE: no check with the new credentials was answered"
            raise ConnectFailed(reason) from error

    async def closed(self) -> str:
        """Wait until the connection has ended; returns the reason."""
        await self._gone.wait()
        return self._reason

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self._gone.is_set()

    @property
    def remote(self) -> Address:
        """Where the other side is; `connect` must have returned."""
        return self._ice.pair.remote_addr

    def send_rtp(self, packet: bytes) -> bytes:
        """Encrypt an RTP packet and send it; returns what was sent, for retransmission."""
        data = self.protect_rtp(packet)
        self._send(data)
        return data

    def protect_rtp(self, packet: bytes) -> bytes:
        """Encrypt an RTP packet."""
        return self._srtp.send.protect(packet)

    def send_protected(self, data: bytes) -> None:
        """Send what is encrypted already."""
        self._send(data)

    def unprotect_rtp(self, data: bytes) -> bytes | None:
        """Decrypt an RTP packet; None for one that is forged, repeated or too early."""
        if self._sessions is None:
            return None
        try:
            return self._sessions.receive.unprotect(data)
        except (srtp.Error, ValueError):  # forged or repeated; longer than a datagram
            return None

    def send_rtcp(self, packet: bytes) -> None:
        """Encrypt a compound RTCP packet and send it; nothing after the end."""
        if self._dtls is not None and not self._gone.is_set():
            self._send(self._dtls.protect_rtcp(packet))

    def ask(self) -> None:
        """Ask the other side whether it is there; what it answers comes like any STUN."""
        self._ice.ask()

    def detach(self) -> Detached | None:
        """Give the nominated socket to a reader of the caller's.

        It is not blocking. STUN, DTLS and RTCP have to come back through `Detached.receive`;
        RTP that does is decrypted and handed to `on_rtp`, as before.

        Returns:
            None where there is no UDP socket of ours, through TURN.
        """
        pair = self._ice.pair
        transport: Any = pair.protocol.transport
        sock = transport.get_extra_info("socket")
        if sock is None or pair.local_candidate.type == "relay":
            return None
        transport.pause_reading()

        def receive(data: bytes) -> None:
            pair.protocol.datagram_received(data, pair.remote_addr)

        return Detached(sock.dup(), pair.remote_addr, receive)

    async def aclose(self, *, goodbye: bool = True) -> None:
        """Say goodbye and close; does nothing a second time.

        Args:
            goodbye: without it the sockets are closed without a word.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._end("closed by us")
        await finish(self._close, goodbye)

    async def _close(self, goodbye: bool) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                if self._dtls is not None:
                    if not goodbye:
                        self._ice.mute()
                    await self._dtls.aclose()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._ice.close()

    @property
    def _srtp(self) -> srtp.Sessions:
        if self._sessions is None:
            raise RuntimeError("not connected")
        return self._sessions

    def _send(self, data: bytes) -> None:
        self._ice.send_now(data)

    def _receive(self, data: bytes) -> None:
        """Take a datagram that is not STUN; never raises."""
        if not data:
            return
        if data[0] in _DTLS:
            if self._dtls is not None:
                self._dtls.receive(data)
            elif len(self._waiting) < 16:
                self._waiting.append(data)
        elif data[0] in _RTP and len(data) >= 12:
            if 192 <= data[1] <= 223:
                self._receive_rtcp(data)
            elif self._on_rtp is not None:
                plain = self.unprotect_rtp(data)
                if plain is None:
                    self.undecryptable += 1
                else:
                    self._on_rtp(plain)

    def _receive_rtcp(self, data: bytes) -> None:
        if self._on_rtcp is None or self._dtls is None:
            return
        plain = self._dtls.unprotect_rtcp(data)
        if plain is None:
            self.undecryptable += 1
        else:
            self._on_rtcp(plain)

    def _ice_closed(self) -> None:
        self._end("the other side answers no more")

    def _end(self, reason: str) -> None:
        if not self._gone.is_set():
            self._reason = reason
            self._gone.set()
            if self._on_closed is not None:
                self._on_closed(reason)


class _Ice(aioice.Connection):
    """aioice's agent, with the host addresses that we choose and no queue.

    What is overridden is public there: `get_component_candidates` is given the addresses of
    this machine without loopback; `data_received` would put datagrams into a queue without
    bound; `check_complete` is the one place that knows the nominated pair.
    """

    def __init__(
        self,
        servers: Iterable[IceServer],
        hosts: Sequence[str] | None,
        loopback: str | None,
        on_data: Callable[[bytes], None],
        on_closed: Callable[[], None],
    ) -> None:
        servers = list(servers)
        stun = next((s for s in servers if s.scheme == "stun"), None)
        turn = next((s for s in servers if s.scheme in ("turn", "turns")), None)
        ufrag, pwd = new_credentials()
        super().__init__(
            ice_controlling=True,
            stun_server=None if stun is None else (stun.host, stun.port),
            turn_server=None if turn is None else (turn.host, turn.port),
            turn_username=None if turn is None else turn.username,
            turn_password=None if turn is None else turn.credential,
            turn_ssl=turn is not None and turn.scheme == "turns",
            turn_transport="udp" if turn is None else turn.transport,
            local_username=ufrag,
            local_password=pwd,
        )
        self._hosts = hosts
        self._loopback = loopback
        self._on_data = on_data
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
        return await super().get_component_candidates(component, chosen, timeout)

    async def start(self, answer: Answer) -> None:
        """Check connectivity with what an answer says.

        Raises:
            ConnectionError: no check succeeded.
        """
        await self._open_routes(answer.candidates)
        self.remote_username = answer.ufrag
        self.remote_password = answer.pwd
        self.remote_is_lite = answer.is_lite
        for candidate in answer.candidates:
            await self.add_remote_candidate(
                aioice.Candidate.from_sdp(str(_as_known(candidate)))
            )
        await self.add_remote_candidate(None)
        await self.connect()

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
        if not pair.protocol.transport.is_closing():
            pair.protocol.send_stun(request, pair.remote_addr)

    async def _open_routes(self, candidates: Iterable[Candidate]) -> None:
        """Open the local addresses that lead to remote candidates and are not open yet.

        Such as loopback when a server on this machine announces only that. The other side
        learns them from our checks, as peer-reflexive candidates.
        """
        routes = {source_address(c.host, c.port) for c in candidates} - {None}
        missing = sorted(str(route) for route in routes - self._opened)
        if missing and not any(s.type == "relay" for s in self.local_candidates):
            self._opened.update(missing)
            stun, turn = self.stun_server, self.turn_server
            self.stun_server = self.turn_server = None
            try:
                await super().get_component_candidates(1, missing)
            finally:
                self.stun_server, self.turn_server = stun, turn

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
        transport = pair.protocol.transport
        if not transport.is_closing():
            transport.sendto(data, pair.remote_addr)


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
