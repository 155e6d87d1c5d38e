"""What cascades cost: the delay that a hop adds, and the CPU of a node that pulls.

Every node is a process of its own. Streams come from this process, as for all measurements, so
that one clock tells when a packet was where.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import numpy as np

from bench.load import SETTLE, Load, Result
from bench.process import ServerProcess, choose_cores, pinned
from bench.receiver import Receiver
from bench.stream import RATE, Publisher
from bench.target import Endpoint, RunningOurs, Target
from bench.viewers import Viewer, connected, joined

#: Seconds of forwarding that the delays of one run are made of.
SECONDS = 8.0
#: Seconds that each of two nodes forwards in turn, and how often: what disturbs meets both.
TURN_SECONDS = 4.0
TURNS = 3
#: Seconds that a cascade may take.
PATIENCE = 10.0
#: Viewers who wait for a pull, one after the other.
WAITING = 10
#: Seconds in which an edge ends a pull that nobody watches.
FORGET = 0.5

_EDGE = """\

[edge]
origins = ["{url}"]
close_after = "100ms"
"""


class Node:
    """One node, and a client of its cascades."""

    def __init__(self, server: ServerProcess, http: aiohttp.ClientSession) -> None:
        self.server = server
        self._http = http

    def whip(self, stream: int = 0) -> str:
        """Where to publish a stream."""
        return f"{self.server.url}/whip/{stream}"

    def whep(self, stream: int = 0) -> str:
        """Where to play it."""
        return f"{self.server.url}/whep/{stream}"

    async def cascade(self, stream: int = 0, **urls: str) -> str:
        """Have a stream pulled or pushed; the cascade's URL.

        Raises:
            RuntimeError: it was refused.
        """
        url = f"{self.server.url}/api/cascade/{stream}"
        async with self._http.post(url, json=urls) as response:
            if response.status != 200:
                raise RuntimeError(f"{url}: {response.status} {await response.text()}")
            return self.server.url + response.headers["Location"]

    async def connected(self, cascade: str) -> None:
        """Wait until media flows.

        Raises:
            TimeoutError: it does not.
        """
        async with asyncio.timeout(PATIENCE):
            # A node tells nobody.
            while (await self._get(cascade))["state"] != "connected":  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def end(self, cascade: str) -> None:
        """Delete a cascade."""
        async with self._http.delete(cascade):
            pass

    async def _get(self, url: str) -> Any:
        async with self._http.get(url) as response:
            return await response.json()


@contextlib.asynccontextmanager
async def running(cores: Sequence[int | None]) -> AsyncIterator[list[Node]]:
    """Nodes on these cores."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield [
            Node(await stack.enter_async_context(ServerProcess(core)), http)
            for core in cores
        ]


@contextlib.asynccontextmanager
async def chained(direction: str) -> AsyncIterator[Load]:
    """A stream that goes through three nodes, with a viewer at each.

    Args:
        direction: "pull", where each node pulls from the one before, or "push".
    """
    core, load_core = choose_cores()
    async with contextlib.AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(running([core] * 3))
        stack.enter_context(pinned(load_core))
        receiver = await stack.enter_async_context(Receiver(traced=len(nodes)))
        first = nodes[0]
        publisher = await stack.enter_async_context(
            Publisher(Endpoint(first.whip()), sent_at=receiver.sent[0], reports=True)
        )
        await asyncio.sleep(SETTLE)
        for upstream, node in itertools.pairwise(nodes):
            if direction == "pull":
                await node.connected(await node.cascade(sourceUrl=upstream.whep()))
            else:
                cascade = await upstream.cascade(targetUrl=node.whip())
                await upstream.connected(cascade)
        viewers = await stack.enter_async_context(
            joined([Viewer(Endpoint(node.whep())) for node in nodes], receiver)
        )
        yield Load(RunningOurs(first.server), receiver, [publisher], viewers)


async def delay(_target: Target, direction: str) -> Result:
    """What one hop and two add to the time at which a viewer has each packet."""
    async with chained(direction) as load:
        await load.pause()
        load.receiver.begin()
        load.resume()
        await asyncio.sleep(SECONDS)
        await load.pause()
        rows = [viewer.row for viewer in load.viewers]
        arrivals = load.receiver.traces[rows]
        load.resume()
    everywhere = arrivals[:, (arrivals != 0).all(axis=0)]
    anywhere = np.count_nonzero((arrivals != 0).any(axis=0))
    one, two = (everywhere[1:] - everywhere[0]) / 1e6
    second = (everywhere[2] - everywhere[1]) / 1e6
    hops = np.concatenate([one, second])
    return {
        "hop_p50_ms": float(np.quantile(hops, 0.5)),
        "hop_p99_ms": float(np.quantile(hops, 0.99)),
        "two_p50_ms": float(np.quantile(two, 0.5)),
        "two_p99_ms": float(np.quantile(two, 0.99)),
        "compared": float(everywhere.shape[1] / max(anywhere, 1)),
    }


