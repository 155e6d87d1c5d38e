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
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aioice

from live777py.aio.finish import finish
from live777py.aio.scope import TaskScope
from live777py.errors import Unavailable
from live777py.protocol import sdpfrag
from live777py.protocol.candidate import Candidate
from live777py.protocol.link import LinkedIceServer
from live777py.relay import srtp
from live777py.relay.seam import SrtpKeys
from live777py.rtc.answer import LocalParameters
from live777py.rtc.counter_offer import read_counter_offer
from live777py.rtc.dtls import Certificate, Dtls, HandshakeFailed
from live777py.rtc.full_ice import Address, Credentials, FullIce
from live777py.rtc.outgoing_offer import (
    Answer,
    OutgoingMedia,
    read_answer,
    write_offer,
)
from live777py.rtc.turn_bridge import TurnBridge

#: Packets back from the newest that may be sent again.
HISTORY = 1024

#: Seconds that a goodbye may take.
_CLOSE_TIMEOUT = 5.0

#: The first byte of DTLS, and of RTP and RTCP (RFC 7983 section 7).
_DTLS = range(20, 64)
_RTP = range(128, 192)

#: Sends an SDP fragment to the other side; false when it wants no more.
Trickle = Callable[[str], Awaitable[bool]]


class ConnectFailed(Unavailable):
    """There is no connection to the other server, and why."""

    code = "connect_failed"


