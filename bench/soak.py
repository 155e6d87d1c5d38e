"""Churn against a server for a long time: does it give everything back?

`python -m bench.soak --minutes 30`. Viewers come and go, five of each a second: some say
goodbye, some vanish, some never connect, some ask for a stream that nobody publishes. The
publisher restarts each minute under another SSRC and with the other codec. One viewer stays
and must lose nothing. Each minute a line tells how the server is; at the end, when everybody
has left, its tasks, descriptors and tables must be what they were at the beginning, what it has
in use of its memory nearly so, and the memory that it takes must not have grown steadily.

The server runs in a process of its own (`--serve`), so that its figures are its alone, and
answers each line on its standard input with one of JSON about its insides.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import itertools
import json
import os
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from live777py.config import Config
from live777py.protocol.codecs import Format
from live777py.protocol.rtcp import ReceiverReport
from live777py.server import Server
from tests.support.media import RtpStream
from tests.support.offers import VP8, OfferedMedia, audio, h264, video
from tests.support.rtp_client import RtpClient
from tests.support.signalling import Refused

ROOT = Path(__file__).parents[1]

STREAM = "cam"
JOINS_PER_SECOND = 5.0

#: Packets a second of the publisher; a track's history is full after ten seconds.
PACKETS_PER_SECOND = 100.0

#: Seconds after which the server gives a silent or unconnected peer up.
PATIENCE = 6.0

#: Megabytes a minute that resident memory may grow by. 300 sessions a minute that each left
#: 2 KB behind would exceed it; what fragmentation costs stays below within minutes.
MAX_SLOPE = 0.6

#: Below so many minutes the allocator is not warm yet (21, 4, 2, 0.6 and 0.6 MB in the first
#: five): then only the growth since the first look is judged, in megabytes.
SLOPE_MINUTES = 15.0
MAX_GROWTH = 25.0

#: What is in use when all have left may exceed what was before they came by so much: megabytes
#: of the C library's heap, and thousands of Python's blocks. Neither has holes, so that minutes
#: are enough: 0.1 MB and 1,300 blocks after 831 sessions, 0.1 MB and 1,400 after 8,532. One
#: object with a dictionary that each of 800 sessions left behind would exceed the second.
MAX_HEAP = 1.5
MAX_BLOCKS = 3.0

#: Seconds for the start: where nothing is compiled yet, on a busy machine.
START_TIMEOUT = 300.0

#: Seconds in which everything has to be back at its base.
SETTLE = 40.0

CODECS = (VP8, h264())

#: The members of `struct mallinfo2`.
MALLINFO = (
    "arena",
    "ordblks",
    "smblks",
    "hblks",
    "hblkhd",
    "usmblks",
    "fsmblks",
    "uordblks",
    "fordblks",
    "keepcost",
)


@dataclass(frozen=True, slots=True)
class Look:
    """The server at one moment.

    Attributes:
        minutes: since the beginning.
        memory: resident megabytes.
        heap: megabytes that the C library has given out and not been given back.
        blocks: thousands of Python's small blocks of memory that are in use.
        held: what has to come back: tasks, descriptors, threads, rows of tables.
    """

    minutes: float
    memory: float
    heap: float
    blocks: float
    held: dict[str, int]


# The server's side.


async def serve(origin: str = "") -> None:
    """Be the server: answer every line with a look at our own insides.

    Args:
        origin: of which it is an edge, if it is one.
    """
    config = Config.model_validate(
        {
            "http": {"listen": "127.0.0.1:0", "rate_limit": 0},
            "webrtc": {
                "listen": "127.0.0.1:0",
                "addresses": ["127.0.0.1"],
                "idle_timeout": PATIENCE,
                "connect_timeout": PATIENCE,
                # Rows are taken in turn, and a row costs memory when it is first used: with
                # small tables all have been used after a minute.
                "max_sessions": 256,
            },
            "edge": {"origins": [origin] if origin else [], "close_after": "200ms"},
        }
    )
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with Server(config) as server:
        print(server.http_urls[0], flush=True)
        while await lines.readline():
            print(json.dumps(insides(server)), flush=True)


def insides(server: Server) -> dict[str, int]:
    """Everything of a server that sessions take and must give back."""
    engine = server._engine
    resources = engine._resources
    plane, transport = resources.plane, resources.transport
    counters = plane.counters()
    lanes = plane._memory.lanes
    gc.collect()
    found = {
        "memory": _resident(),
        "heap": _given_out(),
        "blocks": sys.getallocatedblocks(),
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "addresses": int((plane._state.addresses["peer_plus_one"] != 0).sum()),
        "bindings": int((plane._state.bindings["track_plus_one"] != 0).sum()),
        "rows": sum(
            int((table[name] != 0).sum())
            for table, name in (
                (plane._state.peers, "receive_session"),
                (plane._state.viewers, "track_plus_one"),
                (plane._state.parking.rows, "peer_plus_one"),
                *((lane.destinations, "send_session") for lane in lanes),
                *((lane.audiences, "viewers") for lane in lanes),
            )
        ),
        "registered": len(transport._peers),
        "fragments": len(transport._ufrags),
        "key_frames": len(transport._key_frames),
        "receiver_errors": transport.counters()["control_receiver_errors"],
    }
    for name in (
        "peers",
        "tracks",
        "viewers",
        "graves",
        "commands_waiting",
        "adopted",
    ):
        found[name] = counters[name]
    return found


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO)


def _given_out() -> int:
    """Bytes that C code holds of the heap, 0 where the C library does not say.

    Unlike resident memory it does not grow by holes between what is in use.
    """
    function = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if function is None:
        return 0
    function.restype = _MallInfo
    info = function()
    return int(info.uordblks + info.hblkhd)


# The side of the clients.


class Subject:
    """The server under test, in a process of its own; made by `subject()`."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.url = url
        self._process = process
        self._began = time.monotonic()

    async def look(self) -> Look:
        """Ask the server how it is.

        Raises:
            RuntimeError: it has ended.
        """
        assert self._process.stdin is not None  # noqa: S101 - asked for in subject()
        self._process.stdin.write(b"\n")
        found = json.loads(await _line(self._process))
        return Look(
            (time.monotonic() - self._began) / 60,
            found.pop("memory") / 1e6,
            found.pop("heap") / 1e6,
            found.pop("blocks") / 1e3,
            found,
        )