@dataclass(frozen=True)
class Side:
    """One of two nodes that are compared."""

    load: Load

    async def forward(self, seconds: float) -> Result:
        """Forward for so long, beginning and ending in silence."""
        load = self.load
        await load.pause()
        sent, got = load.sent, self._received
        cpu = load.server.cpu_seconds()
        load.receiver.begin()
        load.resume()
        await asyncio.sleep(seconds)
        await load.pause()
        forwarded = self._received - got
        return {
            "cpu_us": (load.server.cpu_seconds() - cpu) / max(forwarded, 1) * 1e6,
            "delivered": forwarded / max(load.sent - sent, 1),
            "p50_ms": load.receiver.latency(0.5) * 1e3,
        }

    @property
    def _received(self) -> int:
        rows = [viewer.row for viewer in self.load.viewers]
        return int(self.load.receiver.rows["packets"][rows].sum())


@contextlib.asynccontextmanager
async def sides(viewers: int, streams: int) -> AsyncIterator[list[Side]]:
    """A node with publishers, and one that pulls as many streams from a third; both silent.

    The third runs on the load's core, as does who publishes to the first.
    """
    core, load_core = choose_cores()
    async with contextlib.AsyncExitStack() as stack:
        own, edge, origin = await stack.enter_async_context(
            running([core, core, load_core])
        )
        stack.enter_context(pinned(load_core))
        receiver = await stack.enter_async_context(Receiver(2 * streams))
        found = []
        for first, (published, watched) in ((0, (own, own)), (streams, (origin, edge))):
            publishers = [
                await stack.enter_async_context(
                    Publisher(
                        Endpoint(published.whip(first + number)),
                        sent_at=receiver.sent[first + number],
                        phase=number / streams / RATE,
                        reports=True,
                    )
                )
                for number in range(streams)
            ]
            await asyncio.sleep(SETTLE)
            if watched is not published:
                for stream in range(first, first + streams):
                    source = published.whep(stream)
                    cascade = await watched.cascade(stream, sourceUrl=source)
                    await watched.connected(cascade)
            watching = [first + number % streams for number in range(viewers)]
            joining = [Viewer(Endpoint(watched.whep(n)), n) for n in watching]
            load = Load(
                RunningOurs(watched.server),
                receiver,
                publishers,
                await stack.enter_async_context(joined(joining, receiver)),
            )
            await load.pause()
            found.append(Side(load))
        yield found


async def edge(
    _target: Target,
    viewers: int,
    streams: int = 1,
    seconds: float = TURN_SECONDS,
) -> Result:
    """CPU per packet of a node that has the publishers, and of one that pulls, in turn."""
    async with sides(viewers, streams) as (own, pulling):
        turns = [
            (await own.forward(seconds), await pulling.forward(seconds))
            for _ in range(TURNS)
        ]

    def median(index: int, key: str) -> float:
        return statistics.median(turn[index][key] for turn in turns)

    return {
        "own_us": median(0, "cpu_us"),
        "edge_us": median(1, "cpu_us"),
        "ratio": statistics.median(b["cpu_us"] / a["cpu_us"] for a, b in turns),
        "own_delivered": median(0, "delivered"),
        "edge_delivered": median(1, "delivered"),
        "own_p50_ms": median(0, "p50_ms"),
        "edge_p50_ms": median(1, "p50_ms"),
    }


async def pulled(_target: Target) -> Result:
    """How long viewers wait for a stream that has to be pulled for them.

    Those who are there already when it is, and the first of an edge, beside those of the origin.
    """
    core, load_core = choose_cores()
    answers: list[float] = []
    packets: list[float] = []
    async with running([core, core]) as (origin, node):
        more = _EDGE.format(url=origin.server.url)
        async with ServerProcess(core, more=more) as edge:
            with pinned(load_core):
                async with Publisher(Endpoint(origin.whip())):
                    await asyncio.sleep(SETTLE)
                    for _ in range(WAITING):
                        answer, packet = await _wait_at(node, origin.whep())
                        answers.append(answer)
                        packets.append(packet)
                    first = [await _join(edge.url) for _ in range(WAITING)]
                    beside = [await _join(origin.server.url) for _ in range(WAITING)]
    return {
        "answer_ms": statistics.median(answers) * 1e3,
        "media_ms": statistics.median(packets) * 1e3,
        "media_worst_ms": max(packets) * 1e3,
        "edge_ms": statistics.median(first) * 1e3,
        "edge_worst_ms": max(first) * 1e3,
        "origin_ms": statistics.median(beside) * 1e3,
        "origin_worst_ms": max(beside) * 1e3,
    }


async def _wait_at(node: Node, source: str) -> tuple[float, float]:
    """Seconds from a pull's POST to its answer and to a viewer's first packet."""
    client = await connected(Endpoint(node.whep()))
    try:
        began = time.monotonic()
        cascade = await node.cascade(sourceUrl=source)
        answered = time.monotonic() - began
        await client.until(partial(bool, client.rtp))
        packet = time.monotonic() - began
        await node.end(cascade)
    finally:
        await client.aclose()
    return answered, packet


async def _join(url: str) -> float:
    """Seconds from a viewer's POST to its first packet; afterwards nobody watches."""
    began = time.monotonic()
    client = await connected(Endpoint(f"{url}/whep/0"))
    try:
        await client.until(partial(bool, client.rtp))
        return time.monotonic() - began
    finally:
        await client.aclose()
        await asyncio.sleep(FORGET)