@dataclass(frozen=True, slots=True)
class Detached:
    """The nominated pair, read by somebody else from now on.

    Attributes:
        socket: of the local candidate, which asyncio no longer reads; a duplicate, for the
            caller to close.
        remote: where to send.
        receive: takes back what is not media: STUN, DTLS, RTCP.
    """

    socket: socket.socket
    remote: Address
    receive: Callable[[bytes], None]


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
        trickles: bool = False,
        cname: str = "live777py",
        on_rtp: Callable[[bytes], None] | None = None,
        on_rtcp: Callable[[bytes], None] | None = None,
        on_heard: Callable[[], None] | None = None,
        on_closed: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare a peer; nothing is opened yet.

        Args:
            media: what is offered.
            certificate: ours.
            target: the host of the server's URL; if it is a loopback address, candidates of
                that address are gathered too.
            hosts: local addresses to use instead of all that this machine has.
            trickles: more candidates may follow the offer.
            cname: the name of what we send.
            on_rtp: takes decrypted RTP packets.
            on_rtcp: takes decrypted compound RTCP packets.
            on_heard: told of every datagram that comes through a TURN server.
            on_closed: told once why the connection has ended, whoever ended it.
        """
        self.answer: Answer | None = None
        self.keys: SrtpKeys | None = None
        self._media = tuple(media)
        self._certificate = certificate
        self._cname = cname
        self._on_rtp = on_rtp
        self._on_rtcp = on_rtcp
        self._on_heard = on_heard
        self._on_closed = on_closed
        loopback = None
        if is_loopback(target):
            loopback = "127.0.0.1" if target.lower() == "localhost" else target
        self._ice = FullIce(
            hosts=hosts,
            loopback=loopback,
            on_data=self._receive,
            on_heard=self._heard,
            on_closed=self._ice_closed,
        )
        self._trickles = trickles
        self._bridge: TurnBridge | None = None
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
        local = self._local()
        if not local.candidates:
            raise ConnectFailed("no local address could be opened to send from")
        return write_offer(
            self._media,
            local,
            session=secrets.randbits(62),
            cname=self._cname,
            trickles=self._trickles,
        )

    def read(self, answer: str) -> Answer:
        """Check the answer to the offer.

        Raises:
            InvalidAnswer: it cannot be used.
        """
        return read_answer(answer, self._media)

    def answer_to(self, offer: str) -> tuple[Answer, str]:
        """Take an offer that came instead of an answer; to be called after `offer`.

        Returns:
            What the other side has said, for `connect`, and our answer.

        Raises:
            InvalidOffer, UnsupportedCodec: it cannot be used.
        """
        counter = read_counter_offer(offer, self._media)
        # Who offers is in control, unless it is the only lite one (RFC 8445 section 6.1.1).
        self._ice.ice_controlling = counter.remote.is_lite
        return counter.remote, counter.answer(self._local())

    async def connect(
        self,
        answer: str | Answer,
        *,
        ice_servers: Sequence[LinkedIceServer] = (),
        trickle: Trickle | None = None,
        timeout: float = 10.0,
    ) -> Answer:
        """Take the answer, check connectivity and shake hands.

        Args:
            answer: the other side's, as text or as `read`.
            ice_servers: STUN and TURN servers to gather more candidates with; a path that is
                found without them is taken at once.
            trickle: takes these candidates to the other side.
            timeout: seconds for everything.

        Raises:
            InvalidAnswer: the answer cannot be used.
            ConnectFailed: no check was answered, or the handshake failed, or in time.
        """
        self.answer = read = self.read(answer) if isinstance(answer, str) else answer
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
                await self._check(read, ice_servers, trickle)
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

    async def _check(
        self,
        read: Answer,
        servers: Sequence[LinkedIceServer],
        trickle: Trickle | None,
    ) -> None:
        """Find a path; leaving ends what is still being gathered."""
        async with TaskScope() as scope:
            if servers:
                found: asyncio.Queue[aioice.Candidate | None] = asyncio.Queue()
                scope.spawn(self._gather, servers, found)
                if trickle is not None:
                    scope.spawn(self._pass_on, read, found, trickle)
            await self._ice.start(read, may_gather=bool(servers))

    async def _gather(
        self,
        servers: Sequence[LinkedIceServer],
        found: asyncio.Queue[aioice.Candidate | None],
    ) -> None:
        await self._ice.gather_from(servers, found.put_nowait)
        found.put_nowait(None)

    async def _pass_on(
        self,
        read: Answer,
        found: asyncio.Queue[aioice.Candidate | None],
        trickle: Trickle,
    ) -> None:
        """Tell the other side of candidates; those that come meanwhile go together."""
        is_complete = False
        while not is_complete:
            new = [await found.get()]
            while not found.empty():
                new.append(found.get_nowait())
            is_complete = None in new
            fragment = self._fragment(
                read,
                [Candidate.parse(c.to_sdp()) for c in new if c is not None],
                is_complete=is_complete,
            )
            if not await trickle(fragment):
                return

    def _fragment(
        self, read: Answer, candidates: Sequence[Candidate], *, is_complete: bool
    ) -> str:
        media = [m for m in read.media if m.is_accepted]
        return sdpfrag.write_candidates(
            ufrag=self._ice.local_username,
            pwd=self._ice.local_password,
            mids=[m.mid for m in media],
            kind=media[0].kind,
            candidates=candidates,
            is_complete=is_complete,
        )

    def nothing_new(self) -> str:
        """A fragment that tells the other side only what it knows already."""
        if self.answer is None:
            raise RuntimeError("not connected")
        return self._fragment(self.answer, (), is_complete=True)

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
    def is_relayed(self) -> bool:
        """Whether the way leads through a TURN server; `connect` must have returned."""
        return bool(self._ice.pair.local_candidate.type == "relay")

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

    def detach(self) -> Detached:
        """Give the nominated path to a reader of the caller's.

        It is a socket that is not blocking. STUN, DTLS and RTCP that it reads have to come back
        through `Detached.receive`; RTP that does is decrypted and handed to `on_rtp`, as before.

        Through a TURN server there is no such socket: then it is one of a bridge, by which only
        RTP comes.

        Raises:
            OSError: there are too many open files.
        """
        pair = self._ice.pair
        if self.is_relayed:
            if self._bridge is None:
                self._bridge = TurnBridge(self._send)
            return Detached(self.media_socket(), self._bridge.address, self._receive)
        transport: Any = pair.protocol.transport
        transport.pause_reading()

        def receive(data: bytes) -> None:
            pair.protocol.datagram_received(data, pair.remote_addr)

        return Detached(self.media_socket(), pair.remote_addr, receive)

    def media_socket(self) -> socket.socket:
        """A duplicate of the socket that was detached.

        Raises:
            OSError: there are too many open files, or it has been closed.
        """
        if self._bridge is not None:
            return self._bridge.socket.dup()
        transport: Any = self._ice.pair.protocol.transport
        found: socket.socket = transport.get_extra_info("socket").dup()
        return found

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
        if self._bridge is not None:
            self._bridge.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                if self._dtls is not None:
                    if not goodbye:
                        self._ice.mute()
                    await self._dtls.aclose()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._ice.close()

    def _local(self) -> LocalParameters:
        return LocalParameters(
            self._ice.local_username,
            self._ice.local_password,
            self._certificate.fingerprint,
            tuple(Candidate.parse(c.to_sdp()) for c in self._ice.local_candidates),
        )

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
            elif self._bridge is not None:
                self._bridge.deliver(data)
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

    def _heard(self) -> None:
        if self._bridge is not None:
            self._bridge.heard()
        if self._on_heard is not None:
            self._on_heard()

    def _ice_closed(self) -> None:
        self._end("the other side answers no more")

    def _end(self, reason: str) -> None:
        if not self._gone.is_set():
            self._reason = reason
            self._gone.set()
            if self._on_closed is not None:
                self._on_closed(reason)
