"""What the checks of one side work with: streams, sessions, peers, and what is known already."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from live777py.conformance import fragments, offers
from live777py.conformance.exchange import FRAGMENT, SDP, Exchange, NoResponse, Reply
from live777py.conformance.fragments import Fragment
from live777py.conformance.model import Failed, NotApplicable, Side, Skipped
from live777py.conformance.options import Target
from live777py.conformance.peer import CannotConnect, Peer, Peers
from live777py.errors import InvalidOffer
from live777py.protocol import sdp

#: Seconds within which media has to come, and its pause has to end.
MEDIA_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Session:
    """A session that the server has made.

    Attributes:
        target: the stream.
        offer: ours.
        reply: the 201.
        url: of the session.
    """

    target: Target
    offer: str
    reply: Reply
    url: str

    @property
    def etag(self) -> str | None:
        """The entity tag of the 201, as it is."""
        return next(iter(self.reply.headers.getall("ETag", [])), None)


@dataclass(frozen=True, slots=True)
class Call:
    """A session whose peer is connected."""

    session: Session
    peer: Peer


@dataclass(frozen=True, slots=True)
class Patching:
    """What a server does when PATCHed, found once and kept.

    Attributes:
        trickle: the answer to new candidates.
        restart: the answer to new credentials, of a connected session.
        flows: why media did not go on after the restart; empty if it did.
        old: the answer to candidates under the entity tag from before the restart.
        survives: whether the session still stood afterwards.
        before: what the answer said of the server's ICE side.
        tag: the entity tag of the 201.
    """

    trickle: Reply
    restart: Reply
    flows: str
    old: Reply | None
    survives: bool
    before: Fragment
    tag: str | None

    @property
    def has_trickle(self) -> bool:
        """Whether candidates are taken."""
        return self.trickle.is_success

    @property
    def has_restart(self) -> bool:
        """Whether ICE is restarted."""
        return self.restart.status == 200


class Bench:
    """One side of the server under test; several checks may use it at once.

    Attributes:
        side: "whip" or "whep".
        exchange: speaks HTTP.
        has_token: whether requests are authenticated.
        is_fixed: whether there is only one stream.
    """

    def __init__(
        self,
        side: Side,
        exchange: Exchange,
        peers: Peers,
        names: Iterator[Target],
        *,
        live: Target | None = None,
        idle: Target | None = None,
        is_fixed: bool = False,
        has_token: bool = False,
    ) -> None:
        """Prepare a bench.

        Args:
            side: "whip" or "whep".
            exchange: speaks HTTP.
            peers: makes peers.
            names: streams that nobody uses.
            live: a stream with a publisher, to be watched.
            idle: a stream that had a publisher a moment ago.
            is_fixed: whether all names are the same.
            has_token: whether requests are authenticated.
        """
        self.side = side
        self.exchange = exchange
        self.has_token = has_token
        self.is_fixed = is_fixed
        self.idle = idle
        self._peers = peers
        self._names = names
        self._live = live
        self._sample: Session | None = None
        self._patching: Patching | None = None
        self._lock = asyncio.Lock()

    def target(self) -> Target:
        """A stream for a session of this side: an unused one, or the live one."""
        return next(self._names) if self._live is None else self._live

    def unused(self) -> Target:
        """A stream that nobody uses."""
        return next(self._names)

    def offer(self, **changes: object) -> str:
        """An offer of this side; `offers.write` says what may be changed."""
        return offers.write(self.side, **changes)  # type: ignore[arg-type]

    async def ask(
        self,
        method: str,
        url: str,
        target: Target | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: str = "",
        what: str = "",
    ) -> Reply:
        """Send a request with the token of a stream; without a stream, without a token."""
        token = None if target is None else target.token
        return await self.exchange.request(
            method,
            url,
            token=token,
            headers=headers,
            body=body,
            what=what,
            label=self.side,
        )

    async def post(
        self,
        offer: str,
        what: str = "an offer",
        *,
        target: Target | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Post an offer; the session, if there is one, is the caller's to delete."""
        target = target or self.target()
        given = {"Content-Type": SDP, "Accept": SDP, **(headers or {})}
        url = target.url(self.side)
        return await self.ask("POST", url, target, headers=given, body=offer, what=what)

    async def drop(self, reply: Reply, target: Target | None = None) -> None:
        """Delete the session that a reply to POST has made, if any."""
        url = reply.location
        if url is not None and url in self.exchange.sessions:
            token = self.exchange.sessions[url] if target is None else target.token
            await self.exchange.request("DELETE", url, token=token)

    async def posted(self, offer: str, what: str) -> Reply:
        """Post an offer and delete the session at once."""
        reply = await self.post(offer, what)
        await self.drop(reply)
        return reply

    @asynccontextmanager
    async def opened(
        self,
        offer: str | None = None,
        what: str = "an offer",
        target: Target | None = None,
    ) -> AsyncIterator[Session]:
        """A session for the time of a block.

        Raises:
            Skipped: the server makes none, so there is nothing to check.
        """
        target = target or self.target()
        offer = offer or self.offer()
        reply = await self.post(offer, what, target=target)
        url = reply.location
        if reply.status != 201 or url is None:
            await self.drop(reply)
            raise Skipped(f"there is no session to look at: {reply.sent}: {reply.got}")
        try:
            yield Session(target, offer, reply, url)
        finally:
            # What is left is deleted in the end of the run, and told then.
            with contextlib.suppress(NoResponse):
                if url in self.exchange.sessions:
                    await self.ask("DELETE", url, target)

    async def sample(self) -> Session:
        """The answer to an ordinary offer, its session deleted already; asked for once.

        Raises:
            Skipped: the server answers none.
        """
        async with self._lock:
            if self._sample is None:
                async with self.opened() as session:
                    self._sample = session
            return self._sample

    @asynccontextmanager
    async def connected(
        self,
        *,
        edit: Callable[[str], str] | None = None,
        before: Callable[[Session], Awaitable[None]] | None = None,
        target: Target | None = None,
        what: str = "an offer",
    ) -> AsyncIterator[Call]:
        """A session with a connected peer for the time of a block.

        Args:
            edit: changes the offer.
            before: awaited between answer and connection.
            target: the stream.
            what: what is special about the offer.

        Raises:
            Failed: there is a session but no connection.
            Skipped: there is no session.
        """
        target = target or self.target()
        peer = self._peers(self.side, target.url(self.side))
        try:
            try:
                offer = await peer.offer()
            except Exception as error:
                raise Skipped(f"no offer could be made here: {error}") from error
            offer = edit(offer) if edit is not None else offer
            async with self.opened(offer, what, target) as session:
                if before is not None:
                    await before(session)
                try:
                    await peer.connect(session.reply.text)
                except CannotConnect as error:
                    raise Failed(
                        f"{session.reply.sent}, then ICE and DTLS by its answer",
                        str(error),
                        "a connection",
                        "announce candidates in the answer that the client can reach",
                    ) from error
                yield Call(session, peer)
        finally:
            await peer.aclose()

    async def patch(
        self,
        session: Session,
        body: str,
        what: str,
        *,
        match: str | None = None,
        media_type: str = FRAGMENT,
    ) -> Reply:
        """PATCH a session; without `match` there is no If-Match."""
        headers = {"Content-Type": media_type}
        if match is not None:
            headers["If-Match"] = match
        return await self.ask(
            "PATCH", session.url, session.target, headers=headers, body=body, what=what
        )

    async def trickle(
        self,
        session: Session,
        what: str = "a candidate",
        *,
        match: str | None = None,
        **form: object,
    ) -> Reply:
        """PATCH candidates under the session's credentials.

        Args:
            session: the session.
            what: what is special about the fragment.
            match: the If-Match; that of the 201 where None.
            form: how the fragment is written; see `fragments.write`.
        """
        ufrag, pwd = fragments.credentials_of(session.offer)
        options = fragments.options_of(session.offer)
        body = fragments.write(ufrag, pwd, options=options, **form)  # type: ignore[arg-type]
        return await self.patch(session, body, what, match=match or session.etag)

    async def patching(self) -> Patching:
        """What the server does when PATCHed; found once.

        Raises:
            Skipped, Failed: no session can be connected.
            NotApplicable: neither trickle ICE nor restarts are supported.
        """
        async with self._lock:
            if self._patching is None:
                self._patching = await self._probe_patch()
        found = self._patching
        if not found.has_trickle and not found.has_restart:
            statuses = {found.trickle.status, found.restart.status}
            if statuses <= {405, 415, 422, 501}:
                raise NotApplicable(
                    "neither trickle ICE nor ICE restarts are supported "
                    f"({found.trickle.sent}: {found.trickle.got}), which is allowed"
                )
        return found

    async def _probe_patch(self) -> Patching:
        async with self.connected() as call:
            session = call.session
            trickle = await self.trickle(session)
            local = offers.credentials()
            restart = await self.patch(
                session,
                fragments.write(*local, options=fragments.options_of(session.offer)),
                "an ICE restart, If-Match: *",
                match="*",
            )
            flows, old = "", None
            if restart.status == 200:
                flows = await self._go_on(call, local, restart)
                old = await self.trickle(
                    session, "a candidate under the entity tag from before a restart"
                )
            elif self.side == "whep" and not await self.flows(call):
                flows = "no media came any more"
            end = await self.ask("DELETE", session.url, session.target)
            return Patching(
                trickle,
                restart,
                flows,
                old,
                not end.is_gone,
                fragments.read(session.reply.text),
                session.etag,
            )

    async def _go_on(self, call: Call, local: tuple[str, str], restart: Reply) -> str:
        try:
            await call.peer.restart(local, fragments.read(restart.text))
        except CannotConnect as error:
            return str(error)
        if self.side == "whep" and not await self.flows(call):
            return "no media came any more"
        return ""

    async def flows(self, call: Call) -> bool:
        """Whether media comes to a viewer, from now on."""
        before = call.peer.packets
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MEDIA_TIMEOUT):
                while call.peer.packets < before + 3:  # noqa: ASYNC110 - a counter
                    await asyncio.sleep(0.02)
                return True
        return False


def described(session: Session) -> sdp.SessionDescription:
    """The answer of a session, read.

    Raises:
        Failed: it is not SDP.
    """
    try:
        return sdp.parse(session.reply.text)
    except InvalidOffer as error:
        raise Failed(
            session.reply.sent,
            f"a body that is not SDP ({error})",
            "an SDP answer",
            "answer by RFC 8866",
        ) from error


def expect(
    holds: object, reply: Reply, expected: str, cure: str, got: str = ""
) -> None:
    """Fail unless a reply is what it should be.

    Args:
        holds: whether it is.
        reply: what is judged.
        expected: what it should be.
        cure: what the server should do.
        got: what is wrong, if it is not the status.

    Raises:
        Failed: it is not.
    """
    if not holds:
        raise Failed(
            reply.sent, f"{reply.got}{f' {got}' if got else ''}", expected, cure
        )
