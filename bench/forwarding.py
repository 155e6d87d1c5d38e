"""One stream, many viewers: what forwarding costs, and how fast viewers join."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bench.process import ServerProcess, choose_cores, pinned
from bench.stream import KEY_SECONDS, OFFERED, Publisher
from tests.support.counting_viewer import CountingViewer, ViewerLoop
from tests.support.media import h264_access_units
from tests.support.rtp_client import RtpClient

#: Seconds before the server may ask for a key frame again.
THROTTLE = 0.5
#: Viewers that join at the same time.
CONCURRENT_JOINS = 8
#: Single joins, at random phases of the key frame interval, for the times of a join.
PROBES = 20
#: Seconds that packets on their way get before and after the measurement.
DRAIN = 0.3

IDR = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured; times in seconds.

    Attributes:
        published: packets that the publisher sent in the measured time.
        forwarded: packets that viewers received of those.
        seconds: the measured time.
        server_cpu: CPU seconds of the server in that time, None if unknown.
        load_cpu: CPU seconds of this process; near `seconds` it was the bottleneck.
        joins_per_second: of viewers that join together.
        first_packet: of single joins, POST to the first RTP packet.
        first_frame: of single joins, POST to the last packet of a whole key frame.
        memory_per_viewer: resident bytes, None if unknown.
    """

    viewers: int
    published: int
    forwarded: int
    seconds: float
    server_cpu: float | None
    load_cpu: float
    joins_per_second: float
    first_packet: tuple[float, ...]
    first_frame: tuple[float, ...]
    memory_per_viewer: float | None

    @property
    def delivered(self) -> float:
        """The share of what should have been forwarded that arrived."""
        expected = self.published * self.viewers
        return self.forwarded / expected if expected else 0.0

    @property
    def packets_per_second(self) -> float:
        """Forwarded packets."""
        return self.forwarded / self.seconds

    @property
    def microseconds_per_packet(self) -> float | None:
        """CPU time of the server for each packet that it forwarded."""
        if self.server_cpu is None or not self.forwarded:
            return None
        return self.server_cpu / self.forwarded * 1e6


async def measure(
    viewers: int, seconds: float, *, is_deaf: bool = False, probes: int = PROBES
) -> Result:
    """Measure a fresh server, with clients in this process.

    Args:
        viewers: how many watch.
        seconds: how long forwarding is measured.
        is_deaf: the publisher ignores requests for key frames.
        probes: how many single joins are timed.
    """
    server_core, load_core = choose_cores()
    sessions = viewers + probes + 16
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            ServerProcess(server_core, max_sessions=max(4096, sessions))
        )
        stack.enter_context(pinned(load_core))
        publisher = await stack.enter_async_context(
            Publisher(f"{server.url}/whip/bench", is_deaf=is_deaf)
        )
        loop = await stack.enter_async_context(ViewerLoop())
        # Until a key frame has passed and all that the server does once has been done.
        await asyncio.sleep(KEY_SECONDS + THROTTLE)
        first_packet, first_frame = await _probe(server.url, probes)
        memory_before = server.memory()
        began = time.monotonic()
        joined = await stack.enter_async_context(_joined(server.url, viewers, loop))
        joining = time.monotonic() - began
        await publisher.pause()
        await asyncio.sleep(DRAIN)
        memory_after = server.memory()
        sent, got = publisher.sent, sum(viewer.packets for viewer in joined)
        server_cpu, load_cpu = server.cpu_seconds(), time.process_time()
        began = time.monotonic()
        publisher.resume()
        await asyncio.sleep(seconds)
        await publisher.pause()
        elapsed = time.monotonic() - began
        await asyncio.sleep(DRAIN)
        server_cpu_after = server.cpu_seconds()
        load_cpu = time.process_time() - load_cpu
        return Result(
            viewers=viewers,
            published=publisher.sent - sent,
            forwarded=sum(viewer.packets for viewer in joined) - got,
            seconds=elapsed,
            server_cpu=(
                server_cpu_after - server_cpu
                if server_cpu is not None and server_cpu_after is not None
                else None
            ),
            load_cpu=load_cpu,
            joins_per_second=viewers / joining,
            first_packet=tuple(first_packet),
            first_frame=tuple(first_frame),
            memory_per_viewer=(
                (memory_after - memory_before) / viewers
                if memory_before is not None and memory_after is not None
                else None
            ),
        )


@contextlib.asynccontextmanager
async def _joined(
    url: str, count: int, loop: ViewerLoop
) -> AsyncIterator[list[CountingViewer]]:
    """`count` viewers; they leave in the end."""
    viewers = [CountingViewer(f"{url}/whep/bench", OFFERED) for _ in range(count)]
    waiting = iter(viewers)
    joined: list[CountingViewer] = []

    async def join() -> None:
        for viewer in waiting:
            await viewer.join(loop)
            joined.append(viewer)

    async def leave() -> None:
        while joined:
            await joined.pop().leave(loop)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENT_JOINS):
                group.create_task(join())
        yield viewers
    finally:
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENT_JOINS):
                group.create_task(leave())


async def _probe(url: str, count: int) -> tuple[list[float], list[float]]:
    """Times of single joins, to the first packet and to the first whole key frame."""
    noise = random.Random(count)
    packets, frames = [], []
    for _ in range(count):
        # At any phase of the interval, and not within the throttle of the one before.
        await asyncio.sleep(THROTTLE + noise.random() * KEY_SECONDS / 2)
        client = RtpClient.viewer(f"{url}/whep/bench", OFFERED)
        began = time.monotonic()
        async with client:
            await client.until(lambda c=client: c.rtp)  # type: ignore[misc]
            packets.append(time.monotonic() - began)
            await client.until(lambda c=client: has_key_frame(c))  # type: ignore[misc]
            frames.append(time.monotonic() - began)
    return packets, frames


def has_key_frame(client: RtpClient) -> bool:
    """Whether a key frame has come as a whole, from its parameter sets to its marker."""
    ends = [index for index, packet in enumerate(client.rtp) if packet.marker]
    for end in ends:
        timestamp = client.rtp[end].timestamp
        picture = [p for p in client.rtp[: end + 1] if p.timestamp == timestamp]
        gaps = {
            (later.sequence - earlier.sequence) & 0xFFFF
            for earlier, later in itertools.pairwise(picture)
        }
        if gaps - {1}:
            continue
        # A fragment without its beginning cannot be put together.
        if picture[0].payload[0] & 0x1F == 28 and not picture[0].payload[1] & 0x80:
            continue
        (units,) = h264_access_units(picture)
        if any(unit[0] & 0x1F == IDR for unit in units):
            return True
    return False


def quantile(values: tuple[float, ...], share: float) -> float:
    """The value below which a share of the others lies."""
    if not values:
        return 0.0
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[
        min(98, round(share * 100) - 1)
    ]
