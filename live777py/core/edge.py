"""Edge mode: from where streams are fetched that viewers ask for and nobody publishes here.

What is remembered of the origins: which of them did not answer lately, and which streams none of
them had a moment ago.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from live777py.core.remote import Remote
from live777py.core.stream import MAX_NAME_BYTES
from live777py.errors import (
    BadGateway,
    GatewayTimeout,
    InvalidRemote,
    LiveError,
    Loop,
    NotAtOrigin,
    NotFound,
)

#: What stands for the name of a stream in the URL of an origin.
STREAM = "{stream}"

#: Where our own servers, and live777's, have their streams.
PATH = f"/whep/{STREAM}"

#: What becomes the longest part of a URL.
LONGEST_NAME = MAX_NAME_BYTES * "%"

#: Seconds for which an origin that did not answer is asked after all others.
AVOIDED = 30.0

#: Failures that are remembered, each for a second or so.
MAX_FAILURES = 1000

#: How an origin says that it does not have a stream, or not now.
ABSENT = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE)


@dataclass(frozen=True, slots=True)
class Origin:
    """A server that is asked for streams.

    Attributes:
        url: of the server, or of its streams with `{stream}` for the name.
        token: the right to watch there, "" for none.
    """

    url: str = field(repr=False)
    token: str = field(default="", repr=False)

    def remote(self, stream: str) -> Remote:
        """Where a stream would be.

        Raises:
            InvalidRemote: the URL cannot be used.
        """
        template = self.url if STREAM in self.url else self.url.rstrip("/") + PATH
        return Remote.parse(
            template.replace(STREAM, quote(stream, safe="")), self.token
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """A round of origins that did not have a stream.

    Attributes:
        answer: to viewers.
        reason: what the last of them said.
        at: when, on the loop's clock.
    """

    answer: LiveError
    reason: str
    at: float


class Edge:
    """The origins of an edge."""

    def __init__(self, origins: Sequence[Origin], close_after: float) -> None:
        """Prepare.

        Args:
            origins: at least one; the first that has a stream is taken.
            close_after: seconds for which a stream is kept when its last viewer has left.

        Raises:
            InvalidRemote: the URL of one cannot be used.
        """
        if any(STREAM in _host(origin.url) for origin in origins):
            # Whoever watches would choose whom we send our token to.
            raise InvalidRemote(f"the URL has {STREAM} before its path")
        self._origins = tuple(origins)
        self.close_after = close_after
        #: Until when servers are avoided, on the loop's clock.
        self._avoided: dict[str, float] = {}
        self._failures: dict[str, Failure] = {}
        self.remotes(LONGEST_NAME)

    def remotes(self, stream: str) -> tuple[Remote, ...]:
        """Where a stream may be."""
        return tuple(origin.remote(stream) for origin in self._origins)

    def order(self, remotes: Sequence[Remote]) -> list[Remote]:
        """These, but those that did not answer lately behind the others."""
        now = asyncio.get_running_loop().time()
        return sorted(remotes, key=lambda r: self._avoided.get(_server(r), 0.0) > now)

    def answered(self, remote: Remote) -> None:
        """A server has made a session."""
        self._avoided.pop(_server(remote), None)

    def failed(self, remote: Remote, error: Exception) -> None:
        """A server has refused, or said nothing."""
        if isinstance(error, GatewayTimeout):
            now = asyncio.get_running_loop().time()
            self._avoided[_server(remote)] = now + AVOIDED
        elif isinstance(error, BadGateway):
            self.answered(remote)

    def why_not(self, stream: str, refusals: Sequence[Exception]) -> LiveError:
        """What a viewer is told, who is not to learn where our origins are."""
        if any(_is_absence(error) for error in refusals):
            return NotAtOrigin(stream)
        return GatewayTimeout(
            f"no origin of this edge could be asked for stream {stream!r}: try again later"
        )

    def remember(self, stream: str, failure: Failure) -> None:
        """Nobody had a stream."""
        self._failures.pop(stream, None)
        if len(self._failures) >= MAX_FAILURES:
            # In the order in which they came: the oldest is of the least use.
            del self._failures[next(iter(self._failures))]
        self._failures[stream] = failure

    def recall(self, stream: str, memory: float) -> Failure | None:
        """Why a stream was not to be had, if that is no longer ago than `memory`."""
        found = self._failures.get(stream)
        if found is None:
            return None
        if asyncio.get_running_loop().time() - found.at < memory:
            return found
        del self._failures[stream]
        return None


def _is_absence(error: Exception) -> bool:
    """Whether an origin does not have the stream; or has it from us alone."""
    if isinstance(error, BadGateway):
        return error.status in ABSENT
    return isinstance(error, NotFound | Loop)


def _server(remote: Remote) -> str:
    return urlsplit(remote.url).netloc


def _host(url: str) -> str:
    """What is between the scheme and the path, with the user."""
    return url.partition("://")[2].partition("/")[0].partition("?")[0]
