"""Peers that this node opens at another server, a stream's publisher or one of its viewers.

aioice makes the connection, on sockets of its own; then the data plane adopts the one in use, and
what is not media goes back to aioice and its DTLS. The rest is a publisher's or a viewer's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
from abc import abstractmethod
from contextlib import AsyncExitStack
from typing import Any, ClassVar
from urllib.parse import urlsplit

from live777py.aio.finish import finish
from live777py.aio.scope import TaskScope
from live777py.clients.sdp_session import (
    Refused,
    SdpClient,
    SdpSession,
    Unreachable,
)
from live777py.core import lineage
from live777py.core.ports import Ending, PeerGone, RemotePeer
from live777py.core.remote import Opened, Remote
from live777py.errors import (
    AtCapacity,
    BadGateway,
    GatewayTimeout,
    InvalidAnswer,
    InvalidOffer,
    UnsupportedCodec,
)
from live777py.protocol import rtcp
from live777py.protocol.headers import NO_WAIT, VIA, WAIT
from live777py.protocol.rtp import Malformed
from live777py.relay.seam import Path, SrtpKeys
from live777py.rtc.full_ice import has_address
from live777py.rtc.outgoing import ConnectFailed, Detached, OutgoingPeer
from live777py.rtc.outgoing_offer import (
    Answer,
    OutgoingMedia,
)
from live777py.rtc.peer import Resources, RtcPeer
from live777py.rtc.refusals import Refusals
from live777py.rtc.tracks import StreamTracks

logger = logging.getLogger(__name__)

#: Seconds that the DELETE of a session may take.
GOODBYE = 5.0

#: The same where the other server is lost: the next attempt waits for it.
LOST_GOODBYE = 1.0

#: Causes of the end of a session with a server that is lost, or may be.
_LOST = ("silent", "no_media")

#: Seconds of silence after which the other server is asked whether it is there: most send a
#: report every second. Where its port is closed, its machine says so at once.
ASK_AFTER = 1.5

#: Seconds of silence after which it is asked by HTTP: another process may have that port now, or
#: nothing may tell that it is closed.
DOUBT_AFTER = 3.0

#: Seconds of silence after which it is gone; aioice would wait half a minute (RFC 7675).
LOST_AFTER = 12.0

#: What a node says of itself that can open no socket more.
TOO_MANY_FILES = (
    "this node has as many files open as it may: raise its limit (ulimit -n)"
)

#: Of a status 508 (RFC 5842 section 7.2).
LOOP_DETECTED = 508


class OpenedPeer(RtcPeer, RemotePeer):
    """What both directions have in common."""

    #: What the other server does with media.
    _verb: ClassVar[str]

    def __init__(
        self, resources: Resources, tracks: StreamTracks, remote: Remote
    ) -> None:
        super().__init__(resources, tracks)
        self._remote = remote
        self._goodbyes = AsyncExitStack()
        self._client: SdpClient
        self._session: SdpSession | None = None
        self._outgoing: OutgoingPeer
        self._detached: Detached | None = None
        self._refusals: Refusals | None = None
        self._doubt = asyncio.Event()
        #: Where media goes out, as the socket has it.
        self._local_address: tuple[Any, ...] = ()
        self._answered: Answer

    @property
    def version(self) -> str:
        """Nobody restarts ICE here but we."""
        return "cascade"

    @property
    def remote_ufrag(self) -> str:
        """None that a client could change."""
        return ""

    @property
    def media_silence(self) -> float:
        """Who is sent a stream is not waited for."""
        return 0.0

    @property
    def stage(self) -> str:
        """As long as it is not connected; aioice knows better."""
        return "ice"

    async def open(self) -> Opened:
        """Post an offer and read the answer."""
        try:
            # As in `connected`: end() lets this "time out" at once.
            async with asyncio.timeout(None) as self._connecting:
                if self._ending.done():
                    raise PeerGone(*self._ending.result())
                return await self._post()
        except TimeoutError:
            raise PeerGone(*self._ending.result()) from None
        finally:
            self._connecting = None

    async def gone(self) -> Ending:
        """Wait until the peer ends; returns how."""
        async with TaskScope() as scope:
            if self._session is not None and self._session.takes_fragments:
                scope.spawn(self._see_to_doubts, self._session)
            return await super().gone()

    # What the two directions do differently.

    @abstractmethod
    def _new_client(self, token: str | None, headers: dict[str, str]) -> SdpClient:
        """A client of the other server's."""

    @abstractmethod
    async def _to_offer(self) -> tuple[OutgoingMedia, ...]:
        """The sections of the offer."""

    def _headers(self) -> dict[str, str]:
        """What nodes of our own kind are told beside the offer."""
        headers = {VIA: self._remote.via}
        if not self._remote.may_wait:
            headers[WAIT] = NO_WAIT
        return headers

    # What the base class asks.

    def _register(self) -> None:
        self._resources.transport.register_own(self._id, self)

    async def _establish(self) -> SrtpKeys:
        session = self._session
        if session is None:
            raise RuntimeError("open() comes before connected()")
        # Our answer to an offer of theirs had said that there are no more candidates.
        may_trickle = session.takes_fragments and not session.is_offer
        try:
            await self._outgoing.connect(
                self._answered,
                ice_servers=session.ice_servers,
                trickle=self._trickle if may_trickle else None,
            )
        except ConnectFailed as failure:
            raise PeerGone(str(failure), "connect_failed") from failure
        keys = self._outgoing.keys
        if keys is None:
            raise RuntimeError("connect() leaves keys")
        try:
            self._adopt()
        except OSError as error:
            if not _has_too_many(error):
                raise
            raise PeerGone(TOO_MANY_FILES, "too_many_files") from error
        self._heard = time.monotonic_ns()
        return keys

    def _adopt(self) -> None:
        """Have the data plane take over the path in use."""
        self._detached = detached = self._outgoing.detach()
        if self._outgoing.is_relayed:
            logger.info("peer %d: the way leads through a TURN server", self._id)
        # What came before is lost, and asked for again like any loss.
        with detached.socket as sock:
            self._local_address = local = sock.getsockname()
            scope = local[3] if len(local) > 3 else 0
            host, port = detached.remote[:2]
            path = Path(host.partition("%")[0], port, local[0].partition("%")[0], scope)
            self._plane.adopt(self._id, sock, path)

    async def _say_goodbye(self) -> None:
        await finish(self._hang_up)

    async def _hang_up(self) -> None:
        if self._refusals is not None:
            self._refusals.close()
        is_lost = self._ending.done() and self._ending.result().cause in _LOST
        async with self._goodbyes:
            if self._session is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOST_GOODBYE if is_lost else GOODBYE):
                        await self._client.delete(self._session)

    def _send_rtcp(self, *packets: rtcp.Packet) -> None:
        self._outgoing.send_rtcp(rtcp.compound(*packets))

    def _silent(self, now: int) -> float:
        return (now - max(self._last_received(), self._pardoned)) / 1e9

    def _look(self, silent: float) -> None:
        if silent > LOST_AFTER:
            reason = f"nothing came from the other server for {LOST_AFTER:g} s"
            self.end(reason, "silent")
        elif silent > ASK_AFTER and self._detached is not None:
            self._ask(self._detached, silent)
        elif self._refusals is not None:
            self._refusals.close()
            self._refusals = None

    def _ask(self, detached: Detached, silent: float) -> None:
        """Find out whether the other server is there."""
        if not has_address(self._local_address):
            # A network was left for another one: the next attempt goes by that.
            self.end(f"the address {self._local_address[0]} is gone", "silent")
            return
        if self._refusals is None:
            with contextlib.suppress(OSError):  # it is closed, or there are too many
                sock = self._outgoing.media_socket()
                self._refusals = Refusals(sock, detached.remote, self._refused)
        self._outgoing.ask()
        if silent > DOUBT_AFTER:
            self._doubt.set()

    # What the transport calls.

    def receive_stun(self, data: bytes, path: Path, arrived: int) -> None:
        """Give aioice what it asked for, or is asked."""
        self._heard = arrived
        self._hand_back(data)

    def receive_dtls(self, data: bytes, path: Path, arrived: int) -> None:
        """The end of the association, or somebody who did not hear of its beginning."""
        self._hand_back(data)

    def receive_rtcp(self, data: bytes, path: Path, arrived: int) -> None:
        """RTCP to be decrypted."""
        self._hand_back(data)

    # Inside.

    def _hand_back(self, data: bytes) -> None:
        if self._detached is not None:
            self._detached.receive(data)

    async def _trickle(self, fragment: str) -> bool:
        return self._session is not None and await self._client.trickle(
            self._session, fragment
        )

    async def _see_to_doubts(self, session: SdpSession) -> None:
        """Ask by HTTP whether the session is still there, about once a second in a silence."""
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            is_lost = await self._client.has_lost(session, self._outgoing.nothing_new())
            if is_lost and self._silent(time.monotonic_ns()) > ASK_AFTER:
                self.end("the other server has lost the session", "silent")

    def _note_heard(self) -> None:
        self._heard = time.monotonic_ns()

    def _refused(self) -> None:
        """The other server's machine says that nobody listens there."""
        if self._silent(time.monotonic_ns()) > ASK_AFTER:
            self.end("the other server's port is closed", "silent")

    def _take_rtcp(self, plain: bytes) -> None:
        now = time.monotonic_ns()
        self._heard = now
        try:
            packets = rtcp.parse(plain)
        except Malformed as fault:
            logger.debug("peer %d: malformed RTCP: %s", self._id, fault)
            return
        # What comes before the plane is ready has nobody to act on it.
        if self._timer is not None:
            self._take(packets, now)

    def _closed_by_server(self, reason: str) -> None:
        self.end(f"closed by the other server: {reason}", "closed")

    async def _post(self) -> Opened:
        remote = self._remote
        media = await self._to_offer()
        self._client = await self._goodbyes.enter_async_context(
            self._new_client(remote.token or None, self._headers())
        )
        self._outgoing = await self._goodbyes.enter_async_context(
            OutgoingPeer(
                media,
                certificate=self._resources.certificate,
                target=urlsplit(remote.url).hostname or "",
                trickles=True,
                cname=self._tracks.cname,
                on_rtcp=self._take_rtcp,
                on_heard=self._note_heard,
                on_closed=self._closed_by_server,
            )
        )
        try:
            offer = await self._outgoing.offer()
            self._session = await self._client.post(remote.url, offer)
            if self._session.is_offer:
                self._answered, answer = self._outgoing.answer_to(self._session.answer)
                await self._client.answer(self._session, answer)
            else:
                self._answered = self._outgoing.read(self._session.answer)
        except Refused as error:
            loop = lineage.refused(error.via)
            if error.status == LOOP_DETECTED and loop is not None:
                raise loop from error
            raise BadGateway(
                str(error), error.status, error.body, error.retry_after
            ) from error
        except InvalidAnswer as error:
            raise BadGateway(f"{remote.shown}: {error}", 201) from error
        except (InvalidOffer, UnsupportedCodec) as error:
            fault = f"it wants to be answered, but {error}"
            raise BadGateway(f"{remote.shown}: {fault}", 406) from error
        except (Unreachable, ConnectFailed, OSError) as error:
            if _has_too_many(error):
                # That is no fault of the other server's.
                raise AtCapacity(TOO_MANY_FILES) from error
            if isinstance(error, OSError):
                raise
            raise GatewayTimeout(str(error)) from error
        return Opened(
            self._client.hidden(self._session.url or ""),
            lineage.parse(self._session.via),
            tuple(
                self._client.hidden(
                    f"{remote.shown} {self._verb} no {section.kind}: {section.refusal}"
                )
                for section in self._answered.media
                if section.refusal
            ),
        )


def _has_too_many(error: BaseException | None) -> bool:
    """Whether an error, or what led to it, is for want of descriptors."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        error = error.__cause__
    return False
