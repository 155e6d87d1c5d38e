"""The servers of a wish in rounds: each is tried once, then they rest, longer each time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from live777py.aio.backoff import Backoff
from live777py.core.edge import Edge, Failure
from live777py.core.lineage import Path
from live777py.core.remote import Remote
from live777py.core.stream import Stream
from live777py.errors import (
    AtCapacity,
    LiveError,
    Loop,
    NotPublished,
    ShuttingDown,
)

#: The longest that another server may ask us to wait.
MAX_RETRY_AFTER = 300.0

#: Seconds between two attempts for viewers who wait, at most.
MAX_VIEWERS_WAIT = 5.0

#: Rounds that may fail for loops through nodes that wait here, before other servers are no longer
#: told of them: a stranger can say to be such a node, and another the next time.
MAX_LOOPS = 1


class Rounds:
    """What a wish tries next, and what those said whom it has tried.

    `choose` for each attempt, then `answered` or `refused`, or `lost` after its session; when
    `is_over`, `end`.

    Attributes:
        remotes: in the order in which they are tried.
        remote: the one whose turn it is.
        must_rest: a round is over, and it is not yet time for the next one.
        failure: of the latest round.
    """

    def __init__(
        self, stream: Stream, remotes: Sequence[Remote], edge: Edge | None
    ) -> None:
        self.remotes = tuple(remotes)
        self.remote = self.remotes[0]
        self.must_rest = False
        self.failure: Failure | None = None
        self._stream = stream
        self._edge = edge
        self._backoff = (
            Backoff() if self._edge is None else Backoff(most=MAX_VIEWERS_WAIT)
        )
        #: Whose turn is still to come in this round, and what the others said.
        self._left: list[Remote] = []
        self._refusals: list[Exception] = []
        self._retry_after: list[float] = []
        self._rest_until = 0.0
        #: Rounds that were over for loops through nodes that waited, one after the other.
        self._loops = 0

    @property
    def has_others(self) -> bool:
        """Whether there are several servers."""
        return len(self.remotes) > 1

    @property
    def is_over(self) -> bool:
        """Whether each has had its turn."""
        return not self._left

    @property
    def downstream(self) -> Path:
        """To whom goes what is pulled, for the server that is asked for it."""
        if self._loops > MAX_LOOPS:
            return (self._stream.entry,)
        return self._stream.downstream

    def choose(self) -> None:
        """Take the next remote of the round."""
        if not self._left:
            self._begin()
        self.remote = self._left.pop(0)

    def answered(self) -> None:
        """The other server has made a session."""
        self._loops = 0
        self.failure = None
        if self._edge is not None:
            self._edge.answered(self.remote)

    def connected(self) -> None:
        """Media can flow: what the others said does not matter any more."""
        self._refusals.clear()

    def refused(self, error: Exception) -> None:
        """The other server has not made a session."""
        if self._edge is not None:
            self._edge.failed(self.remote, error)
        if isinstance(error, Loop):
            self._stream.held.suspect(error)
        self._refusals.append(error)
        self._retry_after.append(getattr(error, "retry_after", None) or 0.0)

    def lost(self, refusal: Exception | None, *, has_lasted: bool) -> None:
        """A session has ended.

        Args:
            refusal: what that says to viewers, if it never was connected.
            has_lasted: it was a success; the others have their turn before this server.
        """
        self._retry_after.append(0.0)
        if refusal is not None:
            self._refusals.append(refusal)
        if has_lasted:
            self._backoff.reset()
            if self.has_others:
                self._begin()
                self._left.sort(key=lambda remote: remote is self.remote)

    def end(self, reason: str) -> Failure | None:
        """The round is over: rest, unless another one can be had at once.

        Args:
            reason: what the last of them said.

        Returns:
            What those are told who wait, if anything.
        """
        held = self._stream.held
        led = held.refuse()
        if led and self._loops <= MAX_LOOPS and (held or self._stream.has_audience):
            # The failure may have been theirs alone: the others get a round without them.
            self._loops += 1
            return None
        self._loops = 0
        if led:
            # Of others it says nothing.
            self._refusals.clear()
        now = asyncio.get_running_loop().time()
        most = MAX_RETRY_AFTER if self._edge is None else MAX_VIEWERS_WAIT
        # One that may be asked sooner is as good as any.
        wanted = min(min(self._retry_after, default=0.0), most)
        self._rest_until = now + max(self._backoff.next(), wanted)
        self.must_rest = True
        if not self._refusals:
            return None
        self.failure = Failure(self.why_not(), reason, now)
        return self.failure

    def recall(self, failure: Failure, until: float) -> None:
        """A round of another wish for the same stream failed a moment ago: rest until then."""
        self.failure = failure
        self._rest_until = until
        self.must_rest = True

    @property
    def rest_left(self) -> float:
        """Seconds until it is time for the next round."""
        return self._rest_until - asyncio.get_running_loop().time()

    def end_rest(self) -> None:
        """Begin the next round, if it is time."""
        if self.rest_left <= 0:
            self.must_rest = False

    def hasten(self) -> None:
        """Begin the next round at once: what was refused may be there now."""
        self._backoff.reset()
        self.must_rest = False

    def restart(self) -> None:
        """Begin with the first server, as if none had been tried."""
        self.hasten()
        self._left.clear()

    def why_not(self) -> LiveError:
        """The round's refusals in words for a viewer."""
        last = self._refusals[-1] if self._refusals else None
        if isinstance(last, AtCapacity | ShuttingDown):
            return last
        if self._edge is None:
            return NotPublished(self._stream.name)
        return self._edge.why_not(self._stream.name, self._refusals)

    def _begin(self) -> None:
        edge = self._edge
        order = self.remotes if edge is None else edge.order(self.remotes)
        self._left = list(order)
        self._refusals.clear()
        self._retry_after.clear()
