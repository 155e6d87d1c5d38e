"""Nodes as processes, by the development launcher: killed, frozen, started where they were."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from live777py import fleet
from tests.support.node import NodeApi

#: What all of them have: no test is slowed down on purpose.
COMMON = "[common.http]\nrate_limit = 0\n"


class NodeProcess(NodeApi):
    """A node of a fleet, and a client of its API."""

    def __init__(self, process: fleet.Node, http: aiohttp.ClientSession) -> None:
        super().__init__(process.url, http)
        self.process = process

    async def start(self) -> None:
        """Start it again at its place; returns when it listens."""
        await self.process.start()

    async def kill(self) -> None:
        """SIGKILL: it says goodbye to nobody."""
        await self.process.kill()

    async def stop(self) -> None:
        """SIGTERM: it ends its sessions, and well."""
        await self.process.stop()
        assert self.process.status == 0

    def freeze(self) -> None:
        """SIGSTOP: its sockets stay, and nobody reads them."""
        self.process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.signal(signal.SIGCONT)

    async def configure(self, old: str, new: str) -> None:
        """Change the text of its configuration for the next start."""
        text = await asyncio.to_thread(self.process.file.read_text)
        assert old in text
        await asyncio.to_thread(self.process.file.write_text, text.replace(old, new))


@asynccontextmanager
async def nodes(
    plan: str, token: str | None = None
) -> AsyncIterator[list[NodeProcess]]:
    """Nodes for the time of a block, in the order of their plan.

    Args:
        plan: what a fleet's file says of them, beside `COMMON`.
        token: that their API is asked with.
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    # Each request has a connection of its own: what was restarted knows no old ones.
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        aiohttp.ClientSession(headers=headers, connector=connector) as http,
        fleet.running(fleet.parse(COMMON + plan), show=_show) as processes,
    ):
        yield [NodeProcess(process, http) for process in processes.values()]


def _show(name: str, line: str) -> None:
    # Kept by pytest, which shows it where a test has failed.
    print(f"{name}: {line}")  # noqa: T201
