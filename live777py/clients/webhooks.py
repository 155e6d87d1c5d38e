"""Tells other programs by HTTP what happens to streams: [[webhook]]."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp

from live777py.aio.backoff import Backoff
from live777py.aio.scope import TaskScope
from live777py.clients import posting
from live777py.clients.complaints import Complaints
from live777py.clients.event_body import Bodies, Body
from live777py.clients.lines import Line, Lines
from live777py.clients.posting import NoReply, Reply
from live777py.config import Webhook
from live777py.core.events import Event, Events
from live777py.core.model import StreamName

logger = logging.getLogger(__name__)

#: Requests of one webhook that may be under way; each is about another stream.
UNDER_WAY = 16

#: Seconds before the first repetition, and the most before a further one.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0

#: Seconds that may pass at shutdown until everything is told.
GRACE = 2.0

#: Statuses beside 5xx after which the same request may succeed later.
TRANSIENT = frozenset({408, 429})


@dataclass(frozen=True, slots=True)
class _Delivery:
    """One body on its way to one receiver.

    Attributes:
        id: the same over repetitions.
        deadline: on the loop's clock; not tried again later than that.
    """

    body: Body
    id: str
    deadline: float


class Webhooks:
    """All webhooks of a node, told for the time of an `async with` block.

    Enter it before the first stream is made and leave it after the last session has ended: what
    is told counts streams and sessions from the first one on, and their end is told as well.
    """

    def __init__(self, hooks: Sequence[Webhook], events: Events) -> None:
        self._events = events
        self._bodies = Bodies(secrets.token_hex(8))
        self._hooks = [_Hook(hook) for hook in hooks]
        self._stack = AsyncExitStack()
        self._is_open = False

    async def __aenter__(self) -> Self:
        if not self._hooks:
            return self
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(posting.client())
            scope = await stack.enter_async_context(TaskScope())
            for hook in self._hooks:
                for _ in range(UNDER_WAY):
                    scope.spawn(hook.work, http)
            self._stack = stack.pop_all()
        self._is_open = True
        self._events.listen(self._tell)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        try:
            async with asyncio.timeout(GRACE):
                for hook in self._hooks:
                    await hook.emptied()
        except TimeoutError:
            pass  # each hook tells what is left
        finally:
            for hook in self._hooks:
                hook.close()
            await self._stack.aclose()

    def counters(self) -> dict[str, int]:
        """What became of the events, over all webhooks."""
        total: Counter[str] = Counter()
        for hook in self._hooks:
            total.update(hook.counters())
        return dict(total)

    def _tell(self, event: Event) -> None:
        if self._is_open:
            for body in self._bodies.of(event):
                for hook in self._hooks:
                    hook.put(body)


class _Hook:
    """One receiver: its queue, and how it takes what it is sent."""

    def __init__(self, config: Webhook) -> None:
        self._config = config
        self._secret = config.secret.get_secret_value()
        self._lines: Lines[StreamName, _Delivery] = Lines(
            config.max_waiting, lambda: Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        )
        self._about = f"webhook {posting.origin(config.url)}"
        self._complaints = Complaints(logger, self._about)
        self._is_failing = False
        self._delivered = 0
        self._failures = 0
        self._given_up = 0
        self._dropped = 0

    def put(self, body: Body) -> None:
        """Take something to be told, if the receiver wants to know it."""
        if self._config.events and body.name not in self._config.events:
            return
        deadline = asyncio.get_running_loop().time() + self._config.retry_for
        delivery = _Delivery(body, secrets.token_hex(16), deadline)
        if self._lines.put(body.stream, delivery) is not None:
            self._dropped += 1
            self._complaints.add(
                f"dropped an event: {self._config.max_waiting} wait, as many as "
                "max_waiting allows"
            )

    async def work(self, http: aiohttp.ClientSession) -> None:
        """Deliver one thing after the other, for ever."""
        while True:
            line = await self._lines.take()
            try:
                await self._deliver(http, line)
            except Exception:
                # A bug must not hold up the line for ever, nor take a worker away.
                logger.exception("%s: delivering failed", self._about)
                self._given_up += 1
                self._lines.done(line)

    async def emptied(self) -> None:
        """Wait until everything is delivered or given up."""
        await self._lines.emptied()

    def close(self) -> None:
        """Drop what is left."""
        left = self._lines.close()
        self._dropped += left
        if left:
            self._complaints.add(f"dropped {left} events at shutdown")
        self._complaints.close()

    def counters(self) -> dict[str, int]:
        """What became of the events."""
        return {
            "delivered": self._delivered,
            "failed_attempts": self._failures,
            "given_up": self._given_up,
            "dropped": self._dropped,
            "waiting": len(self._lines),
        }

    async def _deliver(
        self, http: aiohttp.ClientSession, line: Line[StreamName, _Delivery]
    ) -> None:
        delivery = line.head
        try:
            reply = await self._post(http, delivery)
        except NoReply as error:
            self._again_or_never(line, delivery, str(error), 0.0)
            return
        if reply.is_success:
            self._delivered += 1
            self._works()
        elif reply.status in TRANSIENT or reply.status >= 500:
            self._again_or_never(line, delivery, str(reply), reply.retry_after)
            return
        else:
            self._failures += 1
            self._give_up(delivery, str(reply))
        line.backoff.reset()
        self._lines.done(line)

    async def _post(self, http: aiohttp.ClientSession, delivery: _Delivery) -> Reply:
        return await posting.post(
            http,
            self._config.url,
            delivery.body.data,
            secret=self._secret,
            headers={
                "X-Live777-Event": delivery.body.name,
                "X-Live777-Delivery": delivery.id,
            },
            timeout=self._config.timeout,
        )

    def _again_or_never(
        self,
        line: Line[StreamName, _Delivery],
        delivery: _Delivery,
        problem: str,
        wanted: float,
    ) -> None:
        self._failures += 1
        delay = max(line.backoff.next(), wanted)
        if asyncio.get_running_loop().time() + delay > delivery.deadline:
            self._give_up(delivery, problem)
            self._lines.done(line)
            return
        if not self._is_failing:
            self._is_failing = True
            logger.warning("%s: %s; trying again", self._about, problem)
        self._lines.postpone(line, delay)

    def _give_up(self, delivery: _Delivery, problem: str) -> None:
        self._given_up += 1
        body = delivery.body
        self._complaints.add(f"gave up {body.name} of {body.stream!r}: {problem}")

    def _works(self) -> None:
        if self._is_failing:
            self._is_failing = False
            logger.info("%s: works again", self._about)
