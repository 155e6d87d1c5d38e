"""The sessions of a node: their places, their lives, their ends. `Live` is built on this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from live777py.aio.scope import TaskScope
from live777py.core import life, lineage
from live777py.core.events import EventType
from live777py.core.model import (
    Answered,
    IfMatch,
    Restarted,
    Role,
    SessionId,
    StreamName,
)
from live777py.core.ports import Media
from live777py.core.stream import Session
from live777py.core.streams import Policy, Streams
from live777py.core.wish import Wish
from live777py.errors import (
    AtCapacity,
    LiveError,
    NoLayers,
    NotAViewer,
    NotPublished,
    SessionNotFound,
    ShuttingDown,
    StreamNotFound,
)
from live777py.protocol.codecs import Kind


class Sessions(Streams):
    """The part of `Live` that is about sessions, whoever opened them."""

    def __init__(
        self, media: Media, policy: Policy, node: lineage.Node | None = None
    ) -> None:
        super().__init__(media, policy, node)
        self._scope = TaskScope()

    def accept(self, name: str, session_id: str, answer: str) -> None:
        """Take a viewer's answer to our offer.

        Raises:
            SessionNotFound: it has ended, perhaps since the answer came too late.
            NoAnswerAwaited: there was no offer of ours, or it has been answered.
            Invalid: the answer cannot be used; another one may be.
        """
        session = self.session(name, session_id)
        life.accept(session, answer, self._policy.connect_timeout)

    def trickle(
        self,
        name: str,
        session_id: str,
        *,
        ufrag: str,
        pwd: str,
        condition: IfMatch | None,
    ) -> Restarted | None:
        """Take what a client says of its ICE: candidates, or a restart.

        We are an ICE-lite agent: candidates of the other side are of no use to us.

        Args:
            name: of the stream.
            session_id: of the session.
            ufrag, pwd: of the client, "" where it does not say.
            condition: for which credentials of ours this is meant.

        Returns:
            The new credentials after a restart, None where only candidates came.

        Raises:
            SessionNotFound: it has ended already, or never was in this stream.
            VersionRequired: there is no condition.
            StaleVersion: it is meant for other credentials than the session's.
            InvalidFragment: a restart without a password.
        """
        session = self.session(name, session_id)
        return life.trickle(session, ufrag, pwd, condition)

    def mute(self, name: str, session_id: str, kind: Kind, *, muted: bool) -> None:
        """Send a viewer no more of a kind, or send it again.

        Raises:
            SessionNotFound: it has ended already, or never was in this stream.
            NotAViewer: it is a publisher's.
        """
        session = self.session(name, session_id)
        if session.viewer is None:
            raise NotAViewer
        session.viewer.mute(kind, muted)

    def layers(self, name: str, session_id: str) -> tuple[str, ...]:
        """The simulcast layers of which a session may choose one: none as yet.

        Raises:
            SessionNotFound: it has ended already, or never was in this stream.
        """
        self.session(name, session_id)
        return ()

    def choose_layer(self, name: str, session_id: str, layer: str | None) -> None:
        """Send a viewer this layer, or, for None, whichever suits it.

        Raises:
            SessionNotFound: it has ended already, or never was in this stream.
            NotAViewer: it is a publisher's.
            NoLayers: there are none.
        """
        if self.session(name, session_id).viewer is None:
            raise NotAViewer
        raise NoLayers

    async def end_session(
        self,
        name: str,
        session_id: str,
        reason: str = "ended by its client (DELETE)",
        cause: str = "deleted",
    ) -> None:
        """End a session and wait until its peer has been told.

        Raises:
            SessionNotFound: it has ended already, or never was in this stream.
        """
        session = self.session(name, session_id)
        session.peer.end(reason, cause)
        await session.ended.wait()

    def session(self, name: str, session_id: str) -> Session:
        """The session of this id, for as long as nobody awaits anything.

        Raises:
            SessionNotFound: it has ended already, or never was in this stream.
        """
        session = self._sessions.get(SessionId(session_id))
        if session is None or session.stream.name != name:
            raise SessionNotFound(name, session_id)
        return session

    # Inside.

    async def _begin(
        self, session: Session, offer: str | None, path: lineage.Path
    ) -> Answered:
        # From _attach to scope.start there is no await: the place in the stream is taken before
        # anybody else can run, and _run gives it back however it ends.
        session.path = path
        sdp = await self._start(session, offer)
        via = lineage.encode(session.stream.path) if path else ""
        return Answered(session.id, sdp, session.peer.version, via)

    async def _start(self, session: Session, offer: str | None) -> str:
        try:
            return await self._scope.start(self._run, session, offer)
        finally:
            # A task that was cancelled before its first step has run no line of _run.
            if session.id in self._sessions and not session.has_begun:
                self._detach(session)

    async def _open(self, wish: Wish) -> Session:
        """A session at another server, as `Cascades` wants it."""
        self._check_room()
        if wish.stream.is_removed:
            raise StreamNotFound(wish.stream.name)
        # Who pulls says to whom the media goes, who pushes where it comes from.
        is_pull = wish.role is Role.PUBLISH
        path = wish.rounds.downstream if is_pull else wish.stream.path
        via = lineage.encode(path)
        remote = replace(wish.remote, via=via, may_wait=wish.may_wait)
        session = wish.stream.attach_remote(
            wish.role, remote, makes_room=wish.edge is not None
        )
        self._sessions[session.id] = session
        session.cascade = wish.cascade
        wish.attempt(session)
        self._after(session.stream)
        await self._start(session, None)
        if wish.role is Role.SUBSCRIBE and self._policy.push_ends_viewers:
            for viewer in tuple(wish.stream.viewers.values()):
                if viewer.remote is None:
                    viewer.peer.end("the stream is pushed to another server", "pushed")
        return session

    def _check_room(self) -> None:
        if self._closing:
            raise ShuttingDown
        if len(self._sessions) >= self._policy.max_sessions:
            raise AtCapacity(
                f"the server has {self._policy.max_sessions} sessions, as many as "
                "[webrtc] max_sessions allows"
            )

    def _attach(self, role: Role, name: StreamName, may_wait: bool = True) -> Session:
        """A place in a stream, which is made where there is none and there may be one."""
        self._check_room()
        stream = self._streams.get(name)
        if stream is None:
            self._may_create(role, name, may_wait)
            stream = self._create(name, self._policy.stream)
        try:
            session = stream.attach(role, may_wait)
        except LiveError:
            self._after(stream)
            raise
        self._sessions[session.id] = session
        self._announce(stream)
        self._after(stream)
        return session

    def _may_create(self, role: Role, name: StreamName, may_wait: bool) -> None:
        """Make sure that an unknown name becomes a stream for a session of this role."""
        if role is Role.PUBLISH:
            creates = self._policy.create_on_publish
        else:
            creates = self._policy.create_on_watch
        if not creates:
            raise StreamNotFound(name)
        if not may_wait:
            # As a stream that is there would answer; an empty one is of no use to anybody.
            raise NotPublished(name)

    def _detach(self, session: Session, reason: str = "", cause: str = "") -> None:
        was_connected = session.is_connected
        session.stream.detach(session)
        del self._sessions[session.id]
        session.ended.set()
        if was_connected:
            is_publisher = session.role is Role.PUBLISH
            self._tell(
                EventType.PUBLISH_DOWN if is_publisher else EventType.SUBSCRIBE_DOWN,
                session.stream,
                session,
                reason=reason,
                cause=cause,
            )
        elif session.is_answered:
            self._tell(
                EventType.SESSION_FAILED,
                session.stream,
                session,
                reason=reason,
                cause=cause,
            )
        self._after(session.stream)

    async def _run(
        self, started: Callable[[str], None], session: Session, offer: str | None
    ) -> None:
        limit = self._policy.connect_timeout
        try:
            await life.run(started, session, offer, limit, self._connected)
        finally:
            self._detach(session, *(session.ending or ()))

    def _connected(self, session: Session, elapsed: float) -> None:
        replaced = session.stream.promote(session)
        if replaced is not None:
            session.stream.tell_path()
            replaced.peer.end("another publisher took its place", "replaced")
        is_publisher = session.role is Role.PUBLISH
        self._tell(
            EventType.PUBLISH_UP if is_publisher else EventType.SUBSCRIBE_UP,
            session.stream,
            session,
            elapsed=elapsed,
        )
        self._cascades.connected(session)
