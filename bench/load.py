"""Publishers and viewers of one measurement, in this process, on a core of their own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bench.process import choose_cores, pinned
from bench.receiver import Receiver
from bench.stream import RATE, Publisher
from bench.target import Running, Target
from bench.viewers import Viewer, joined

#: Figures by name, in the units that their names end in.
Result = dict[str, float]

#: Seconds from the first packets of a stream until viewers are let in.
SETTLE = 1.0
#: Nothing is on its way any more when nothing has come for so many seconds.
DRAIN = 0.3
#: Such times that a server with a backlog gets.
DRAINS = 20


@dataclass
class Load:
    """What is measured with.

    Attributes:
        joining: seconds that the joins of all viewers took.
        joining_cpu: CPU seconds of the server in that time.
        memory: bytes by which the server grew for each viewer, its stream included.
    """

    server: Running
    receiver: Receiver
    publishers: list[Publisher]
    viewers: list[Viewer]
    joining: float = 0.0
    joining_cpu: float = 0.0
    memory: float = 0.0

    @property
    def sent(self) -> int:
        """Packets that all viewers together should have by now."""
        return sum(
            self.publishers[index % len(self.publishers)].sent
            for index in range(len(self.viewers))
        )

    @property
    def received(self) -> int:
        """Packets that they have."""
        return int(self.receiver.rows["packets"].sum())

    async def pause(self) -> None:
        """Stop publishing, wait until all has arrived, and align what has with it."""
        await asyncio.gather(*(publisher.pause() for publisher in self.publishers))
        for _ in range(DRAINS):
            before = self.received
            await asyncio.sleep(DRAIN)
            if self.received == before:
                break
        for index, viewer in enumerate(self.viewers):
            publisher = self.publishers[index % len(self.publishers)]
            self.receiver.align(viewer.row, publisher.sequence)

    def resume(self) -> None:
        """Go on publishing."""
        for publisher in self.publishers:
            publisher.resume()

    async def measure(self, seconds: float) -> Result:
        """Forward for so long, and say what it cost."""
        await self.pause()
        sent, got = self.sent, self.received
        server_cpu, load_cpu = self.server.cpu_seconds(), time.process_time()
        self.receiver.begin()
        for publisher in self.publishers:
            publisher.gap = 0.0
        began = time.monotonic()
        self.resume()
        await asyncio.sleep(seconds)
        elapsed = time.monotonic() - began
        # Read while packets come: the end of publishing is no gap.
        gap = float(self.receiver.rows["gap"].max()) / 1e6
        await self.pause()
        cpu = self.server.cpu_seconds() - server_cpu
        forwarded = self.received - got
        result = {
            "cpu_us": cpu / max(forwarded, 1) * 1e6,
            "delivered": forwarded / max(self.sent - sent, 1),
            "p50_ms": self.receiver.latency(0.5) * 1e3,
            "p99_ms": self.receiver.latency(0.99) * 1e3,
            "rate": forwarded / elapsed,
            "server_share": cpu / elapsed,
            "load_share": (time.process_time() - load_cpu) / elapsed,
            "gap_ms": gap,
            "publisher_gap_ms": max(p.gap for p in self.publishers) * 1e3,
        }
        self.resume()
        return result


@contextlib.asynccontextmanager
async def loaded(
    target: Target, viewers: int, *, streams: int = 1
) -> AsyncIterator[Load]:
    """Streams that are published, and viewers who have joined, shared out over them.

    Args:
        target: the server.
        viewers: how many in all.
        streams: how many publishers.
    """
    _, load_core = choose_cores()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(target.running())
        stack.enter_context(pinned(load_core))
        receiver = await stack.enter_async_context(Receiver(streams))
        publishers = [
            await stack.enter_async_context(
                Publisher(
                    server.whip(number),
                    sent_at=receiver.sent[number],
                    phase=number / streams / RATE,
                )
            )
            for number in range(streams)
        ]
        await asyncio.sleep(SETTLE)
        load = Load(server, receiver, publishers, [])
        cpu = server.cpu_seconds()
        began = time.monotonic()
        load.viewers = await stack.enter_async_context(
            joined(
                [
                    Viewer(server.whep(number % streams), number % streams)
                    for number in range(viewers)
                ],
                receiver,
            )
        )
        load.joining = time.monotonic() - began
        load.joining_cpu = server.cpu_seconds() - cpu
        load.memory = server.grown() / viewers
        yield load
