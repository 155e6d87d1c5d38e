"""`Live`: every verb that a caller has. HTTP dialects call it, nothing here knows HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from live777py.aio.scope import TaskScope
from live777py.core.model import Answered, Role, SessionId, StreamInfo, StreamName
from live777py.core.ports import Media, PeerGone
from live777py.core.stream import Session, Stream, stream_name
from live777py.errors import (
    AtCapacity,
    LiveError,
    SessionNotFound,
    ShuttingDown,
    StreamNotFound,
)
from live777py.log import session_logger

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules by which streams and sessions come and go.

    Attributes:
        create_on_publish, create_on_watch: whether an unknown name becomes a stream.
        connect_timeout: seconds in which a session must have its media connected.
        max_viewers: of one stream.
        max_sessions: of all streams together.
    """

    create_on_publish: bool = True
    create_on_watch: bool = True
    connect_timeout: float = 15.0
    max_viewers: int = 65_535
    max_sessions: int = 4_096


class Live:
    """All streams of this node.

    Enter it with `async with`; leaving it refuses new work, ends every session and waits until
    each has said goodbye to its client.
    """

    def __init__(self, media: Media, policy: Policy) -> None:
        self._media = media
        self._policy = policy
        self._streams: dict[StreamName, Stream] = {}
        self._sessions: dict[SessionId, Session] = {}
        self._scope = TaskScope()
        self._closing = False

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
            session.peer.end("the server is shutting down")
        await self._scope.__aexit__(exc_type, exc, traceback)

    def refuse_work(self) -> None:
        """From now on every new session is refused: the first step of a shutdown."""
        self._closing = True

    async def publish(self, name: str, offer: str) -> Answered:
        """Answer a publisher's offer and keep its session until it ends.

        Raises:
            Invalid: the name or the offer cannot be used.
            StreamNotFound: there is no such stream and the policy does not create it.
            AlreadyPublishing: the stream has a publisher.
            Unavailable: the server is full or about to stop.
        """
        return await self._begin(
            Role.PUBLISH, name, offer, create=self._policy.create_on_publish
        )

    async def subscribe(self, name: str, offer: str) -> Answered:
        """Answer a viewer's offer and keep its session until it ends.

        Raises:
            Invalid: the name or the offer cannot be used, or no codec is in common.
            StreamNotFound: there is no such stream and the policy does not create it.
            Unavailable: the server or the stream is full, or the server is about to stop.
        """
        return await self._begin(
            Role.SUBSCRIBE, name, offer, create=self._policy.create_on_watch
        )

    async def end_session(self, name: str, session_id: str) -> None:
        """End a session and wait until its peer has been told.

        Raises:
            SessionNotFound: it has ended already, or never was in this stream.
        """
        session = self._sessions.get(SessionId(session_id))
        if session is None or session.stream.name != name:
            raise SessionNotFound(name, session_id)
        session.peer.end("ended by its client (DELETE)")
        await session.ended.wait()

    def streams(self) -> list[StreamInfo]:
        """Snapshots of all streams, by name."""
        return [self._streams[name].info() for name in sorted(self._streams)]

    async def _begin(
        self, role: Role, name: str, offer: str, *, create: bool
    ) -> Answered:
        # From here to scope.start there is no await: the place in the stream is taken before
        # anybody else can run, and _run gives it back however it ends.
        session = self._attach(role, stream_name(name), create=create)
        try:
            sdp = await self._scope.start(self._run, session, offer)
        finally:
            # A task that was cancelled before its first step has run no line of _run.
            if session.id in self._sessions and not session.has_begun:
                self._detach(session)
        return Answered(session.id, sdp, session.peer.version)

    def _attach(self, role: Role, name: StreamName, *, create: bool) -> Session:
        if self._closing:
            raise ShuttingDown
        if len(self._sessions) >= self._policy.max_sessions:
            raise AtCapacity(
                f"the server has {self._policy.max_sessions} sessions, as many as "
                "[webrtc] max_sessions allows"
            )
        stream = self._streams.get(name)
        if stream is None:
            if not create:
                raise StreamNotFound(name)
            relay = self._media.relay(name)
            stream = Stream(name, relay, self._policy.max_viewers)
            self._streams[name] = stream
        try:
            session = stream.attach(role)
        except LiveError:
            self._drop_if_idle(stream)
            raise
        self._sessions[session.id] = session
        return session

    def _detach(self, session: Session) -> None:
        session.stream.detach(session)
        del self._sessions[session.id]
        session.ended.set()
        self._drop_if_idle(session.stream)

    def _drop_if_idle(self, stream: Stream) -> None:
        if stream.is_idle:
            del self._streams[stream.name]
            stream.relay.close()

    async def _run(
        self, started: Callable[[str], None], session: Session, offer: str
    ) -> None:
        """The whole life of a session."""
        log = session_logger(logger, session.stream.name, session.id)
        session.has_begun = True
        reason = "internal error"
        began = time.monotonic()
        answered = False
        try:
            async with session.peer as peer:
                answer = await peer.answer(offer)
                log.info("%s session begins", session.role.value)
                answered = True
                started(answer)
                try:
                    async with asyncio.timeout(self._policy.connect_timeout):
                        await peer.connected()
                except TimeoutError:
                    reason = f"not connected within {self._policy.connect_timeout:g} s"
                except PeerGone as gone:
                    reason = str(gone)
                else:
                    reason = await peer.gone()
        except asyncio.CancelledError:
            reason = "the server is shutting down"
            raise
        finally:
            self._detach(session)
            if answered:
                seconds = time.monotonic() - began
                log.info(
                    "%s session ends after %.1f s: %s",
                    session.role.value,
                    seconds,
                    reason,
                )
