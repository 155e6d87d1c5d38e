"""Cascades: wishes to have a stream pulled from another server, or pushed to one.

A wish outlives its connection: what is lost or refused is tried again until the wish is deleted,
or its stream. The first attempt is its caller's: when that fails, there is no wish.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace

from live777py.aio.backoff import Backoff
from live777py.aio.scope import TaskScope
from live777py.core.model import (
    NO_TRAFFIC,
    Cascade,
    CascadeId,
    CascadeInfo,
    CascadeState,
    Role,
)
from live777py.core.ports import Ending, PeerGone
from live777py.core.remote import Remote
from live777py.core.stream import Session, Stream, now_ms
from live777py.errors import (
    AlreadyPublishing,
    AtCapacity,
    CascadeNotFound,
    LiveError,
    PullExists,
    StreamNotFound,
)
from live777py.log import session_logger

logger = logging.getLogger(__name__)

#: Seconds for which a connection must have lasted to count as a success: what breaks at once,
#: again and again, is tried less and less often.
STABLE = 10.0

#: The longest that another server may ask us to wait.
MAX_RETRY_AFTER = 300.0


#: Cascades of a node, those that wait among them.
MAX_CASCADES = 1024


class Wish:
    """One cascade.

    Attributes:
        session: the current one, also while it is being opened.
        has_ended: set when nothing of it is left.
    """

    def __init__(self, stream: Stream, role: Role, remote: Remote) -> None:
        self.id = CascadeId(secrets.token_hex(16))
        self.stream = stream
        self.role = role
        self.remote = remote
        self.session: Session | None = None
        self.has_ended = asyncio.Event()
        self.is_stopped = False
        self.backoff = Backoff()
        self._created_at = now_ms()
        self._state = CascadeState.CONNECTING
        self._since = self._created_at
        self._attempts = 0
        self._error = ""
        self._passed = NO_TRAFFIC
        self._wake = asyncio.Event()

    @property
    def cascade(self) -> Cascade:
        """What is shown of where it leads, before there is a session."""
        if self.role is Role.PUBLISH:
            return Cascade(source_url=self.remote.shown)
        return Cascade(target_url=self.remote.shown)

    def info(self) -> CascadeInfo:
        """A snapshot."""
        session = self.session
        traffic = self._passed
        if session is not None:
            traffic = replace(traffic + session.peer.traffic, round_trip=None)
        return CascadeInfo(
            id=self.id,
            stream=self.stream.name,
            cascade=(session and session.cascade) or self.cascade,
            state=self._state,
            created_at=self._created_at,
            since=self._since,
            attempts=self._attempts,
            error=self._error,
            session=None if session is None else session.id,
            traffic=traffic,
        )

    def attempt(self, session: Session) -> None:
        """A session is about to be opened."""
        self.session = session
        self._attempts += 1
        self._enter(CascadeState.CONNECTING)

    def connected(self, session: Session) -> None:
        """Media can flow."""
        if session is self.session:
            self._attempts = 0
            self._enter(CascadeState.CONNECTED)

    def lost(self, reason: str) -> None:
        """The attempt has failed, or the connection has ended."""
        if self.session is not None:
            self._passed += replace(self.session.peer.traffic, bitrate=0)
        self.session = None
        self._error = reason
        self._wake.clear()
        self._enter(CascadeState.WAITING)

    def stop(self, reason: str, cause: str) -> None:
        """End it, whatever it is doing."""
        self.is_stopped = True
        self._wake.set()
        if self.session is not None:
            self.session.peer.end(reason, cause)

    def wake(self) -> None:
        """What it waits for may be there now: try again at once."""
        self.backoff.reset()
        self._wake.set()

    async def rest(self, retry_after: float) -> None:
        """Wait until it is time for the next attempt."""
        delay = max(self.backoff.next(), min(retry_after, MAX_RETRY_AFTER))
        try:
            async with asyncio.timeout(delay):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _enter(self, state: CascadeState) -> None:
        if state is not self._state:
            self._state = state
            self._since = now_ms()


class Cascades:
    """All cascades of a node.

    `Live` makes and ends the sessions, and tells of what becomes of them.
    """

    def __init__(
        self,
        scope: TaskScope,
        open_session: Callable[[Wish], Awaitable[Session]],
        after: Callable[[Stream], None],
    ) -> None:
        """Prepare.

        Args:
            scope: owns the tasks, one for each cascade.
            open_session: calls `Wish.attempt`, and returns when the other server has made the
                session.
            after: sees to a stream that may have nothing left to stay for.
        """
        self._scope = scope
        self._open = open_session
        self._after = after
        self._wishes: dict[CascadeId, Wish] = {}

    async def begin(self, stream: Stream, role: Role, remote: Remote) -> CascadeInfo:
        """Make a cascade; returns when the other server has made a session for it.

        Raises:
            AlreadyPublishing, PullExists: something else feeds the stream.
            AtCapacity: there are too many.
            LiveError: the first attempt has failed; then there is no cascade.
        """
        if role is Role.PUBLISH and stream.pulls:
            raise PullExists(stream.name)
        if role is Role.PUBLISH and stream.publisher is not None:
            raise AlreadyPublishing(stream.name)
        if len(self._wishes) >= MAX_CASCADES:
            raise AtCapacity(f"there are {MAX_CASCADES} cascades: delete some first")
        wish = Wish(stream, role, remote)
        # From here on the stream stays, though nobody publishes or watches yet.
        self._wishes[wish.id] = wish
        stream.cascades += 1
        stream.pulls += role is Role.PUBLISH
        try:
            return await self._scope.start(self._pursue, wish)
        finally:
            # A task that was cancelled before its first step has run no line of _pursue.
            if wish.session is None and not wish.info().attempts:
                self._forget(wish)

    def of(self, stream: str | None = None) -> list[CascadeInfo]:
        """Snapshots of a stream's cascades, or of all, the oldest first."""
        return [
            w.info() for w in self._wishes.values() if stream in (None, w.stream.name)
        ]

    def one(self, stream: str, cascade: str) -> CascadeInfo:
        """A snapshot.

        Raises:
            CascadeNotFound: there is no such cascade of this stream.
        """
        return self._find(stream, cascade).info()

    async def end(self, stream: str, cascade: str) -> None:
        """End a cascade; returns when its session has ended at the other server too.

        Raises:
            CascadeNotFound: there is no such cascade of this stream.
        """
        wish = self._find(stream, cascade)
        wish.stop("the cascade was deleted", "deleted")
        await wish.has_ended.wait()

    async def end_all(self, stream: Stream) -> None:
        """Wait for the end of what `stop_all` has stopped."""
        for wish in [w for w in self._wishes.values() if w.stream is stream]:
            await wish.has_ended.wait()

    # What `Live` tells.

    def stop_all(self, stream: Stream, reason: str, cause: str) -> None:
        """A stream is no more: its cascades end."""
        for wish in self._wishes.values():
            if wish.stream is stream:
                wish.stop(reason, cause)

    def connected(self, session: Session) -> None:
        """A session of some stream is connected."""
        for wish in self._wishes.values():
            if wish.stream is session.stream:
                wish.connected(session)
                if session.role is Role.PUBLISH and wish.role is Role.SUBSCRIBE:
                    wish.wake()

    # Inside.

    def _find(self, stream: str, cascade: str) -> Wish:
        wish = self._wishes.get(CascadeId(cascade))
        if wish is None or wish.stream.name != stream:
            raise CascadeNotFound(stream, cascade)
        return wish

    def _forget(self, wish: Wish) -> None:
        if self._wishes.pop(wish.id, None) is None:
            return
        wish.stream.cascades -= 1
        wish.stream.pulls -= wish.role is Role.PUBLISH
        wish.has_ended.set()
        self._after(wish.stream)

    async def _pursue(self, started: Callable[[CascadeInfo], None], wish: Wish) -> None:
        """The whole life of a cascade."""
        log = session_logger(logger, wish.stream.name, wish.id)
        verb = "pull from" if wish.role is Role.PUBLISH else "push to"
        try:
            session = await self._first(wish)
            log.info("%s %s begins", verb, wish.remote.shown)
            started(wish.info())
            while True:
                ending, lasted = await _end_of(session)
                wish.lost(ending.reason)
                if lasted:
                    wish.backoff.reset()
                retry_after = 0.0
                while not wish.is_stopped:
                    log.info("%s %s waits: %s", verb, wish.remote.shown, ending.reason)
                    await wish.rest(retry_after)
                    if wish.is_stopped:
                        break
                    try:
                        session = await self._open(wish)
                        break
                    except (LiveError, PeerGone) as error:
                        ending = Ending(str(error))
                        wish.lost(ending.reason)
                        retry_after = getattr(error, "retry_after", None) or 0.0
                    except Exception:
                        # Too many open files, or a bug: a wish outlives both.
                        log.exception("%s %s failed", verb, wish.remote.shown)
                        ending = Ending("internal error")
                        wish.lost(ending.reason)
                        retry_after = 0.0
                if wish.is_stopped and wish.session is None:
                    return
        finally:
            log.info("%s %s ends", verb, wish.remote.shown)
            self._forget(wish)

    async def _first(self, wish: Wish) -> Session:
        """The attempt whose failure goes to whoever asked for the cascade."""
        try:
            return await self._open(wish)
        except PeerGone as gone:
            # Its stream was deleted meanwhile.
            raise StreamNotFound(wish.stream.name) from gone


async def _end_of(session: Session) -> tuple[Ending, bool]:
    """Wait for a session's end; how it ended, and whether it had lasted."""
    await session.ended.wait()
    was_connected = session.connected_at > 0
    lasted = was_connected and now_ms() - session.connected_at >= STABLE * 1000
    return session.ending or Ending("it has ended"), lasted
