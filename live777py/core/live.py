"""`Live`: every verb that a caller has. HTTP dialects call it, nothing here knows HTTP.

How streams come and go is in `core/streams.py`, how sessions do in `core/sessions.py`.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from live777py.core import lineage, paths
from live777py.core.cascades import Cascades
from live777py.core.edge import Edge
from live777py.core.model import Answered, CascadeInfo, Role, StreamName
from live777py.core.ports import Media
from live777py.core.remote import Remote
from live777py.core.sessions import Sessions
from live777py.core.stream import Session, stream_name
from live777py.core.streams import Policy
from live777py.errors import (
    InvalidRemote,
    ShuttingDown,
    StreamNotFound,
)

__all__ = ["Live", "Policy"]


class Live(Sessions):
    """All streams of this node.

    Enter it with `async with`; leaving it refuses new work, ends every session and waits until
    each has said goodbye to its client.

    Attributes:
        events: what happens to streams and sessions.
    """

    def __init__(
        self,
        media: Media,
        policy: Policy,
        node: lineage.Node | None = None,
        edge: Edge | None = None,
    ) -> None:
        """Begin.

        Args:
            media: the engine.
            policy: the rules.
            node: what other nodes know this one by; None for one without a name.
            edge: where streams are fetched that viewers want and nobody publishes here.
        """
        super().__init__(media, policy, node)
        self._cascades = Cascades(self._scope, self._open, self._forgotten, edge)

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.refuse_work()
        for session in self._sessions.values():
            session.peer.end("the server is shutting down", "stopped")
        await self._scope.__aexit__(exc_type, exc, traceback)
        self._cascades.clear()
        for stream in tuple(self._streams.values()):
            self._remove(stream, "the server is shutting down", "stopped")

    def refuse_work(self) -> None:
        """From now on every new session is refused: the first step of a shutdown.

        Whoever reads events is told that there will be no more.
        """
        self._closing = True
        self._cascades.refuse()
        self.events.end()

    @property
    def is_closing(self) -> bool:
        """Whether new sessions are refused since the node is about to stop."""
        return self._closing

    # Sessions

    async def publish(self, name: str, offer: str, via: str = "") -> Answered:
        """Answer a publisher's offer and keep its session until it ends.

        Args:
            name: of the stream.
            offer: the SDP.
            via: where the media comes from, if a node pushes it.

        Raises:
            Loop: it comes from this very stream.
            Invalid: the name or the offer cannot be used.
            StreamNotFound: there is no such stream and the policy does not create it.
            Conflict: the stream has a publisher that does not make room.
            Unavailable: the server is full or about to stop.
        """
        checked, path = stream_name(name), lineage.parse(via)
        self._admit(Role.PUBLISH, checked, path)
        return await self._begin(self._attach(Role.PUBLISH, checked), offer, path)

    async def subscribe(
        self,
        name: str,
        offer: str | None,
        via: str = "",
        *,
        may_wait: bool = True,
        seen: float | None = None,
    ) -> Answered:
        """Answer a viewer's offer, or make one for it, and keep its session until it ends.

        Args:
            name: of the stream.
            offer: None where the client wants ours, to be answered by `accept` within 30 s.
            via: to whom the media goes, if a node pulls it.
            may_wait: whether the viewer wants to wait for a publisher, where it may.
            seen: seconds since the latest picture came that it was sent by another session, if it
                was sent any.

        Raises:
            Loop: the stream's media comes from there.
            Invalid: the name or the offer cannot be used, or no codec is in common.
            StreamNotFound: there is no such stream and the policy does not create it.
            NotPublished: nobody publishes, and the viewer may not or will not wait.
            NotAtOrigin, GatewayTimeout: likewise, nor is it to be had elsewhere.
            Unavailable: the server or the stream is full, or the server is about to stop.
        """
        checked, path = stream_name(name), lineage.parse(via)
        self._admit(Role.SUBSCRIBE, checked, path)
        session = await self._seat(checked, offer, may_wait, path, seen)
        if seen is not None and session.viewer is not None:
            session.viewer.has_seen(seen)
        return await self._begin(session, offer, path)

    # Cascades

    async def cascade(
        self, name: str, *, source: str = "", target: str = "", token: str = ""
    ) -> CascadeInfo:
        """Have a stream pulled from another server, or pushed to one, until that is deleted.

        Returns when the other server has made a session. What is lost later is tried again.

        Args:
            name: of the stream; a pull makes it where there is none.
            source: URL of a WHEP endpoint.
            target: URL of a WHIP endpoint; one of the two is "".
            token: for the other server, with or without "Bearer".

        Raises:
            InvalidRemote: neither URL is given, or both are; or it cannot be used.
            StreamNotFound: there is no such stream to be pushed, or none may be made.
            Conflict: a pull of a stream that is published; a loop; nothing to be pushed.
            BadGateway, GatewayTimeout: what the other server said, or that it said nothing.
            Unavailable: the server is full or about to stop.
        """
        if bool(source) == bool(target):
            raise InvalidRemote(
                "sourceUrl (to pull from) and targetUrl (to push to) are both "
                + ("given: give one" if source else "missing: give one")
            )
        role = Role.PUBLISH if source else Role.SUBSCRIBE
        checked = stream_name(name)
        remote = Remote.parse(source or target, token)
        if self._closing:
            raise ShuttingDown
        stream = self._streams.get(checked)
        if stream is None:
            if role is Role.SUBSCRIBE or not self._policy.create_on_publish:
                raise StreamNotFound(name)
            stream = self._create(checked, self._policy.stream)
        self._announce(stream)
        try:
            info = await self._cascades.begin(stream, role, remote)
        finally:
            # One that was made for a pull which was refused at once.
            self._after(stream)
        return info

    def configure_cascade(
        self,
        name: str,
        role: Role,
        remotes: tuple[Remote, ...],
        close_after: float | None = None,
    ) -> None:
        """Have a stream of the configuration pulled or pushed as long as the node lives.

        Args:
            name: of the stream, which `provision` has made.
            role: PUBLISH to have it pulled, from the first of the remotes that has it;
                SUBSCRIBE to have it pushed.
            remotes: at least one.
            close_after: of a pull that is there for viewers only: seconds for which it goes on
                without one.

        Raises:
            StreamNotFound: there is no such stream.
        """
        self._cascades.configure(self._stream(name), role, remotes, close_after)

    def retry_cascades(self) -> None:
        """Try at once what waits for its next attempt: the network may have changed."""
        self._cascades.wake_all()

    def cascades(self, name: str | None = None) -> list[CascadeInfo]:
        """The cascades of a stream, or of all; none for a stream that does not exist."""
        return self._cascades.of(name)

    def cascade_info(self, name: str, cascade_id: str) -> CascadeInfo:
        """One cascade.

        Raises:
            CascadeNotFound: it was deleted, or never was one of this stream.
        """
        return self._cascades.one(name, cascade_id)

    async def end_cascade(self, name: str, cascade_id: str) -> None:
        """Delete a cascade; returns when its session has ended. Viewers stay.

        Raises:
            CascadeNotFound: it was deleted, or never was one of this stream.
            CascadeConfigured: the configuration asked for it.
        """
        await self._cascades.end(name, cascade_id)

    # Inside.

    def _admit(self, role: Role, name: StreamName, path: lineage.Path) -> None:
        """Refuse a node that would feed itself."""
        stream = self._streams.get(name)
        own = (self._node.entry(name),) if stream is None else stream.path
        paths.admit(role, own, path)

    async def _seat(
        self,
        name: StreamName,
        offer: str | None,
        may_wait: bool,
        path: lineage.Path,
        seen: float | None,
    ) -> Session:
        """A viewer's place, in time where the stream has to be fetched first.

        Who may not wait is told whether the stream is there; all wait for a moment, so that it is
        known what will be sent. Nobody else is asked for the sake of an offer that cannot be
        used, nor told of a stream that may not be there.
        """
        stream = self._streams.get(name)
        policy = self._policy.stream if stream is None else stream.policy
        may_wait &= not policy.refuse_waiting
        # One that is there only because it was asked for may turn out not to be there.
        is_there = stream is not None and not self._cascades.is_sought(stream)
        may_wait &= is_there or self._policy.create_on_watch
        if not self._cascades.may_bring(stream):
            return self._attach(Role.SUBSCRIBE, name, may_wait)
        self._check_room()
        if offer is not None:
            self._media.check_viewer(offer)
        if not may_wait:
            self._cascades.refuse_missing(name)
        if stream is None:
            stream = self._create(name, policy, is_sought=not may_wait)
        if seen is not None:
            stream.relay.has_seen(seen)
        with self._cascades.bringing(stream) as pull:
            if not may_wait:
                with pull.seeking() as found:
                    await stream.held.hold(path, found)
            await pull.until_known()
            # Who may not wait gets no new stream in the place of one that was deleted meanwhile.
            may_wait |= not stream.is_removed
            return self._attach(Role.SUBSCRIBE, name, may_wait)
