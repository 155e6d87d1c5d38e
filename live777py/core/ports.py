"""What the domain needs from a media engine, as interfaces owned by the domain.

`rtc/` implements them with real peers, the tests of `core/` with fakes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from live777py.core.lineage import Path
from live777py.core.model import MediaCounters, PeerState, Traffic
from live777py.core.remote import Opened, Remote
from live777py.protocol.codecs import Codec, Kind


class PeerGone(Exception):
    """A peer ended before it was connected; the text is the reason.

    Attributes:
        cause: the reason as a word of a small set, for counting.
    """

    def __init__(self, reason: str, cause: str = "ended") -> None:
        super().__init__(reason)
        self.cause = cause


class Ending(NamedTuple):
    """How a peer ended: a sentence, and a word of a small set, for counting."""

    reason: str
    cause: str = "ended"


class Peer(Protocol):
    """One peer connection, entered with `async with`, closed whatever happens inside.

    The order is: enter, `answer`, `connected`, `gone`, leave. `end` may be called at any time.

    A publisher takes the place of the one before when it is connected, not sooner.
    """

    @property
    def state(self) -> PeerState:
        """Where in its life the peer is."""

    @property
    def version(self) -> str:
        """Identifies the current ICE credentials."""

    @property
    def remote_ufrag(self) -> str:
        """The client's current ICE username fragment; "" before the answer."""

    @property
    def traffic(self) -> Traffic:
        """What it has sent or was sent; stays what it was when the peer ends."""

    @property
    def recent(self) -> Traffic:
        """What `traffic` was a second ago or less; to ask for it costs nothing."""

    @property
    def stage(self) -> str:
        """What has to come next until media can flow, as a word: `ice`, then `dtls`."""

    @property
    def silence(self) -> float:
        """Seconds since anything authenticated came."""

    async def __aenter__(self) -> Self:
        """Take a place in the engine.

        Raises:
            AtCapacity: there is none left.
        """

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Say goodbye to the other side and free everything."""

    async def answer(self, offer: str) -> str:
        """Answer an SDP offer.

        Raises:
            Invalid: the offer is malformed, unusable or without a common codec.
        """

    def restart(self, ufrag: str, pwd: str) -> str:
        """Restart ICE for a client with these new credentials; media flows on.

        Returns:
            An SDP fragment with new credentials of ours and all candidates.
        """

    async def connected(self) -> None:
        """Wait until media can flow.

        Raises:
            PeerGone: it never will.
        """

    async def gone(self) -> Ending:
        """Wait until the peer ends; returns how."""

    def end(self, reason: str, cause: str = "ended") -> None:
        """End the peer: `connected` raises, or `gone` returns, with this reason and cause."""

    def hear_paths(self, heard: Callable[[Path], None]) -> None:
        """Believe the other side, which is a node, when it says where its media comes from now.

        Args:
            heard: called when it has changed, though not more often than a few times a second.
        """

    def tell_path(self, path: Path) -> None:
        """Tell the other side, which is a node, where what it is sent comes from now.

        It is told as soon as it is connected, and again and again: packets get lost.
        """


class ViewerPeer(Peer, Protocol):
    """A peer that is sent a stream; it may be the one who offers.

    Then the order is: enter, `offer`, `accept`, `connected`, `gone`, leave.
    """

    async def offer(self) -> str:
        """Offer what is being published, or all that may be.

        Raises:
            NotPublished: there is nothing to offer.
        """

    def accept(self, answer: str) -> None:
        """Take the answer to the offer, without which it is never connected.

        Raises:
            Invalid: the answer is malformed or does not fit; another one may be tried.
        """

    def has_seen(self, age: float) -> None:
        """Begin with no key frame that came more than so many seconds ago.

        Not for ever: where the publisher makes no new one within a moment, an old one has to do.
        """

    def mute(self, kind: Kind, muted: bool) -> None:
        """Send no more of this kind, or send it again; one that it never had is fine."""


class RemotePeer(Peer, Protocol):
    """A peer that we open to another server.

    The order is: enter, `open`, `connected`, `gone`, leave. Leaving ends the session at the other
    server too.
    """

    @property
    def media_silence(self) -> float:
        """Seconds since media came from the other server, or it was connected; 0 for a push."""

    async def open(self) -> Opened:
        """Make the session at the other server, in a bounded time.

        Raises:
            BadGateway: the other server refused, or its answer cannot be used.
            GatewayTimeout: it did not answer.
            Loop: the other server is a node, and would be fed with its own stream.
            NotPublished: there is nothing to be pushed.
            PeerGone: the peer was ended meanwhile.
        """


class Relay(Protocol):
    """The tracks of one stream, which live as long as the stream does."""

    @property
    def codecs(self) -> Mapping[Kind, Codec]:
        """What is being published, by kind; empty when nothing is."""

    def publisher(self) -> Peer:
        """A peer whose media goes into these tracks once it is connected.

        The publication of the one before ends at that moment.
        """

    def viewer(self) -> ViewerPeer:
        """A peer that is sent these tracks."""

    def has_seen(self, age: float) -> None:
        """Viewers are about to come who have seen what was sent until so many seconds ago.

        Sources that are opened from now on ask for nothing that is older.
        """

    def source(self, remote: Remote) -> RemotePeer:
        """A peer that takes its media from another server (WHEP), else like a publisher."""

    def sink(self, remote: Remote) -> RemotePeer:
        """A peer that sends these tracks to another server (WHIP)."""

    def close(self) -> None:
        """Free the tracks; their peers have ended."""


class Media(Protocol):
    """The engine that makes relays."""

    def relay(self, name: str) -> Relay:
        """Tracks for a new stream; `name` is only for people.

        Raises:
            AtCapacity: there are as many streams as the engine can hold.
        """

    def check_viewer(self, offer: str) -> None:
        """See whether a viewer's SDP offer could be answered, whatever is published.

        Raises:
            Invalid: the offer is malformed, unusable or without a codec that is forwarded.
        """

    def counters(self) -> MediaCounters:
        """What the engine has counted since it was made."""
