"""The server under measurement, as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[1]

#: Seconds that a start may take: a cold compile of the data plane is some 20 s.
START_TIMEOUT = 120.0
STOP_TIMEOUT = 10.0

_CONFIG = """\
[http]
listen = "127.0.0.1:0"
rate_limit = 0

[webrtc]
listen = "127.0.0.1:0"
addresses = ["127.0.0.1"]

[log]
level = "warning"
"""


class ServerProcess:
    """`live777py serve` with a configuration of its own, on ports that are free.

    `async with ServerProcess(core) as server:`; `url` is its base URL.
    """

    def __init__(
        self,
        core: int | None,
        *,
        arguments: Sequence[str] = ("-m", "live777py"),
        more: str = "",
    ) -> None:
        """Prepare.

        Args:
            core: the CPU to run on, None for any.
            arguments: of Python, before those of the server.
            more: sections of the configuration.
        """
        self.url = ""
        self._core = core
        self._arguments = arguments
        self._config = _CONFIG + more
        self._stack = contextlib.AsyncExitStack()
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            config = Path(folder) / "bench.toml"
            config.write_text(self._config)
            with pinned(self._core):
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *self._arguments,
                    "-c",
                    str(config),
                    cwd=ROOT,
                    stdout=asyncio.subprocess.PIPE,
                )
            stack.push_async_callback(self._stop)
            async with asyncio.timeout(START_TIMEOUT):
                self.url = await self._announced()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _announced(self) -> str:
        """The first URL that the command prints."""
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        async for line in self._process.stdout:
            if found := re.search(r"http://[^\s/]+", line.decode()):
                return found.group()
        raise RuntimeError("the server ended before it was serving")

    async def _stop(self) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._process.communicate()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid


def choose_cores() -> tuple[int | None, int | None]:
    """A core for the server and one for the load; None where it cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (None, None)


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Run what is started inside on one core: children inherit it, their threads too."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
