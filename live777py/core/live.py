"""`Live`: every verb that a caller has. HTTP dialects call it, nothing here knows HTTP."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from live777py.aio.scope import TaskScope
from live777py.core import life, lineage, paths
from live777py.core.cascades import Cascades
from live777py.core.edge import Edge
from live777py.core.events import Event, Events, EventType
from live777py.core.model import (
    NO_TALLY,
    Answered,
    CascadeInfo,
    IfMatch,
    MediaCounters,
    Restarted,
    Role,
    SessionId,
    StreamInfo,
    StreamName,
    Tally,
)
from live777py.core.ports import Media
from live777py.core.remote import Remote
from live777py.core.stream import Session, Stream, StreamPolicy, now_ms, stream_name
from live777py.core.wish import Wish
from live777py.errors import (
    AtCapacity,
    InvalidRemote,
    LiveError,
    NoLayers,
    NotAViewer,
    NotPublished,
    SessionNotFound,
    ShuttingDown,
    StreamExists,
    StreamNotFound,
    StreamProvisioned,
)
from live777py.protocol.codecs import Kind

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules by which streams and sessions come and go.

    Attributes:
        create_on_publish, create_on_watch: whether an unknown name becomes a stream.
        connect_timeout: seconds in which a session must have its media connected.
        max_sessions: of all streams together.
        list_ended: seconds for which sessions are listed that have ended.
        push_ends_viewers: whether the viewers of a stream are sent away once it is pushed.
        stream: the rules of streams that have none of their own.
    """

    create_on_publish: bool = True
    create_on_watch: bool = True
    connect_timeout: float = 15.0
    max_sessions: int = 4_096
    list_ended: float = 30.0
    push_ends_viewers: bool = False
    stream: StreamPolicy = field(default_factory=StreamPolicy)


