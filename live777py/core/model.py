"""What the outside may know of streams and sessions: frozen snapshots."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from live777py.protocol.codecs import Codec

StreamName = NewType("StreamName", str)
SessionId = NewType("SessionId", str)
CascadeId = NewType("CascadeId", str)

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


class CascadeState(enum.Enum):
    """What a cascade is doing."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    #: It was lost or refused, and is tried again after a while.
    WAITING = "waiting"
    #: It is wanted only while somebody watches, and nobody does.
    IDLE = "idle"


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
class CascadeInfo:
    """A stream's connection to another server, which is made again when it is lost.

    Attributes:
        stream: of this node.
        created_at: when it was asked for.
        since: when it came into its state.
        attempts: to connect, since it last was connected.
        error: why the latest attempt failed or the connection was lost; "" for never.
        warnings: what does not pass in the current session, and why.
        session: of this node, None while there is none.
        sources: all URLs that may be pulled from, where there are several.
        is_configured: it ends with the node only.
        is_on_demand: there is a session only while somebody watches.
        traffic: of all its sessions.
    """

    id: CascadeId
    stream: StreamName
    cascade: Cascade
    state: CascadeState
    created_at: Milliseconds
    since: Milliseconds
    attempts: int
    error: str
    session: SessionId | None
    warnings: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    is_configured: bool = False
    is_on_demand: bool = False
    traffic: Traffic = NO_TRAFFIC


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
        is_on_demand: it is pulled from elsewhere, only while somebody watches.
    """

    name: StreamName
    created_at: Milliseconds
    publish: SideInfo
    subscribe: SideInfo
    codecs: tuple[Codec, ...]
    is_provisioned: bool = False
    is_on_demand: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """What there is of a stream, or of all of them, in numbers.

    Attributes:
        created_at: when the stream began, 0 for all of them.
        streams: how many there are.
        publishers, viewers: their sessions, those that are about to be connected among them.
        pushes: of the viewers, those that this node opened at another server.
        received, sent: of all sessions that there ever were.
    """

    created_at: Milliseconds = 0
    streams: int = 0
    publishers: int = 0
    viewers: int = 0
    pushes: int = 0
    received: Traffic = NO_TRAFFIC
    sent: Traffic = NO_TRAFFIC

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(
            0,
            self.streams + other.streams,
            self.publishers + other.publishers,
            self.viewers + other.viewers,
            self.pushes + other.pushes,
            self.received + other.received,
            self.sent + other.sent,
        )


NO_TALLY = Tally()


@dataclass(frozen=True, slots=True)
class Delays:
    """A histogram of delays.

    Attributes:
        bounds: seconds below which the delays of each bucket are; the last one has none.
        counts: one more than bounds.
        total: of all delays, in seconds.
    """

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0,)
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class MediaCounters:
    """What a media engine counts, of all peers together.

    Attributes:
        datagrams_in, bytes_in: of all kinds, as they came from the network.
        packets_out, bytes_out: encrypted media as it was sent, retransmissions among it.
        restored: packets that a publisher sent again where they were missing.
        retransmitted: packets that viewers were sent again.
        dropped: datagrams and packets that went no further, by reason.
        not_retransmitted: packets that viewers asked for again and did not get, by reason.
        frames_dropped: frames of which a viewer was not sent the rest.
        key_frames_requested: requests for a key frame that were sent to publishers.
        key_frames_wanted: requests for a key frame that came from viewers.
        forwarding: from the kernel's receiving to its sending, once a batch.
    """

    datagrams_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0
    restored: int = 0
    retransmitted: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    not_retransmitted: Mapping[str, int] = field(default_factory=dict)
    frames_dropped: int = 0
    key_frames_requested: int = 0
    key_frames_wanted: int = 0
    forwarding: Delays = field(default_factory=Delays)


@dataclass(frozen=True, slots=True)
class Answered:
    """What a client gets for its offer, or for having none.

    Attributes:
        session: the id that the session's URL ends in; knowing it is the right to use it.
        sdp: the SDP answer, or the offer where the client wanted one.
        version: of the session's ICE credentials; changes with every ICE restart.
        via: where the stream's media comes from, for a client that is a node; else "".
    """

    session: SessionId
    sdp: str
    version: str
    via: str = ""


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
