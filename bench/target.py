"""What is measured: our server, fresh for every measurement, or a peer that runs already."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.process import ServerProcess, choose_cores


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to publish or to play one stream, and the bearer token for it."""

    url: str
    token: str | None = None


class Running(Protocol):
    """A server while it is measured."""

    def whip(self, stream: int) -> Endpoint:
        """Where to publish a stream."""

    def whep(self, stream: int) -> Endpoint:
        """Where to play it."""

    def cpu_seconds(self) -> float:
        """User and system time so far."""

    def grown(self) -> float:
        """Resident bytes beyond those of the server without load."""


class Target(Protocol):
    """A server that can be measured.

    Attributes:
        name: its column of the table.
    """

    name: str

    @property
    def has_many_streams(self) -> bool:
        """Whether more than one can be published to it."""

    def running(self) -> AbstractAsyncContextManager[Running]:
        """The server for the time of one measurement, on the server's core."""


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process; NaN where /proc is missing."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return float("nan")
    # The name may contain spaces; after it come state (3) … utime (14), stime (15).
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float:
    """Resident bytes of a process; NaN where /proc is missing."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return float("nan")
    return float(int(pages) * os.sysconf("SC_PAGE_SIZE"))


@contextlib.contextmanager
def process_pinned(pid: int, core: int | None) -> Iterator[None]:
    """Run all threads of a process on one core, and put them back."""
    if core is None:
        yield
        return
    before: dict[int, set[int]] = {}
    for task in _tasks(pid):
        with contextlib.suppress(ProcessLookupError):
            before[task] = os.sched_getaffinity(task)
            os.sched_setaffinity(task, {core})
    try:
        yield
    finally:
        for task in _tasks(pid):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(task, before.get(task, before.get(pid, {core})))


def _tasks(pid: int) -> list[int]:
    try:
        return [int(task) for task in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


@dataclass
class Ours:
    """This repository's server.

    Attributes:
        arguments: of Python, before the server's own: how it is started.
    """

    name: str = "live777py"
    arguments: tuple[str, ...] = ("-m", "live777py")
    has_many_streams: bool = True

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Running]:
        """A process of its own, that ends with the measurement."""
        core, _ = choose_cores()
        async with ServerProcess(core, arguments=self.arguments) as server:
            yield RunningOurs(server, memory(server.pid))


@dataclass(frozen=True)
class RunningOurs:
    """A process of ours.

    Attributes:
        base: its resident bytes without load.
    """

    server: ServerProcess
    base: float = 0.0

    def whip(self, stream: int) -> Endpoint:
        """Where to publish a stream."""
        return Endpoint(f"{self.server.url}/whip/{stream}")

    def whep(self, stream: int) -> Endpoint:
        """Where to play it."""
        return Endpoint(f"{self.server.url}/whep/{stream}")

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        return cpu_seconds(self.server.pid)

    def grown(self) -> float:
        """Resident bytes beyond those without load."""
        return memory(self.server.pid) - self.base


@dataclass
class Peer:
    """Any WHIP and WHEP server that runs on this machine.

    Every stream that is published gets a number that no other had, so that nothing which
    the server keeps of one stands in the way of the next.

    Attributes:
        whip_url, whep_url, token: `{n}` stands for a stream's number.
        pid: of its process.
        base: its resident bytes before the first measurement. What a process gives back
            of its memory is its own affair, so later ones grow from there too.
    """

    name: str
    whip_url: str
    whep_url: str
    pid: int
    token: str | None = None
    base: float = field(init=False)
    _first: Iterator[int] = field(default_factory=lambda: itertools.count(0, 1000))

    def __post_init__(self) -> None:
        self.base = memory(self.pid)

    @property
    def has_many_streams(self) -> bool:
        """Whether a stream's number is part of what tells it from others."""
        return "{n}" in self.whip_url + (self.token or "")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Running]:
        """It runs already: only its threads are moved to the server's core."""
        core, _ = choose_cores()
        with process_pinned(self.pid, core):
            yield _RunningPeer(self, next(self._first))


@dataclass(frozen=True)
class _RunningPeer:
    peer: Peer
    first: int

    def whip(self, stream: int) -> Endpoint:
        return self._endpoint(self.peer.whip_url, stream)

    def whep(self, stream: int) -> Endpoint:
        return self._endpoint(self.peer.whep_url, stream)

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.peer.pid)

    def grown(self) -> float:
        return memory(self.peer.pid) - self.peer.base

    def _endpoint(self, url: str, stream: int) -> Endpoint:
        number = str(self.first + stream)
        token = self.peer.token
        return Endpoint(
            url.replace("{n}", number), token and token.replace("{n}", number)
        )
