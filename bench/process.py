"""The server under measurement, as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
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

[webrtc]
listen = "127.0.0.1:0"
addresses = ["127.0.0.1"]
max_sessions = {max_sessions}

[log]
level = "warning"
"""


class ServerProcess:
    """`live777py serve` with a configuration of its own, on ports that are free.

    `async with ServerProcess(core) as server:`; `url` is its base URL.
    """

    def __init__(self, core: int | None, *, max_sessions: int = 4096) -> None:
        """Prepare.

        Args:
            core: the CPU to run on, None for any.
            max_sessions: the bound that the server is configured with.
        """
        self.url = ""
        self._core = core
        self._max_sessions = max_sessions
        self._stack = contextlib.AsyncExitStack()
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            config = Path(folder) / "bench.toml"
            config.write_text(_CONFIG.format(max_sessions=self._max_sessions))
            with pinned(self._core):
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "live777py",
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

    def cpu_seconds(self) -> float | None:
        """User and system time of all threads so far, None where /proc is missing."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return None
        # The name may contain spaces; after it come state (3) … utime (14), stime (15).
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int | None:
        """Resident bytes, None where /proc is missing."""
        try:
            pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        except OSError:
            return None
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


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
