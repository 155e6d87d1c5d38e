"""A real server on loopback for tests, on ports that the system chooses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from live777py.config import Config
from live777py.server import Server

#: Sections that a test server has unless a test says otherwise.
DEFAULTS: dict[str, dict[str, object]] = {
    # No test is slowed down on purpose but those of the limit itself.
    "http": {"listen": "127.0.0.1:0", "rate_limit": 0},
    "webrtc": {"listen": "127.0.0.1:0", "addresses": ["127.0.0.1"]},
}


class RunningServer:
    """A server that runs in this process; `url` is its base URL."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.http_urls[0]

    @property
    def counters(self) -> dict[str, int]:
        """What the data plane, the transport and the peers have counted."""
        resources = self.server._engine._resources
        return {
            **resources.plane.counters(),
            **resources.transport.counters(),
            "key_frames_wanted": resources.counts.key_frames_wanted,
        }

    async def streams(self) -> list[dict[str, Any]]:
        """What `GET /api/streams/` lists."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self.url}/api/streams/") as response,
        ):
            found: list[dict[str, Any]] = await response.json()
            return found

    async def until_published(self, name: str, timeout: float = 20.0) -> None:
        """Wait until somebody who publishes `name` is connected, by the server's account."""
        async with asyncio.timeout(timeout):
            while not any(  # noqa: ASYNC110 - the server tells nobody
                stream["id"] == name and session["state"] == "connected"
                for stream in await self.streams()
                for session in stream["publish"]["sessions"]
            ):
                await asyncio.sleep(0.01)


def config(**sections: object) -> Config:
    """The configuration of a test server: defaults, with single keys replaced."""
    merged: dict[str, object] = {**DEFAULTS}
    for name, keys in sections.items():
        if isinstance(keys, dict):
            keys = {**DEFAULTS.get(name, {}), **keys}
        merged[name] = keys
    return Config.model_validate(merged)


@asynccontextmanager
async def running(**sections: object) -> AsyncIterator[RunningServer]:
    """A server for the time of a `with` block, such as `running(webrtc={"gso": False})`."""
    async with Server(config(**sections)) as server:
        yield RunningServer(server)
