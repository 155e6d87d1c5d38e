"""Runs a fleet: every node a process of its own, started, watched and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from live777py import config
from live777py.aio.finish import finish
from live777py.aio.scope import TaskScope
from live777py.errors import ConfigError
from live777py.fleet import plan as plans
from live777py.fleet import ports
from live777py.fleet.leash import leashed
from live777py.fleet.plan import Plan, PlannedNode

#: Seconds that a start may take: where nothing is compiled yet it is more than a minute.
START_TIMEOUT = 300.0

#: Seconds that a node has to say goodbye to its peers; many that stop at once have more.
GRACE = 10.0

#: Lines of a node's output that are kept, and those that a failed start shows.
KEPT_LINES = 1000
SHOWN_LINES = 20

#: Bytes of a line; a longer one is taken apart.
MAX_LINE = 1 << 16

Show = Callable[[str, str], None]


class NodeFailed(Exception):
    """A node did not start; the message says which one, how it ended, and what it said."""


class Node:
    """One node of a fleet. `running` makes and starts it, and stops it in the end.

    Attributes:
        name: in the plan.
        url: base URL of its HTTP server; the same after a restart.
        file: its configuration.
        lines: the latest of what it printed and logged, also from before a restart.
    """

    def __init__(
        self,
        planned: PlannedNode,
        file: Path,
        scope: TaskScope,
        show: Show,
        *,
        verbose: bool,
    ) -> None:
        """Prepare.

        Args:
            planned: what to start.
            file: where its configuration is.
            scope: owns the task that reads its output.
            show: is given its name and each line that it logs.
            verbose: whether it logs the protocol too.
        """
        self.name = planned.name
        self.url = planned.url
        self.file = file
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._scope = scope
        self._show = show
        self._options = ("-v",) if verbose else ()
        self._process: asyncio.subprocess.Process | None = None
        self._listens = False
        self._settled = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def pid(self) -> int:
        """Of its latest process; 0 before there was one."""
        return self._process.pid if self._process else 0

    @property
    def status(self) -> int | None:
        """How its latest process ended: an exit status, minus a signal, None if it runs."""
        return self._process.returncode if self._process else None

    @property
    def is_running(self) -> bool:
        """Whether it has a process."""
        return self._process is not None and not self._ended.is_set()

    async def start(self) -> None:
        """Start it; returns when it listens.

        Raises:
            NodeFailed: it ended before that, or took too long.
        """
        self._listens = False
        self._settled, self._ended = asyncio.Event(), asyncio.Event()
        command = [sys.executable, "-m", "live777py", *self._options]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *leashed([*command, "-c", str(self.file)]),
                env=_environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # Ctrl-C on a terminal is for the fleet, which then stops its nodes.
                process_group=0,
            )
        except OSError as error:
            raise NodeFailed(f"{self.name} cannot be started: {error}") from error
        self._scope.spawn(self._watch, self._process, self._settled, self._ended)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._settled.wait()
        except TimeoutError:
            raise NodeFailed(
                f"{self.name} did not listen within {START_TIMEOUT:g} s{self._said()}"
            ) from None
        if not self._listens:
            raise NodeFailed(f"{self.name} {describe(self.status)}{self._said()}")

    async def ended(self) -> int:
        """Wait until its process has ended; returns its status, as `status` gives it."""
        ended, process = self._ended, self._process
        if process is None:
            return 0
        await ended.wait()
        return await process.wait()

    def signal(self, number: int) -> None:
        """Send it a signal, such as SIGSTOP; of no effect when it has ended."""
        # Whoever watches it may have been cancelled before, which is no end of the process.
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def kill(self) -> None:
        """End it by SIGKILL, as a crash does: it says no goodbye. Returns when it has ended."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def stop(self, grace: float | None = None) -> None:
        """End it by SIGTERM, or by SIGKILL if that takes too long; returns when it has ended.

        Args:
            grace: seconds that it has, `GRACE` by default.
        """
        grace = GRACE if grace is None else grace
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await self.ended()
        except TimeoutError:
            self._show(self.name, f"does not stop within {grace:g} s: it is killed")
            await self.kill()

    async def restart(self) -> None:
        """Start it again, with the same ports and configuration; if it runs, stop it before.

        Raises:
            NodeFailed: it ended before it listened, or took too long.
        """
        await self.stop()
        await self.start()

    async def _watch(
        self,
        process: asyncio.subprocess.Process,
        settled: asyncio.Event,
        ended: asyncio.Event,
    ) -> None:
        """Read what a process says until it has ended."""
        try:
            async with asyncio.TaskGroup() as readers:
                readers.create_task(self._read_announcement(process.stdout, settled))
                readers.create_task(self._read_log(process.stderr))
            await process.wait()
        finally:
            ended.set()
            settled.set()

    async def _read_announcement(
        self, stream: asyncio.StreamReader | None, settled: asyncio.Event
    ) -> None:
        async for line in _lines(stream):
            self.lines.append(line)
            if line.startswith("live777py ") and line.endswith(" is serving"):
                self._listens = True
                settled.set()

    async def _read_log(self, stream: asyncio.StreamReader | None) -> None:
        async for line in _lines(stream):
            self.lines.append(line)
            self._show(self.name, line)

    def _said(self) -> str:
        last = list(self.lines)[-SHOWN_LINES:]
        return "".join(f"\n  {line}" for line in last)


