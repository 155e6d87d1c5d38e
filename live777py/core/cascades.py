"""Cascades: wishes to have a stream pulled from other servers, or pushed to one.

A wish outlives its connection: what is lost or refused is tried again until the wish is deleted,
or its stream. Where somebody asked for it, the first attempt is theirs: when that fails, there is
no wish.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from live777py.aio.scope import TaskScope
from live777py.core.edge import Edge
from live777py.core.model import CascadeId, CascadeInfo, Role
from live777py.core.ports import PeerGone
from live777py.core.remote import Remote
from live777py.core.stream import Session, Stream
from live777py.core.wish import MEMORY, NO_MEDIA, Wish
from live777py.errors import (
    AlreadyPublishing,
    AtCapacity,
    CascadeConfigured,
    CascadeNotFound,
    LiveError,
    NotPublished,
    PullExists,
    ShuttingDown,
    StreamNotFound,
)
from live777py.log import Context, session_logger

logger = logging.getLogger(__name__)

#: Cascades of a node that somebody asked for, those that wait among them.
MAX_CASCADES = 1024

#: Seconds between two looks at what tells nobody: whether media comes, or there is any to push.
LOOK = 1.0

#: The same, where somebody is connected who will probably send something.
SOON = 0.1

#: Seconds in which a publisher that has just come may show what it sends, before a push of it is
#: refused for want of media.
SHOWN_WITHIN = 2.0

WAITS = "%s %s waits: %s"


class Cascades:
    """All cascades of a node.

    `Live` makes and ends the sessions, and tells of what becomes of them.
    """

    def __init__(
        self,
        scope: TaskScope,
        open_session: Callable[[Wish], Awaitable[Session]],
        forgotten: Callable[[Wish], None],
        edge: Edge | None = None,
    ) -> None:
        """Prepare.

        Args:
            scope: owns the tasks, one for each cascade.
            open_session: calls `Wish.attempt`, and returns when the other server has made the
                session.
            forgotten: sees to a stream that may have nothing left to stay for.
            edge: where streams are fetched that viewers want, and nobody publishes here.
        """
        self._scope = scope
        self._open = open_session
        self._forgotten = forgotten
        self._wishes: dict[CascadeId, Wish] = {}
        self._by_stream: dict[Stream, list[Wish]] = {}
        self._edge = edge
        #: Those that nobody asked for by the API.
        self._unasked_for = 0
        self._is_closing = False

    async def begin(self, stream: Stream, role: Role, remote: Remote) -> CascadeInfo:
        """Make a cascade; returns when the other server has made a session for it.

        Raises:
            AlreadyPublishing, PullExists: something else feeds the stream.
            AtCapacity: there are too many.
            LiveError: the first attempt has failed; then there is no cascade.
        """
        fetched = self._pull_of(stream)
        if fetched is not None and fetched.edge is None:
            fetched = None
        if role is Role.PUBLISH:
            if stream.pulls > (fetched is not None):
                raise PullExists(stream.name)
            publisher = stream.publisher
            if publisher is not None and not publisher.makes_room:
                raise AlreadyPublishing(stream.name)
        # What viewers have fetched takes no room from these: each such stream has a session at
        # least, of which there is a bound. Nor does what the configuration has, which nobody
        # could delete to make room.
        if len(self._wishes) - self._unasked_for >= MAX_CASCADES:
            raise AtCapacity(f"there are {MAX_CASCADES} cascades: delete some first")
        wish = Wish(stream, role, (remote,))
        # From here on the stream stays, though nobody publishes or watches yet.
        self._add(wish)
        try:
            if role is Role.PUBLISH and fetched is not None:
                # What somebody asked for goes before what viewers brought about.
                fetched.stop("a pull of the stream was asked for", "replaced")
                await fetched.has_ended.wait()
            return await self._scope.start(self._asked, wish)
        finally:
            # A task that was cancelled before its first step has run no line of its own.
            if wish.session is None and not wish.info().attempts:
                self._forget(wish)

    def configure(
        self,
        stream: Stream,
        role: Role,
        remotes: tuple[Remote, ...],
        close_after: float | None = None,
    ) -> None:
        """Make a cascade of the configuration, which needs no success to stay."""
        wish = Wish(stream, role, remotes, is_configured=True, close_after=close_after)
        self._add(wish)
        self._scope.spawn(self._unasked, wish)
        wish.watch()

    # What viewers bring about.

    def may_bring(self, stream: Stream | None) -> bool:
        """Whether a stream that does not play may come by being asked for.

        Args:
            stream: None where there is none of this name.
        """
        if stream is not None:
            if stream.relay.codecs:
                return False
            pull = self._pull_of(stream)
            if pull is not None:
                return pull.is_on_demand and not pull.is_stopped
        return self._edge is not None and self._may_fetch(stream)

    def refuse_missing(self, name: str) -> None:
        """Answer who asks for what nobody had a moment ago.

        Raises:
            NotAtOrigin, GatewayTimeout: it was asked for, and did not come.
        """
        known = None if self._edge is None else self._edge.recall(name, MEMORY)
        if known is not None:
            raise known.answer.with_traceback(None)

    def is_sought(self, stream: Stream) -> bool:
        """Whether a stream is there for those alone who want to know whether it comes."""
        if stream.is_kept or stream.has_audience:
            return False
        return any(wish.edge is not None for wish in self._of(stream))

    @contextmanager
    def bringing(self, stream: Stream) -> Iterator[Wish]:
        """Have a stream brought that `may_bring` says may come; it lives as long as the block."""
        pull = self._pull_of(stream)
        if pull is None:
            if self._edge is None:
                raise NotPublished(stream.name)
            pull = self._fetch(stream, self._edge)
        with pull.watched():
            yield pull

    def watch(self, stream: Stream) -> None:
        """Somebody came to a stream or left it."""
        for wish in self._of(stream):
            wish.watch()
        if self._edge is None or stream.pulls or not stream.has_audience:
            return
        if self._may_fetch(stream):
            self._fetch(stream, self._edge)

    def _may_fetch(self, stream: Stream | None) -> bool:
        is_free = stream is None or stream.publisher is None
        return is_free and not self._is_closing

    def _fetch(self, stream: Stream, edge: Edge) -> Wish:
        """Pull a stream from an origin, as long as somebody wants it."""
        remotes = edge.remotes(stream.name)
        wish = Wish(
            stream, Role.PUBLISH, remotes, close_after=edge.close_after, edge=edge
        )
        failure = edge.recall(stream.name, MEMORY)
        if failure is not None:
            wish.recall(failure)
        self._add(wish)
        self._scope.spawn(self._unasked, wish)
        wish.watch()
        return wish

    # What is asked of all.

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
            CascadeConfigured: it is the configuration's.
        """
        wish = self._find(stream, cascade)
        if wish.is_configured:
            raise CascadeConfigured(stream)
        wish.stop("the cascade was deleted", "deleted")
        await wish.has_ended.wait()

    async def end_all(self, stream: Stream) -> None:
        """Wait for the end of what `stop_all` has stopped."""
        for wish in tuple(self._of(stream)):
            await wish.has_ended.wait()

    def wake_all(self) -> None:
        """Try at once whatever waits: there may be another network now."""
        for wish in self._wishes.values():
            if wish.is_waiting:
                wish.wake()

    # What `Live` tells.

    def stop_all(self, stream: Stream, reason: str, cause: str) -> None:
        """A stream is no more: its cascades end."""
        for wish in self._of(stream):
            wish.stop(reason, cause)

    def connected(self, session: Session) -> None:
        """A session of some stream is connected."""
        for wish in self._of(session.stream):
            wish.connected(session)

    def refuse(self) -> None:
        """The node is about to stop: nobody is to wait for an answer."""
        self._is_closing = True
        for wish in self._wishes.values():
            wish.refuse()

    def clear(self) -> None:
        """The scope has closed: forget those whose tasks never ran."""
        for wish in tuple(self._wishes.values()):
            self._forget(wish)

    # Inside.

    def _of(self, stream: Stream) -> Iterator[Wish]:
        return iter(self._by_stream.get(stream, ()))

    def _pull_of(self, stream: Stream) -> Wish | None:
        """What feeds a stream, or would."""
        pulls = (w for w in self._of(stream) if w.role is Role.PUBLISH)
        return next(pulls, None)

    def _find(self, stream: str, cascade: str) -> Wish:
        wish = self._wishes.get(CascadeId(cascade))
        if wish is None or wish.stream.name != stream:
            raise CascadeNotFound(stream, cascade)
        return wish

    def _add(self, wish: Wish) -> None:
        self._wishes[wish.id] = wish
        self._by_stream.setdefault(wish.stream, []).append(wish)
        self._unasked_for += wish.is_unasked_for
        wish.stream.cascades += 1
        wish.stream.pulls += wish.role is Role.PUBLISH
        wish.stream.is_on_demand |= wish.is_on_demand

    def _forget(self, wish: Wish) -> None:
        if self._wishes.pop(wish.id, None) is None:
            return
        others = self._by_stream[wish.stream]
        others.remove(wish)
        if not others:
            del self._by_stream[wish.stream]
        self._unasked_for -= wish.is_unasked_for
        wish.stream.cascades -= 1
        wish.stream.pulls -= wish.role is Role.PUBLISH
        wish.stream.is_on_demand &= not wish.is_on_demand
        wish.end()
        self._forgotten(wish)

    async def _asked(self, started: Callable[[CascadeInfo], None], wish: Wish) -> None:
        """A cascade whose first attempt is its caller's."""
        try:
            wish.choose()
            try:
                if wish.role is Role.SUBSCRIBE:
                    await _shown(wish)
                session = await self._open(wish)
            except PeerGone as gone:
                raise _ended_here(wish, gone) from gone
            wish.opened()
            started(wish.info())
            await self._pursue(wish, session)
        finally:
            self._forget(wish)

    async def _unasked(self, wish: Wish) -> None:
        """A cascade that nobody waits for."""
        try:
            await self._pursue(wish)
        finally:
            self._forget(wish)

    async def _pursue(self, wish: Wish, session: Session | None = None) -> None:
        """The life of a cascade until it is stopped, or nobody needs it any more."""
        log = session_logger(logger, wish.stream.name, wish.id)
        verb = "pull from" if wish.role is Role.PUBLISH else "push to"
        if session is not None:
            _log_beginning(log, verb, wish)
        try:
            while True:
                if session is not None:
                    await self._until_lost(wish, session)
                    session = None
                    if not wish.is_stopped:
                        log.info(WAITS, verb, wish.remote.shown, wish.error)
                elif wish.is_stopped or wish.is_superseded:
                    return
                elif not wish.demand.is_wanted:
                    if wish.edge is not None:
                        return
                    wish.idle()
                    await wish.demand.come()
                elif wish.role is Role.SUBSCRIBE and not wish.stream.relay.codecs:
                    wish.starve()
                    # What a source sends is known when its media comes.
                    is_near = wish.stream.connected(Role.PUBLISH) > 0
                    await wish.pause(SOON if is_near else LOOK)
                elif wish.rounds.must_rest:
                    await wish.rest()
                else:
                    wish.choose()
                    session = await self._attempt(wish)
                    if session is None:
                        log.info(WAITS, verb, wish.remote.shown, wish.error)
                    else:
                        _log_beginning(log, verb, wish)
        finally:
            log.info("%s %s ends", verb, wish.remote.shown)

    async def _attempt(self, wish: Wish) -> Session | None:
        """A session at the remote whose turn it is, or None."""
        try:
            session = await self._open(wish)
        except (LiveError, PeerGone) as error:
            wish.failed(error)
        except Exception:
            # Too many open files, or a bug: a wish outlives both.
            logger.exception("a cascade of %r failed", wish.stream.name)
            wish.failed(LiveError("internal error"))
        else:
            wish.opened()
            return session
        return None

    async def _until_lost(self, wish: Wish, session: Session) -> None:
        """Wait for a session's end, or bring it about where nothing comes."""
        interval = LOOK if wish.rounds.has_others else None
        while not session.ended.is_set():
            try:
                async with asyncio.timeout(interval):
                    await session.ended.wait()
            except TimeoutError:
                if wish.is_silent(session):
                    session.peer.end(f"no media came for {NO_MEDIA:g} s", "no_media")
        wish.lost(session)


def _log_beginning(log: Context, verb: str, wish: Wish) -> None:
    log.info("%s %s begins", verb, wish.remote.shown)
    for warning in wish.new_warnings():
        log.warning("%s", warning)


async def _shown(wish: Wish) -> None:
    """Wait until it is known what a publisher sends who is there; or, not for long, will be.

    Raises:
        PeerGone: the cascade was ended meanwhile.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + SHOWN_WITHIN
    while not wish.stream.relay.codecs and wish.stream.publishers:
        if wish.is_stopped:
            raise PeerGone("the cascade was ended")
        if loop.time() >= until:
            return
        await wish.pause(SOON)


def _ended_here(wish: Wish, gone: PeerGone) -> LiveError:
    """Why a first attempt has come to nothing that ended on this side."""
    if wish.stream.is_removed:
        return StreamNotFound(wish.stream.name)
    if gone.cause == "replaced":
        return AlreadyPublishing(wish.stream.name)
    if gone.cause == "stopped":
        return ShuttingDown()
    return CascadeNotFound(wish.stream.name, wish.id)