class Live:
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
        self._media = media
        self._policy = policy
        self._streams: dict[StreamName, Stream] = {}
        self._sessions: dict[SessionId, Session] = {}
        #: Streams without a name whose last sessions are about to end.
        self._leaving: set[Stream] = set()
        #: What streams counted that are no more.
        self._past = NO_TALLY
        self._scope = TaskScope()
        self._cascades = Cascades(self._scope, self._open, self._forgotten, edge)
        self._node = lineage.Node() if node is None else node
        self._closing = False
        self._told = 0
        self.events = Events()

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
        self, name: str, offer: str | None, via: str = "", *, may_wait: bool = True
    ) -> Answered:
        """Answer a viewer's offer, or make one for it, and keep its session until it ends.

        Args:
            name: of the stream.
            offer: None where the client wants ours, to be answered by `accept` within 30 s.
            via: to whom the media goes, if a node pulls it.
            may_wait: whether the viewer wants to wait for a publisher, where it may.

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
        session = await self._seat(checked, offer, may_wait, path)
        return await self._begin(session, offer, path)

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

    # Streams

    def streams(self) -> list[StreamInfo]:
        """Snapshots of all streams, by name."""
        oldest = self._oldest()
        return [self._streams[name].info(oldest) for name in sorted(self._streams)]

    def stream(self, name: str) -> StreamInfo:
        """A snapshot of one stream.

        Raises:
            StreamNotFound: there is none of this name.
        """
        return self._stream(name).info(self._oldest())

    def create_stream(self, name: str) -> None:
        """Make a stream that stays without sessions until it is deleted.

        Raises:
            InvalidName: it cannot be a name.
            StreamExists, StreamProvisioned: there is one of this name.
            Unavailable: there is no room, or the server is about to stop.
        """
        checked = stream_name(name)
        if self._closing:
            raise ShuttingDown
        stream = self._streams.get(checked)
        if stream is not None:
            raise (StreamProvisioned if stream.is_provisioned else StreamExists)(name)
        self._after(self._create(checked, self._policy.stream, is_kept=True))

    def provision(self, name: str, policy: StreamPolicy) -> None:
        """Make a stream of the configuration, which stays as long as the node.

        Raises:
            InvalidName: it cannot be a name.
            AtCapacity: there is no room.
        """
        self._create(stream_name(name), policy, is_kept=True, is_provisioned=True)

    async def delete_stream(self, name: str) -> None:
        """End a stream and all its sessions; returns when they have ended.

        Raises:
            StreamNotFound: there is none of this name.
            StreamProvisioned: the configuration asked for it.
        """
        stream = self._stream(name)
        if stream.is_provisioned:
            raise StreamProvisioned(name)
        sessions = list(stream.sessions)
        self._remove(stream, "the stream was deleted", "stream_deleted")
        for session in sessions:
            await session.ended.wait()
        await self._cascades.end_all(stream)

    # Numbers

    def tallies(self) -> tuple[Mapping[StreamName, Tally], Tally]:
        """Each stream in numbers, the oldest first, and all together.

        It is cheaper than snapshots, and may be a second behind them. What passed in streams
        that are no more is in the latter.
        """
        each = {name: stream.tally() for name, stream in self._streams.items()}
        leaving = (stream.tally() for stream in self._leaving)
        return each, sum(itertools.chain(each.values(), leaving), self._past)

    def counters(self) -> MediaCounters:
        """What the media engine has counted."""
        return self._media.counters()

    # Inside.

    def _stream(self, name: str) -> Stream:
        try:
            return self._streams[StreamName(name)]
        except KeyError:
            raise StreamNotFound(name) from None

    def _oldest(self) -> int:
        return now_ms() - round(self._policy.list_ended * 1000)

    def _admit(self, role: Role, name: StreamName, path: lineage.Path) -> None:
        """Refuse a node that would feed itself."""
        stream = self._streams.get(name)
        own = (self._node.entry(name),) if stream is None else stream.path
        paths.admit(role, own, path)

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
        path = wish.downstream if is_pull else wish.stream.path
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

    async def _seat(
        self, name: StreamName, offer: str | None, may_wait: bool, path: lineage.Path
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
        with self._cascades.bringing(stream) as pull:
            if not may_wait:
                with pull.seeking() as found:
                    await stream.held.hold(path, found)
            await pull.until_known()
            # Who may not wait gets no new stream in the place of one that was deleted meanwhile.
            may_wait |= not stream.is_removed
            return self._attach(Role.SUBSCRIBE, name, may_wait)

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

    def _create(
        self,
        name: StreamName,
        policy: StreamPolicy,
        *,
        is_kept: bool = False,
        is_provisioned: bool = False,
        is_sought: bool = False,
    ) -> Stream:
        stream = Stream(
            name,
            self._media.relay(name),
            policy,
            entry=self._node.entry(name),
            is_kept=is_kept,
            is_provisioned=is_provisioned,
        )
        self._streams[name] = stream
        if not is_sought:
            self._announce(stream)
        return stream

    def _announce(self, stream: Stream) -> None:
        """Tell of a stream, once; of one that is being sought, when it turns out to be there."""
        if not stream.is_told:
            stream.is_told = True
            self._tell(EventType.STREAM_UP, stream)

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

    def _after(self, stream: Stream) -> None:
        """See to a stream's end after something has changed."""
        if stream.is_removed:
            # Once: a cascade of it may end after its last session.
            if stream.is_idle and stream in self._leaving:
                self._leaving.discard(stream)
                self._past += stream.tally()
                stream.relay.close()
            return
        self._cascades.watch(stream)
        stream.tell_path()
        if stream.timer is not None:
            stream.timer.cancel()
            stream.timer = None
        deadline = stream.deadline
        if deadline is not None:
            loop = asyncio.get_running_loop()
            delay = max(0.0, deadline - time.monotonic())
            stream.timer = loop.call_later(delay, self._expire, stream)
        elif stream.is_unwanted:
            self._remove(stream, "its last session has ended", "ended")

    def _forgotten(self, wish: Wish) -> None:
        """A cascade is no more."""
        stream = wish.stream
        self._after(stream)
        if wish.edge is not None and stream.is_unwanted:
            # Whatever time the policy gives to streams: this one was its viewers' alone.
            self._remove(stream, "its last viewer has left", "ended")

    def _expire(self, stream: Stream) -> None:
        """A stream was without a publisher or without viewers for as long as it may be."""
        stream.timer = None
        reason = "the stream had no publisher or no viewer for as long as it may"
        if not stream.is_provisioned:
            self._remove(stream, reason, "stream_expired")
            return
        for session in tuple(stream.sessions):
            session.peer.end(reason, "stream_expired")
        stream.stand_by()

    def _remove(self, stream: Stream, reason: str, cause: str) -> None:
        """Take a stream's name away and end its sessions; the last one closes the relay."""
        del self._streams[stream.name]
        self._leaving.add(stream)
        stream.is_removed = True
        if stream.timer is not None:
            stream.timer.cancel()
            stream.timer = None
        self._cascades.stop_all(stream, reason, cause)
        for session in tuple(stream.sessions):
            session.peer.end(reason, cause)
        if stream.is_told:
            self._tell(EventType.STREAM_DOWN, stream, reason=reason)
        self._after(stream)

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

    def _tell(
        self,
        type: EventType,
        stream: Stream,
        session: Session | None = None,
        *,
        reason: str = "",
        cause: str = "",
        elapsed: float = 0.0,
    ) -> None:
        if stream.is_removed and not stream.is_told:
            # It never was there for anybody.
            return
        self._announce(stream)
        self._told += 1
        self.events.tell(
            Event(
                number=self._told,
                type=type,
                at=now_ms(),
                stream=stream.name,
                publishers=stream.connected(Role.PUBLISH),
                viewers=stream.connected(Role.SUBSCRIBE),
                session=None if session is None else session.id,
                role=None if session is None else session.role,
                cascade=None if session is None else session.cascade,
                reason=reason,
                cause=cause,
                elapsed=elapsed,
            )
        )
