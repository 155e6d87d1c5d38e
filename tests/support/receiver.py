"""A real HTTP server on loopback that webhooks are sent to, and that answers as told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Received:
    """One request."""

    request: web.Request
    body: bytes

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the request."""
        return self.request.headers

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def type(self) -> str:
        """The type of the event that it tells."""
        return str(self.json["event"]["stream"]["type"])

    @property
    def stream(self) -> str:
        """The stream that it is about."""
        return str(self.json["event"]["stream"]["stream"]["stream"])


Answer = Callable[[Received], Awaitable[web.StreamResponse]]


async def welcome(_received: Received) -> web.StreamResponse:
    """Takes everything."""
    return web.Response(status=204)


def answers(*statuses: int, headers: dict[str, str] | None = None) -> Answer:
    """Answers with one status after the other, from then on with the last."""
    left = list(statuses)

    async def answer(_received: Received) -> web.StreamResponse:
        status = left.pop(0) if len(left) > 1 else left[0]
        return web.Response(status=status, headers=headers)

    return answer


@dataclass
class Receiver:
    """What came; `answer` may be replaced at any time."""

    answer: Answer = welcome
    url: str = ""
    received: list[Received] = field(default_factory=list)
    arrival: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note a request and answer it."""
        received = Received(request, await request.read())
        self.received.append(received)
        async with self.arrival:
            self.arrival.notify_all()
        return await self.answer(received)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is true of what came."""
        async with asyncio.timeout(20), self.arrival:
            await self.arrival.wait_for(lambda: bool(condition()))

    @property
    def types(self) -> list[str]:
        """Of the events that came."""
        return [received.type for received in self.received]


@asynccontextmanager
async def receiving(answer: Answer = welcome) -> AsyncIterator[Receiver]:
    """A receiver for the time of a `with` block."""
    receiver = Receiver(answer)
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.01, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        receiver.url = f"http://{host}:{port}/hook"
        yield receiver
    finally:
        await runner.cleanup()


async def hang_up(received: Received) -> web.StreamResponse:
    """Closes the connection without an answer."""
    assert received.request.transport is not None
    received.request.transport.abort()
    return web.Response()


async def silence(_received: Received) -> web.StreamResponse:
    """Never answers."""
    await asyncio.Event().wait()
    raise AssertionError
