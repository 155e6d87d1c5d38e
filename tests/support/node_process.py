"""Nodes as processes: they are killed, frozen and started again where they were."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from tests.support.node import NodeApi
from tests.support.server import merged

ROOT = Path(__file__).parents[2]

#: Seconds that a start may take: the data plane may have to be compiled first.
START_TIMEOUT = 180.0
STOP_TIMEOUT = 20.0

#: Below the ports that systems give to sockets without one: nobody takes them meanwhile.
PORTS = range(20_000, 32_000)


def free_port(kind: socket.SocketKind) -> int:
    """A port on which nobody listens, and on which nobody will by chance."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def toml(value: object) -> str:
    """A value of a configuration as TOML, in one line."""
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(key)} = {toml(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    # Strings, numbers and truth values are written as in JSON.
    return json.dumps(value)


class NodeProcess(NodeApi):
    """`python -m live777py` on ports of its own, which stay the same over restarts.

    Attributes:
        sections: of the configuration; what is changed holds from the next start on.
    """

    def __init__(
        self,
        folder: Path,
        http: aiohttp.ClientSession,
        sections: Mapping[str, Mapping[str, object]],
    ) -> None:
        """Prepare; `start` starts it.

        Args:
            folder: where its configuration goes.
            http: a client that has the node's token, if it wants one.
            sections: of the configuration, beside the addresses.
        """
        port = free_port(socket.SOCK_STREAM)
        super().__init__(f"http://127.0.0.1:{port}", http)
        media = free_port(socket.SOCK_DGRAM)
        self.sections: dict[str, dict[str, object]] = {
            **{name: {**keys} for name, keys in sections.items()},
            "http": {**sections.get("http", {}), "listen": f"127.0.0.1:{port}"},
            "webrtc": {**sections.get("webrtc", {}), "listen": f"127.0.0.1:{media}"},
        }
        self._config = folder / f"node-{port}.toml"
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._running.pid

    async def start(self) -> None:
        """Start it; returns when it listens."""
        assert self._process is None, "it runs already"
        sections = merged(**self.sections)
        text = "".join(f"{name} = {toml(keys)}\n" for name, keys in sections.items())
        await asyncio.to_thread(self._config.write_text, text)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "live777py", "-c", str(self._config)),
            cwd=ROOT,
            stdout=PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_TIMEOUT):
            async for line in self._process.stdout:
                if b"http://" in line:
                    return
        raise RuntimeError("the node ended before it was serving")

    async def kill(self) -> None:
        """SIGKILL: it says goodbye to nobody."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; returns its exit status."""
        return await self._end(signal.SIGTERM)

    async def restart(self) -> None:
        """Kill it and start it again."""
        await self.kill()
        await self.start()

    def freeze(self) -> None:
        """SIGSTOP: its sockets stay, and nobody reads them."""
        self._running.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._running.send_signal(signal.SIGCONT)

    async def aclose(self) -> None:
        """End it in whatever state it is."""
        if self._process is not None:
            await self.kill()

    @property
    def _running(self) -> Process:
        assert self._process is not None, "it does not run"
        return self._process

    async def _end(self, number: signal.Signals) -> int:
        process, self._process = self._running, None
        if process.returncode is None:
            process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        return process.returncode


@asynccontextmanager
async def nodes(
    folder: Path,
    count: int = 1,
    *,
    token: str | None = None,
    **sections: Mapping[str, object],
) -> AsyncIterator[list[NodeProcess]]:
    """Nodes for the time of a block, all with the same configuration.

    Args:
        folder: where their configurations go.
        count: how many; 0 ≤ count.
        token: that their API is asked with.
        sections: of the configuration.
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with AsyncExitStack() as stack:
        # Each request has a connection of its own: what is restarted knows no old ones.
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                headers=headers, connector=aiohttp.TCPConnector(force_close=True)
            )
        )
        made = [NodeProcess(folder, http, sections) for _ in range(count)]
        for one in made:
            stack.push_async_callback(one.aclose)
        async with asyncio.TaskGroup() as starting:
            for one in made:
                starting.create_task(one.start())
        yield made
