"""A stream and its sessions: who publishes, who watches, since when, and how it all ends."""

from __future__ import annotations

import asyncio
import secrets
import time
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from live777py.core.held import HeldRequests
from live777py.core.lineage import MAX_HOPS, Entry, Node, Path
from live777py.core.model import (
    NO_TRAFFIC,
    Cascade,
    Milliseconds,
    PeerState,
    Role,
    SessionId,
    SessionInfo,
    SideInfo,
    StreamInfo,
    StreamName,
    Tally,
    Traffic,
)
from live777py.core.ports import Ending, Peer, Relay, RemotePeer, ViewerPeer
from live777py.core.remote import Remote
from live777py.errors import (
    AlreadyPublishing,
    AtCapacity,
    InvalidName,
    NotPublished,
    TakeoverPending,
)

#: The longest stream name, in bytes of UTF-8.
MAX_NAME_BYTES = 255

#: Unicode categories of control characters and line separators: they have no place in a name,
#: and would write lines of their own into whatever shows it.
CONTROLS = frozenset({"Cc", "Zl", "Zp", "Cs"})

#: Characters that turn the direction of what follows them: one name could look like another.
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

#: Seconds without an authenticated packet after which a connected publisher counts as dead for
#: one that wants its place: encoders reconnect faster than consent expires.
DEAD_AFTER = 2.0

#: Ended sessions of one side that are remembered at most.
MAX_ENDED = 100


def stream_name(text: str) -> StreamName:
    """Check a stream name.

    Raises:
        InvalidName: it is empty, longer than 255 bytes, "." or "..", or has control characters.
    """
    if not text:
        raise InvalidName("the stream name is empty: put one behind the last slash")
    if (length := len(text.encode())) > MAX_NAME_BYTES:
        raise InvalidName(
            f"the stream name has {length} bytes: at most {MAX_NAME_BYTES} are allowed"
        )
    if any(unicodedata.category(c) in CONTROLS or c in BIDI for c in text):
        raise InvalidName("the stream name has control characters: leave them out")
    if text in (".", ".."):
        # As a segment of a path they mean something else, however they are encoded.
        raise InvalidName("the stream name cannot be '.' or '..'")
    return StreamName(text)


