"""A stream and its sessions: who publishes, who watches, since when."""

from __future__ import annotations

import asyncio
import secrets
import time
import unicodedata
from dataclasses import dataclass, field

from live777py.core.model import (
    Milliseconds,
    Role,
    SessionId,
    SessionInfo,
    SideInfo,
    StreamInfo,
    StreamName,
)
from live777py.core.ports import Peer, Relay
from live777py.errors import AlreadyPublishing, AtCapacity, InvalidName

#: The longest stream name, in bytes of UTF-8.
MAX_NAME_BYTES = 255

#: Unicode categories of control characters and line separators: they have no place in a name,
#: and would write lines of their own into whatever shows it.
CONTROLS = frozenset({"Cc", "Zl", "Zp", "Cs"})

#: Characters that turn the direction of what follows them: one name could look like another.
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


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


@dataclass(eq=False, slots=True)
class Session:
    """One WHIP or WHEP client's place in a stream.

    The id has 128 random bits: who knows it may use the session (RFC 9725 section 5). `ended` is
    set once the peer has left and the place has been given back.
    """

    role: Role
    stream: Stream
    peer: Peer
    id: SessionId = field(default_factory=lambda: SessionId(secrets.token_hex(16)))
    created_at: Milliseconds = field(default_factory=now_ms)
    has_begun: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def info(self) -> SessionInfo:
        """A snapshot."""
        return SessionInfo(self.id, self.created_at, self.peer.state)


class Stream:
    """A name with at most one publisher and any number of viewers.

    `Live` alone attaches and detaches sessions. The relay lives as long as the stream, so a
    viewer's numbering goes on when one publisher follows another.
    """

    def __init__(self, name: StreamName, relay: Relay, max_viewers: int) -> None:
        self.name = name
        self.relay = relay
        self.created_at = now_ms()
        self.publisher: Session | None = None
        self.viewers: dict[SessionId, Session] = {}
        self._max_viewers = max_viewers
        self._published_until: Milliseconds = 0
        self._watched_until: Milliseconds = self.created_at

    @property
    def is_idle(self) -> bool:
        """Nobody publishes and nobody watches."""
        return self.publisher is None and not self.viewers

    def attach(self, role: Role) -> Session:
        """Take a place for a new session; atomic, so that of two publishers one wins.

        Raises:
            AlreadyPublishing: somebody publishes, or is about to.
            AtCapacity: the stream has as many viewers as it may have.
        """
        if role is Role.PUBLISH:
            if self.publisher is not None:
                raise AlreadyPublishing(self.name)
            session = Session(role, self, self.relay.publisher())
            self.publisher = session
            self._published_until = 0
            return session
        if len(self.viewers) >= self._max_viewers:
            raise AtCapacity(
                f"stream {self.name!r} has {self._max_viewers} viewers, as many as "
                "[strategy] each_stream_max_sub allows"
            )
        session = Session(role, self, self.relay.viewer())
        self.viewers[session.id] = session
        self._watched_until = 0
        return session

    def detach(self, session: Session) -> None:
        """Give a session's place back."""
        if session.role is Role.PUBLISH:
            self.publisher = None
            self._published_until = now_ms()
        else:
            del self.viewers[session.id]
            if not self.viewers:
                self._watched_until = now_ms()

    def info(self) -> StreamInfo:
        """A snapshot."""
        publisher = () if self.publisher is None else (self.publisher.info(),)
        viewers = tuple(session.info() for session in self.viewers.values())
        return StreamInfo(
            name=self.name,
            created_at=self.created_at,
            publish=SideInfo(self._published_until, publisher),
            subscribe=SideInfo(self._watched_until, viewers),
            codecs=tuple(self.relay.codecs.values()),
        )
