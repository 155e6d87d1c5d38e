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
class SessionInfo:
    """One WHIP or WHEP session."""

    id: SessionId
    created_at: Milliseconds
    state: PeerState


@dataclass(frozen=True, slots=True)
class SideInfo:
    """The publishing or the subscribing side of a stream.

    Attributes:
        left_at: when the side became empty; 0 while somebody is attached.
        sessions: in the order in which they came.
    """

    left_at: Milliseconds
    sessions: tuple[SessionInfo, ...]


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream, as a list of streams shows it."""

    name: StreamName
    created_at: Milliseconds
    publish: SideInfo
    subscribe: SideInfo
    codecs: tuple[Codec, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """What a client gets for its offer.

    Attributes:
        session: the id that the session's URL ends in; knowing it is the right to use it.
        sdp: the SDP answer.
        version: of the session's ICE credentials; changes with every ICE restart.
    """

    session: SessionId
    sdp: str
    version: str