def now_ms() -> Milliseconds:
    """The time of day in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """The rules of one stream.

    Attributes:
        max_viewers: that it may have at once.
        delete_unpublished: seconds after which a stream ends whose publisher has left, None for
            never.
        delete_unwatched: seconds after which a stream ends that has no viewer, None for never.
        replace_publisher: whether a second publisher takes the place of the first; otherwise it
            is refused while the first lives.
        refuse_waiting: whether viewers are refused while nobody publishes.
    """

    max_viewers: int = 65_535
    delete_unpublished: float | None = None
    delete_unwatched: float | None = None
    replace_publisher: bool = False
    refuse_waiting: bool = False


@dataclass(eq=False, slots=True)
class Session:
    """One WHIP or WHEP client's place in a stream.

    The id has 128 random bits: who knows it may use the session (RFC 9725 section 5). `ended` is
    set once the peer has left and the place has been given back.

    Attributes:
        viewer: the peer of a viewer, None for a publisher's.
        awaits_answer: the offer was ours, and the client has not answered it yet.
        remote: the peer of a session that we opened at another server.
        warnings: what of the stream that server does not take or send, and why.
        makes_room: it publishes only until somebody else does.
        path: where the other side is a node: of a publisher, where its media comes from; of a
            viewer, to whom it goes.
        connected_at: when it was connected, on a clock that nobody sets; None if it never was.
        ending: how it ended, once it has.
        deadline: until when it must be connected, while it is not.
        past_ufrags: of the client, from before its ICE restarts.
    """

    role: Role
    stream: Stream
    peer: Peer
    viewer: ViewerPeer | None = None
    id: SessionId = field(default_factory=lambda: SessionId(secrets.token_hex(16)))
    created_at: Milliseconds = field(default_factory=now_ms)
    cascade: Cascade | None = None
    remote: RemotePeer | None = None
    warnings: tuple[str, ...] = ()
    makes_room: bool = False
    path: Path = ()
    connected_at: float | None = None
    ending: Ending | None = None
    has_begun: bool = False
    is_answered: bool = False
    is_connected: bool = False
    awaits_answer: bool = False
    deadline: asyncio.Timeout | None = None
    past_ufrags: set[str] = field(default_factory=set)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def lasted(self) -> float:
        """Seconds since it was connected, 0 if it never was."""
        return (
            0.0 if self.connected_at is None else time.monotonic() - self.connected_at
        )

    def info(self) -> SessionInfo:
        """A snapshot."""
        return SessionInfo(
            self.id,
            self.created_at,
            self.peer.state,
            traffic=self.peer.traffic,
            cascade=self.cascade,
        )

    @property
    def is_dead(self) -> bool:
        """Whether it was connected and nothing has come from it for a while."""
        return (
            self.peer.state is PeerState.CONNECTED and self.peer.silence >= DEAD_AFTER
        )


class _Side:
    """What a stream remembers of one of its sides."""

    def __init__(self, left_at: Milliseconds) -> None:
        self.left_at = left_at
        #: On the monotonic clock; None while somebody is attached, and before anybody was.
        self.empty_since: float | None = None
        self.traffic = NO_TRAFFIC
        self.ended: deque[SessionInfo] = deque(maxlen=MAX_ENDED)

    def occupy(self) -> None:
        self.left_at = 0
        self.empty_since = None

    def bury(self, session: Session) -> None:
        """Keep what is to be known of a session that has ended."""
        traffic = replace(session.peer.traffic, bitrate=0)
        self.traffic += traffic
        self.ended.append(
            replace(
                session.info(),
                state=PeerState.CLOSED,
                left_at=now_ms(),
                traffic=traffic,
            )
        )

    def leave(self) -> None:
        self.left_at = now_ms()
        self.empty_since = time.monotonic()

    def total(self, sessions: Iterable[Session]) -> Traffic:
        """What has passed in these sessions and in those before, or had a moment ago."""
        return sum((session.peer.recent for session in sessions), self.traffic)

    def restart(self, empty_since: float | None) -> None:
        """Count anew for how long nobody was there, unless somebody is."""
        if self.left_at or self.empty_since is not None:
            self.empty_since = empty_since

    def info(self, sessions: list[Session], oldest: Milliseconds) -> SideInfo:
        while self.ended and self.ended[0].left_at <= oldest:
            self.ended.popleft()
        living = tuple(session.info() for session in sessions)
        traffic = sum((info.traffic for info in living), self.traffic)
        return SideInfo(self.left_at, (*living, *self.ended), traffic)


class Stream:
    """A name with at most one publisher and any number of viewers.

    `Live` alone attaches and detaches sessions. The relay lives as long as the stream, so a
    viewer's numbering goes on when one publisher follows another. While a second publisher takes
    over from the first there are two of them: `publisher`, and its `successor` until that is
    connected. Who has lost such a place is `displaced` until it has left.

    Attributes:
        entry: of this stream in the paths of media.
        is_kept: it stays when its last session ends, since somebody asked for it.
        is_provisioned: the configuration asked for it.
        cascades: how many wishes there are to have it pulled or pushed; while there is one the
            stream stays.
        pulls: how many of them are to have it pulled.
        is_on_demand: it is pulled only while somebody watches.
        is_removed: it has no name any more, only sessions that are about to end.
        is_told: whoever wants to know of streams has been told of it.
        held: requests of nodes that wait for what is being pulled.
        timer: of `Live`, for when the stream is due to end by itself.
    """

    def __init__(
        self,
        name: StreamName,
        relay: Relay,
        policy: StreamPolicy,
        *,
        entry: Entry | None = None,
        is_kept: bool = False,
        is_provisioned: bool = False,
    ) -> None:
        self.name = name
        self.entry = Node().entry(name) if entry is None else entry
        self.held = HeldRequests()
        self._told_path: Path = (self.entry,)
        self.relay = relay
        self.policy = policy
        self.created_at = now_ms()
        self.is_kept = is_kept
        self.is_provisioned = is_provisioned
        self.is_removed = False
        self.is_told = False
        self.cascades = 0
        self.pulls = 0
        self.is_on_demand = False
        self.timer: asyncio.TimerHandle | None = None
        self.publisher: Session | None = None
        self.successor: Session | None = None
        self.displaced: list[Session] = []
        self.viewers: dict[SessionId, Session] = {}
        self._published = _Side(0)
        self._watched = _Side(self.created_at)
        self._watched.empty_since = time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Nobody publishes, nobody watches, and nobody is about to leave."""
        return self.publisher is None and not self.viewers and not self.displaced

    @property
    def is_unwanted(self) -> bool:
        """Whether it has a name still, and nobody that needs it."""
        kept = self.is_removed or self.is_kept or self.cascades
        return self.is_idle and not kept

    @property
    def has_audience(self) -> bool:
        """Whether anybody watches but servers to which it is pushed."""
        return any(viewer.remote is None for viewer in self.viewers.values())

    @property
    def publishers(self) -> list[Session]:
        """Those that publish or are about to, the one whose turn it is first."""
        return [s for s in (self.publisher, self.successor) if s is not None]

    @property
    def sessions(self) -> Iterator[Session]:
        """All of them."""
        yield from self.publishers
        yield from self.displaced
        yield from self.viewers.values()

    @property
    def deadline(self) -> float | None:
        """When it is due to end by itself, on the monotonic clock; None for never.

        Whoever waits for the other server of a pull waits for a publisher that will return.
        """
        if self.is_provisioned and self.is_idle:
            return None
        due = [
            side.empty_since + patience
            for side, patience in (
                (
                    self._published,
                    None if self.pulls else self.policy.delete_unpublished,
                ),
                # What the configuration wants pulled would only be pulled again.
                (
                    self._watched,
                    None
                    if self.is_provisioned and self.pulls
                    else self.policy.delete_unwatched,
                ),
            )
            if side.empty_since is not None and patience is not None
        ]
        return min(due, default=None)

    def attach(self, role: Role, may_wait: bool = True) -> Session:
        """Take a place for a new session; atomic, so that of two publishers one wins.

        Args:
            role: which side of the stream.
            may_wait: whether a viewer may wait for a publisher.

        Raises:
            AlreadyPublishing: somebody publishes, or is about to.
            TakeoverPending: somebody else is about to take the place of a dead publisher.
            NotPublished: nobody publishes, and the viewer may not wait.
            AtCapacity: the stream has as many viewers as it may have.
        """
        if self.is_provisioned and self.is_idle:
            self.stand_by()
        if role is Role.PUBLISH:
            return self._attach_publisher()
        if not (may_wait or self.relay.codecs):
            raise NotPublished(self.name)
        self._check_room()
        viewer = self.relay.viewer()
        return self._add_viewer(Session(role, self, viewer, viewer))

    def attach_remote(
        self, role: Role, remote: Remote, *, makes_room: bool = False
    ) -> Session:
        """Take a place for a session that we open at another server.

        Args:
            role: which side of the stream.
            remote: where it is opened.
            makes_room: whether the next publisher takes its place.

        Raises:
            AlreadyPublishing: somebody publishes; such a session takes nobody's place.
            AtCapacity: the stream has as many viewers as it may have.
        """
        if self.is_provisioned and self.is_idle:
            self.stand_by()
        if role is Role.PUBLISH:
            if self.publisher is not None:
                raise AlreadyPublishing(self.name)
            peer = self.relay.source(remote)
            self.publisher = Session(
                role, self, peer, remote=peer, makes_room=makes_room
            )
            self._published.occupy()
            return self.publisher
        self._check_room()
        peer = self.relay.sink(remote)
        return self._add_viewer(Session(role, self, peer, remote=peer))

    def _check_room(self) -> None:
        if len(self.viewers) >= self.policy.max_viewers:
            raise AtCapacity(
                f"stream {self.name!r} has {self.policy.max_viewers} viewers, as many as "
                "[strategy] each_stream_max_sub allows"
            )

    def _add_viewer(self, session: Session) -> Session:
        self.viewers[session.id] = session
        self._watched.occupy()
        return session

    def _attach_publisher(self) -> Session:
        if self.publisher is None:
            self.publisher = Session(Role.PUBLISH, self, self.relay.publisher())
            self._published.occupy()
            return self.publisher
        first = self.publisher
        if not (self.policy.replace_publisher or first.is_dead or first.makes_room):
            raise AlreadyPublishing(self.name)
        if self.successor is not None:
            if not self.policy.replace_publisher:
                raise TakeoverPending(self.name)
            self.successor.peer.end("yet another publisher came", "replaced")
            self.displaced.append(self.successor)
        self.successor = Session(Role.PUBLISH, self, self.relay.publisher())
        return self.successor

    @property
    def path(self) -> Path:
        """Where its media comes from, or will come from: this stream stands last."""
        upstream = () if self.publisher is None else self.publisher.path
        return (*upstream, self.entry)

    @property
    def downstream(self) -> Path:
        """For whom it is pulled: this stream first, then the nodes whose requests are held."""
        return tuple(dict.fromkeys((self.entry, *self.held.path)))[:MAX_HOPS]

    def tell_path(self) -> None:
        """Tell the nodes that watch where the media comes from, if that has changed."""
        path = self.path
        if path == self._told_path:
            return
        self._told_path = path
        for viewer in self.viewers.values():
            if viewer.path:
                viewer.peer.tell_path(path)

    def stand_by(self) -> None:
        """Have as much time from now on as a stream that was just made.

        Others are made anew for whoever comes; one of the configuration is there all the time,
        and must not end those who come for the sake of those who left long ago.
        """
        self._published.restart(None)
        self._watched.restart(time.monotonic())

    def promote(self, session: Session) -> Session | None:
        """Note that a session is connected; the publisher whose place it has taken, if any."""
        session.is_connected = True
        session.connected_at = time.monotonic()
        if session is not self.successor:
            return None
        replaced = self.publisher
        self.publisher, self.successor = session, None
        if replaced is not None:
            self.displaced.append(replaced)
        return replaced

    def detach(self, session: Session) -> None:
        """Give a session's place back."""
        side = self._published if session.role is Role.PUBLISH else self._watched
        if session.is_answered:
            # Nobody ever heard of a session that was refused.
            side.bury(session)
        session.is_connected = False
        if session.role is Role.SUBSCRIBE:
            del self.viewers[session.id]
            if not self.viewers:
                side.leave()
            return
        if session in self.displaced:
            self.displaced.remove(session)
        elif session is self.successor:
            self.successor = None
        elif session is self.publisher:
            self.publisher, self.successor = self.successor, None
            if self.publisher is None:
                side.leave()

    def connected(self, role: Role) -> int:
        """How many sessions of a role are connected."""
        if role is Role.PUBLISH:
            return sum(session.is_connected for session in self.publishers)
        return sum(session.is_connected for session in self.viewers.values())

    def tally(self) -> Tally:
        """Its sessions and their traffic in numbers."""
        viewers = self.viewers.values()
        return Tally(
            created_at=self.created_at,
            streams=int(not self.is_removed),
            publishers=len(self.publishers),
            viewers=len(viewers),
            pushes=sum(v.cascade is not None for v in viewers),
            received=self._published.total([*self.publishers, *self.displaced]),
            sent=self._watched.total(viewers),
        )

    def info(self, oldest: Milliseconds) -> StreamInfo:
        """A snapshot.

        Args:
            oldest: sessions that had ended by then are not listed any more.
        """
        return StreamInfo(
            name=self.name,
            created_at=self.created_at,
            publish=self._published.info([*self.publishers, *self.displaced], oldest),
            subscribe=self._watched.info(list(self.viewers.values()), oldest),
            codecs=tuple(self.relay.codecs.values()),
            is_provisioned=self.is_provisioned,
            is_on_demand=self.is_on_demand,
        )
