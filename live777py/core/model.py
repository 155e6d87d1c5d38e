"""What the outside may know of streams and sessions: frozen snapshots."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NewType

from live777py.protocol.codecs import Codec

StreamName = NewType("StreamName", str)
SessionId = NewType("SessionId", str)

#: Milliseconds since the epoch.
Milliseconds = int


class PeerState(enum.Enum):
    """The life of a peer, in the words of the browser's RTCPeerConnectionState."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


class Role(enum.Enum):
    """Which way the media of a session goes."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


@dataclass(frozen=True, slots=True)
class Cascade:
    """The other end of a session that this node opened itself, at another server.

    Attributes:
        source_url: the WHEP URL that is pulled from; "" for a push.
        target_url: the WHIP URL that is pushed to; "" for a pull.
        session_url: of the session at the other server.
    """

    source_url: str = ""
    target_url: str = ""
    session_url: str = ""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a session has sent or was sent.

    Attributes:
        bytes: of RTP headers and payloads, without encryption and retransmissions.
        packets: likewise.
        bitrate: in bit/s, over the last two seconds or so.
        lost: packets that did not come and did not come later.
        round_trip: seconds to the other side and back, None where nobody knows.
        jitter: of the arrival of packets in seconds, None where nobody knows.
    """

    bytes: int = 0
    packets: int = 0
    bitrate: int = 0
    lost: int = 0
    round_trip: float | None = None
    jitter: float | None = None

    def __add__(self, other: Traffic) -> Traffic:
        """Both together; round trip and jitter are of neither."""
        return Traffic(
            self.bytes + other.bytes,
            self.packets + other.packets,
            self.bitrate + other.bitrate,
            self.lost + other.lost,
        )


NO_TRAFFIC = Traffic()


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One WHIP or WHEP session.

    Attributes:
        left_at: when it ended; 0 while it lives. Those that ended are listed for a while.
    """

    id: SessionId
    created_at: Milliseconds
    state: PeerState
    left_at: Milliseconds = 0
    traffic: Traffic = NO_TRAFFIC
    cascade: Cascade | None = None


@dataclass(frozen=True, slots=True)
class SideInfo:
    """The publishing or the subscribing side of a stream.

    Attributes:
        left_at: when the side became empty; 0 while somebody is attached.
        sessions: in the order in which they came; those that have ended last.
        traffic: of all sessions that there ever were, so that it never decreases.
    """

    left_at: Milliseconds
    sessions: tuple[SessionInfo, ...]
    traffic: Traffic = NO_TRAFFIC


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream, as a list of streams shows it.

    Attributes:
        is_provisioned: it was declared in the configuration.
    """

    name: StreamName
    created_at: Milliseconds
    publish: SideInfo
    subscribe: SideInfo
    codecs: tuple[Codec, ...]
    is_provisioned: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """What a client gets for its offer, or for having none.

    Attributes:
        session: the id that the session's URL ends in; knowing it is the right to use it.
        sdp: the SDP answer, or the offer where the client wanted one.
        version: of the session's ICE credentials; changes with every ICE restart.
    """

    session: SessionId
    sdp: str
    version: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """What a client gets for an ICE restart.

    Attributes:
        fragment: an SDP fragment with the new credentials and all candidates (RFC 8840).
        version: of the new credentials.
    """

    fragment: str
    version: str


@dataclass(frozen=True, slots=True)
class IfMatch:
    """For which ICE credentials a request is meant (RFC 9725 section 4.3.1).

    Attributes:
        versions: those of which one must be the session's.
        is_any: whatever the session's are ("*").
    """

    versions: frozenset[str] = frozenset()
    is_any: bool = False

    def matches(self, version: str) -> bool:
        """Whether a session with this version is meant."""
        return self.is_any or version in self.versions
