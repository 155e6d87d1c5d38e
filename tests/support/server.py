"""A real server on loopback for tests, on ports that the system chooses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from live777py.config import Config
from live777py.server import Server

#: Sections that a test server has unless a test says otherwise.
DEFAULTS: dict[str, dict[str, object]] = {
    "http": {"listen": "127.0.0.1:0"},
    "webrtc": {"listen": "127.0.0.1:0", "addresses": ["127.0.0.1"]},
}


class RunningServer:
    """A server that runs in this process; `url` is its base URL."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.http_urls[0]


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
