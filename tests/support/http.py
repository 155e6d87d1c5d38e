"""Bare HTTP applications on loopback, for what needs no server of ours around it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import ClientSession, web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    """The base URL of an application, which is there for the time of a block."""
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def answering(handler: Handler) -> web.Application:
    """An application that answers every request by one function."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    return app


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[ClientSession]:
    """A client whose paths are relative to the application."""
    async with served(app) as url, ClientSession(url) as http:
        yield http