@contextlib.asynccontextmanager
async def subject(origin: str = "") -> AsyncIterator[Subject]:
    """A server in a process of its own, an edge of `origin` if there is one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.soak",
        "--serve",
        f"--origin={origin}",
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(START_TIMEOUT):
            url = await _line(process)
        yield Subject(process, url.decode().strip())
    finally:
        assert process.stdin is not None  # noqa: S101 - asked for above
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None  # noqa: S101 - asked for by the caller
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("the server has ended")
    return line


class Churn:
    """Everybody who comes and goes.

    Attributes:
        joined, refused, restarts: how often so far.
    """

    def __init__(self, url: str, seed: int) -> None:
        self.joined = 0
        self.refused = 0
        self.restarts = 0
        self._url = url
        self._random = random.Random(seed)
        self._connected = asyncio.Event()

    async def run(self, seconds: float, restart: float) -> None:
        """Let viewers come and go, and the publisher restart, for so long."""
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as everybody:
            publishing = everybody.create_task(self._publish(restart))
            await self._connected.wait()
            while time.monotonic() < end:
                everybody.create_task(self._visit())
                await asyncio.sleep(self._random.expovariate(JOINS_PER_SECOND))
            publishing.cancel()

    async def _visit(self) -> None:
        r = self._random
        kind, stay = r.random(), r.uniform(0.2, 4)
        stream = STREAM if r.random() < 0.8 else f"empty-{r.randrange(10)}"
        viewer = RtpClient.viewer(
            f"{self._url}/whep/{stream}",
            video(*CODECS),
            audio(),
            setup=r.choice(("actpass", "passive")),
        )
        self.joined += 1
        try:
            await viewer.post()
            if kind < 0.1:
                # Never heard of again.
                await viewer.vanish()
                return
            await viewer.connect(10)
            await asyncio.sleep(stay)
        except (ConnectionError, TimeoutError, Refused):
            self.refused += 1
        finally:
            await (viewer.vanish() if kind < 0.3 else viewer.aclose())

    async def _publish(self, restart: float) -> None:
        while True:
            codec = CODECS[self.restarts % len(CODECS)]
            ssrc = self._random.getrandbits(32)
            client = RtpClient.publisher(
                f"{self._url}/whip/{STREAM}", video(codec, ssrc=ssrc)
            )
            async with client:
                self._connected.set()
                await send(client, codec.format, ssrc, restart)
            self.restarts += 1


async def send(client: RtpClient, form: Format, ssrc: int, seconds: float) -> None:
    """Publish key frames of one packet each for so long."""
    stream = RtpStream(96, ssrc)
    begin = b"\x10\x00" if form is Format.VP8 else b"\x65"
    end = time.monotonic() + seconds
    # By the clock: on a busy machine a packet takes longer.
    for tick in itertools.count():
        if time.monotonic() > end:
            return
        sample = begin + bytes(500)
        await client.send_rtp(*stream.packets(sample, tick * 900))
        await asyncio.sleep(1 / PACKETS_PER_SECOND)


class Resident:
    """The viewer who stays, and counts what it misses."""

    def __init__(self, url: str) -> None:
        offered: OfferedMedia = video(*CODECS)
        self.client = RtpClient.viewer(f"{url}/whep/{STREAM}", offered)
        self.packets = 0
        self.missing = 0
        self._next: int | None = None

    def count(self) -> None:
        """Look at what came since the last time, and forget it."""
        for packet in self.client.rtp_of("video"):
            if self._next is not None:
                self.missing += (packet.sequence - self._next) & 0xFFFF
            self._next = (packet.sequence + 1) & 0xFFFF
            self.packets += 1
        self.client.rtp.clear()
        self.client.rtcp.clear()

    async def run(self) -> None:
        """Count, and be heard of, until cancelled."""
        while True:
            await asyncio.sleep(1)
            self.count()
            await self.client.send_rtcp(ReceiverReport(7))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run.

    Attributes:
        base, end: the server when idle, before and after.
        looks: the server under churn.
    """

    base: Look
    end: Look
    looks: Sequence[Look]
    joined: int
    refused: int
    restarts: int
    packets: int
    missing: int

    @property
    def slope(self) -> float:
        """Megabytes a minute, over the second two thirds of the run."""
        late = self.looks[len(self.looks) // 3 :]
        if len(late) < 2:
            return 0.0
        times = [look.minutes for look in late]
        return statistics.linear_regression(times, [look.memory for look in late]).slope

    def faults(self) -> list[str]:
        """What is not as it has to be."""
        found = risen(self.base, self.end)
        if self.packets == 0 or self.missing:
            found.append(
                f"the viewer who stayed got {self.packets} packets and missed {self.missing}"
            )
        if self.refused:
            found.append(f"{self.refused} of {self.joined} viewers could not connect")
        heap, blocks = (
            self.end.heap - self.base.heap,
            self.end.blocks - self.base.blocks,
        )
        if heap > MAX_HEAP or blocks > MAX_BLOCKS:
            found.append(
                f"{heap:.1f} MB of the heap and {1000 * blocks:.0f} blocks have not come back"
            )
        growth = self.end.memory - self.looks[0].memory
        if self.looks[-1].minutes >= SLOPE_MINUTES:
            if self.slope > MAX_SLOPE:
                found.append(f"memory grows by {self.slope:.2f} MB a minute")
        elif growth > MAX_GROWTH:
            found.append(f"memory has grown by {growth:.1f} MB")
        return found


async def soak(
    *,
    seconds: float,
    interval: float = 60.0,
    restart: float = 60.0,
    seed: int = 1,
    told: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Run the churn against a server of its own.

    Args:
        seconds: how long.
        interval: between two looks.
        restart: seconds of each publisher; there are at least four.
        seed: of what the clients do.
        told: is given a line for each look.
    """
    restart = min(restart, seconds / 4)
    async with subject() as server:
        # Once through everything: what is made at first use belongs to the base.
        await Churn(server.url, seed).run(2, 1)
        base = await settled(server, None)
        told(shown("base", base))
        looks: list[Look] = []
        churn, resident = Churn(server.url, seed + 1), Resident(server.url)
        async with resident.client, asyncio.TaskGroup() as tasks:
            staying = tasks.create_task(resident.run())
            running = tasks.create_task(churn.run(seconds, restart))
            while not running.done():
                await asyncio.wait({running}, timeout=interval)
                looks.append(await server.look())
                told(shown(f"{churn.joined} joins", looks[-1]))
            staying.cancel()
            resident.count()
        end = await settled(server, base)
        told(shown("end", end))
    return Outcome(
        base,
        end,
        looks,
        churn.joined,
        churn.refused,
        churn.restarts,
        resident.packets,
        resident.missing,
    )


async def cycles(count: int, told: Callable[[str], None]) -> Outcome:
    """Join and leave one after the other, so many times."""
    looks: list[Look] = []
    async with subject() as server:
        await _join(server, 50)
        base = await settled(server, None)
        told(shown("base", base))
        for number in range(1, 11):
            await _join(server, count // 10)
            looks.append(await server.look())
            told(shown(f"{number * (count // 10)} joins", looks[-1]))
        end = await settled(server, base)
        told(shown("end", end))
    return Outcome(base, end, looks, count, 0, 0, 1, 0)


async def _join(server: Subject, count: int) -> None:
    for _ in range(count):
        async with RtpClient.viewer(f"{server.url}/whep/{STREAM}", video(*CODECS)):
            pass


async def settled(server: Subject, base: Look | None, peers: int = 0) -> Look:
    """The server when all who vanished have been given up, or as it is after `SETTLE`.

    Args:
        server: to look at.
        base: how it has to be; None for with nobody but `peers`.
        peers: who stay.
    """
    deadline = time.monotonic() + SETTLE
    before: Look | None = None
    while True:
        look = await server.look()
        is_idle = look.held["peers"] == peers and look.held["graves"] == 0
        if base is None:
            # A client on its way out may still hold a connection, and a task with it.
            is_settled = is_idle and before is not None and look.held == before.held
        else:
            is_settled = not risen(base, look)
        if is_settled or time.monotonic() > deadline:
            return look
        before = look
        await asyncio.sleep(1)


def risen(base: Look, end: Look) -> list[str]:
    """Of what there is more at the end."""
    return [
        f"{name}: {count} at the end, {base.held[name]} at the beginning"
        for name, count in end.held.items()
        if count > base.held[name]
    ]


def shown(title: str, look: Look) -> str:
    """A line about a look."""
    held = " ".join(f"{name} {count}" for name, count in look.held.items() if count)
    return (
        f"{look.minutes:6.1f} min  {title:<12} {look.memory:6.1f} MB, heap "
        f"{look.heap:5.1f} MB, {look.blocks:6.1f}k blocks  {held}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="make soak ARGS=…", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--cycles", type=int, default=0, help="join and leave so often instead"
    )
    parser.add_argument(
        "--cascades", type=int, default=0, help="begin and end so many cascades instead"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--origin", default="", help=argparse.SUPPRESS)
    options: Any = parser.parse_args(arguments)
    if options.serve:
        asyncio.run(serve(options.origin))
        return 0

    def told(line: str) -> None:
        print(line, flush=True)

    if options.cascades:
        from bench import cascades

        return cascades.run(options.cascades, options.seed, told)
    if options.cycles:
        outcome = asyncio.run(cycles(options.cycles, told))
    else:
        outcome = asyncio.run(
            soak(seconds=60 * options.minutes, seed=options.seed, told=told)
        )
    print(
        f"{outcome.joined} joins, {outcome.restarts} restarts, slope "
        f"{outcome.slope:+.2f} MB a minute; the viewer who stayed got "
        f"{outcome.packets} packets and missed {outcome.missing}"
    )
    for fault in outcome.faults():
        print(f"FAULT {fault}")
    return 1 if outcome.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