def parse(text: str, where: str = "fleet") -> Plan:
    """The plan for the text of a fleet's file, with ports that are free now.

    Raises:
        ConfigError: with one line for every fault.
    """
    return plans.make(text, where, ports.free())


@asynccontextmanager
async def running(
    plan: Plan, *, show: Show = lambda name, line: None, verbose: bool = False
) -> AsyncIterator[Mapping[str, Node]]:
    """A fleet for the time of a block; the nodes by name, each of which listens.

    Args:
        plan: of `parse`.
        show: is given a node's name and a line, for each line that a node logs.
        verbose: whether nodes log the protocol too.

    Raises:
        ConfigError: the configuration of a node is wrong; nothing was started.
        NodeFailed: a node did not start; the others have been stopped.
    """
    async with _folder() as folder:
        files = await asyncio.to_thread(_write, plan, folder)
        async with TaskScope() as scope:
            nodes = {
                planned.name: Node(planned, file, scope, show, verbose=verbose)
                for planned, file in zip(plan.nodes, files, strict=True)
            }
            try:
                await _start_all(nodes)
                yield nodes
            finally:
                await _stop_all(nodes)


def describe(status: int | None) -> str:
    """A status in words: "ended with status 2", "was ended by SIGKILL"."""
    if status is None or status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


@asynccontextmanager
async def _folder() -> AsyncIterator[Path]:
    """A folder that only this user can look into."""
    folder = await asyncio.to_thread(
        tempfile.TemporaryDirectory, prefix="live777py-fleet-"
    )
    try:
        yield Path(folder.name)
    finally:
        await finish(asyncio.to_thread, folder.cleanup)


def _write(plan: Plan, folder: Path) -> list[Path]:
    """Write the nodes' configurations, and see whether a server would take them."""
    files: list[Path] = []
    faults: list[str] = []
    for node in plan.nodes:
        file = folder / f"{node.name}.toml"
        # There may be tokens in it.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(node.text)
        files.append(file)
        try:
            config.load(file, {})
        except ConfigError as error:
            where = f"{plan.where}: node.{node.name}"
            faults += [fault.replace(str(file), where, 1) for fault in error.faults]
    if faults:
        raise ConfigError(*faults)
    return files


def _environment() -> dict[str, str]:
    """This process's, without the keys of a configuration: they would be for every node."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(config.ENVIRONMENT_PREFIX)
        or name in config.OTHER_VARIABLES
    }


async def _start_all(nodes: Mapping[str, Node]) -> None:
    """Start them, as many at once as there are CPUs: a start is mostly computing."""
    failures: list[NodeFailed] = []
    places = asyncio.Semaphore(_cpus())

    async def start(node: Node) -> None:
        async with places:
            if failures:
                return
            try:
                await node.start()
            except NodeFailed as failure:
                failures.append(failure)

    first, *others = nodes.values()
    # Alone: if the data plane has to be compiled, the others find that done.
    await start(first)
    async with asyncio.TaskGroup() as starts:
        for node in others:
            starts.create_task(start(node))
    if failures:
        raise NodeFailed("\n".join(map(str, failures)))


async def _stop_all(nodes: Mapping[str, Node]) -> None:
    """Stop them together; being cancelled meanwhile, kill what is left."""
    # The end of a process is some computing too, and all end at once.
    grace = GRACE + len(nodes) // _cpus()
    try:
        async with asyncio.TaskGroup() as stops:
            for node in nodes.values():
                stops.create_task(node.stop(grace))
    finally:
        for node in nodes.values():
            await finish(node.kill)


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[str]:
    """Lines of a pipe, whatever is in them."""
    if stream is None:
        return
    rest = b""
    while data := await stream.read(MAX_LINE):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace").rstrip("\r")
        if len(rest) >= MAX_LINE:
            yield rest.decode("utf-8", "replace")
            rest = b""
    if rest:
        yield rest.decode("utf-8", "replace")
