"""What happens to streams, told to whoever wants to know: metrics, webhooks, event streams."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from live777py.core.model import Cascade, Milliseconds, Role, SessionId, StreamName
from live777py.errors import AtCapacity

logger = logging.getLogger(__name__)

#: Events that may wait for one reader.
MAX_WAITING = 256

#: Readers at one time, each of whom has a connection open.
MAX_READERS = 1024


class EventType(enum.Enum):
    """Kinds of events; the names are those that live777's webhooks had."""

    STREAM_UP = "streamUp"
    STREAM_DOWN = "streamDown"
    #: A publisher's media can flow, and no longer can.
    PUBLISH_UP = "publishUp"
    PUBLISH_DOWN = "publishDown"
    #: Likewise a viewer's.
    SUBSCRIBE_UP = "subscribeUp"
    SUBSCRIBE_DOWN = "subscribeDown"
    #: A viewer or publisher that was to be connected never was.
    SESSION_FAILED = "sessionFailed"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a stream.

    Attributes:
        number: counts the events of this node from 1 on, without gaps.
        type: what happened.
        at: when, in milliseconds since the epoch.
        stream: the name of the stream.
        publishers, viewers: connected sessions of the stream afterwards.
        session: the session that it is about, None for a stream's own events.
        role: of that session.
        cascade: where that session's media comes from or goes to, if it is one of ours.
        reason: why something ended; a sentence.
        cause: the same as a word of a small set, for counting; "" for what did not end.
        elapsed: seconds from the offer to the connection, for PUBLISH_UP and SUBSCRIBE_UP.
    """

    number: int
    type: EventType
    at: Milliseconds
    stream: StreamName
    publishers: int
    viewers: int
    session: SessionId | None = None
    role: Role | None = None
    cascade: Cascade | None = None
    reason: str = ""
    cause: str = ""
    elapsed: float = 0.0


class Subscription:
    """One reader's events, in order.

    A reader that lets more than `limit` events wait is ended instead of being buffered without
    end: it learns that it missed something, and asks anew.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: deque[Event] = deque()
        self._wake = asyncio.Event()
        #: Whether nothing more will come: the node stops, or the reader was too slow.
        self.has_ended = False
        self.was_too_slow = False

    def put(self, event: Event) -> None:
        """Give the reader an event."""
        if self.has_ended:
            return
        if len(self._events) >= self._limit:
            self.was_too_slow = True
            self.end()
            return
        self._events.append(event)
        self._wake.set()

    def end(self) -> None:
        """Nothing more will come."""
        self.has_ended = True
        self._wake.set()

    def taken(self) -> list[Event]:
        """What is waiting, without waiting for it."""
        events = list(self._events)
        self._events.clear()
        if not self.has_ended:
            self._wake.clear()
        return events

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait until there is an event or the end; false when the time ran out before."""
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self.has_ended:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._events.popleft()


class Events:
    """Tells events to listeners at once, and to subscribers when they come to it."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []
        self._subscriptions: set[Subscription] = set()
        self._has_ended = False

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` for every event from now on; it must be quick and not fail."""
        self._listeners.append(listener)

    @contextmanager
    def subscribe(self, limit: int = MAX_WAITING) -> Iterator[Subscription]:
        """A reader's events for the time of a `with` block, from now on.

        Raises:
            AtCapacity: there are as many readers as there may be.
        """
        if len(self._subscriptions) >= MAX_READERS:
            raise AtCapacity(
                f"{MAX_READERS} event streams are open: close some, or ask for /api/streams/"
            )
        subscription = Subscription(limit)
        if self._has_ended:
            subscription.end()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def tell(self, event: Event) -> None:
        """Tell everybody."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed on %s", event.type.value)
        for subscription in tuple(self._subscriptions):
            subscription.put(event)

    def end(self) -> None:
        """End all subscriptions: whoever reads them would hold up a shutdown."""
        self._has_ended = True
        for subscription in self._subscriptions:
            subscription.end()
