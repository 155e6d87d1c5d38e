"""The streams of a node: made, told of, listed and ended. `Live` is built on this."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from live777py.core import lineage
from live777py.core.cascades import Cascades
from live777py.core.events import Event, Events, EventType
from live777py.core.model import (
    NO_TALLY,
    MediaCounters,
    Role,
    SessionId,
    StreamInfo,
    StreamName,
    Tally,
)
from live777py.core.ports import Media
from live777py.core.stream import Session, Stream, StreamPolicy, now_ms, stream_name
from live777py.core.wish import Wish
from live777py.errors import (
    ShuttingDown,
    StreamExists,
    StreamNotFound,
    StreamProvisioned,
)


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


class Streams:
    """The part of `Live` that is about streams.

    Attributes:
        events: what happens to streams and sessions.
    """

    #: `Live` makes them: they make sessions.
    _cascades: Cascades

    def __init__(
        self, media: Media, policy: Policy, node: lineage.Node | None = None
    ) -> None:
        self._media = media
        self._policy = policy
        self._streams: dict[StreamName, Stream] = {}
        self._sessions: dict[SessionId, Session] = {}
        #: Streams without a name whose last sessions are about to end.
        self._leaving: set[Stream] = set()
        #: What streams counted that are no more.
        self._past = NO_TALLY
        self._node = lineage.Node() if node is None else node
        self._closing = False
        self._told = 0
        self.events = Events()

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
