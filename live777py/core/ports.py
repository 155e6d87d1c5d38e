"""What the domain needs from a media engine, as interfaces owned by the domain.

`rtc/` implements them with real peers, the tests of `core/` with fakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from live777py.core.model import PeerState
from live777py.protocol.codecs import Codec, Kind


class PeerGone(Exception):
    """A peer ended before it was connected; the text is the reason."""


class Peer(Protocol):
    """One peer connection, entered with `async with`, closed whatever happens inside.

    The order is: enter, `answer`, `connected`, `gone`, leave. `end` may be called at any time.
    """

    @property
    def state(self) -> PeerState:
        """Where in its life the peer is."""

    @property
    def version(self) -> str:
        """Identifies the current ICE credentials."""

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

    async def connected(self) -> None:
        """Wait until media can flow.

        Raises:
            PeerGone: it never will.
        """

    async def gone(self) -> str:
        """Wait until the peer ends; returns the reason."""

    def end(self, reason: str) -> None:
        """End the peer: `connected` raises, or `gone` returns, with this reason."""


class Relay(Protocol):
    """The tracks of one stream, which live as long as the stream does."""

    @property
    def codecs(self) -> Mapping[Kind, Codec]:
        """What is being published, by kind; empty when nothing is."""

    def publisher(self) -> Peer:
        """A peer whose media goes into these tracks; one at a time."""

    def viewer(self) -> Peer:
        """A peer that is sent these tracks."""

    def close(self) -> None:
        """Free the tracks; their peers have ended."""


class Media(Protocol):
    """The engine that makes relays."""

    def relay(self, name: str) -> Relay:
        """Tracks for a new stream; `name` is only for people.

        Raises:
            AtCapacity: there are as many streams as the engine can hold.
        """
