"""The measurements: each takes a target and returns figures by name."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import statistics
import time

from bench import baseline, lanes
from bench.load import Result, loaded
from bench.process import choose_cores, pinned
from bench.stream import KEY_SECONDS, Publisher
from bench.target import Ours, Running, Target
from bench.viewers import Viewer, connected, join_all
from tests.support.media import h264_access_units
from tests.support.rtp_client import RtpClient

#: Seconds of forwarding that a figure is made of.
SECONDS = 5.0
#: Seconds before our server may ask for a key frame again.
THROTTLE = 0.5
#: Single joins, at random phases of the key frame interval, for the times of a join.
PROBES = 10
#: Viewers when the event loop is blocked, and seconds of it.
FEW = 20
BLOCKED_SECONDS = 4.0
WATCHERS = 100
JOINERS = 200

IDR = 5


async def fan_out(target: Target, viewers: int) -> Result:
    """One stream, many viewers."""
    async with loaded(target, viewers) as load:
        result = await load.measure(SECONDS)
        return result | {"memory_kb": load.memory / 1e3}


async def many_streams(target: Target, streams: int) -> Result:
    """Many streams with one viewer each."""
    if not target.has_many_streams:
        return {}
    async with loaded(target, streams, streams=streams) as load:
        return await load.measure(SECONDS)


async def blocked(target: Target) -> Result:
    """The largest gap at a viewer with and without an event loop that is blocked.

    Only our server can be blocked from here; a peer has no such loop.
    """
    if not isinstance(target, Ours):
        return {}
    async with loaded(target, FEW) as load:
        without = await load.measure(BLOCKED_SECONDS)
    stalling = Ours(arguments=("-m", "bench.stalling"))
    async with loaded(stalling, FEW) as load:
        stalled = await load.measure(BLOCKED_SECONDS)
    return {
        "gap_free_ms": without["gap_ms"],
        "gap_blocked_ms": stalled["gap_ms"],
        "gap_publisher_ms": stalled["publisher_gap_ms"],
        # What the publisher itself paused longer is not the server's.
        "gap_growth_ms": (stalled["gap_ms"] - stalled["publisher_gap_ms"])
        - (without["gap_ms"] - without["publisher_gap_ms"]),
        "p99_blocked_ms": stalled["p99_ms"],
    }


async def joins(target: Target) -> Result:
    """Many joins as fast as possible, while others watch and should notice nothing."""
    async with loaded(target, WATCHERS) as load:
        await load.pause()
        sent, got = load.sent, load.received
        load.receiver.begin()
        rows = slice(0, WATCHERS)
        cpu, load_cpu = load.server.cpu_seconds(), time.process_time()
        joining = [Viewer(load.server.whep(0)) for _ in range(JOINERS)]
        load.resume()
        began = time.monotonic()
        try:
            await join_all(joining, load.receiver)
            elapsed = time.monotonic() - began
            cpu = load.server.cpu_seconds() - cpu
            load_cpu = time.process_time() - load_cpu
            gap = float(load.receiver.rows["gap"][rows].max()) / 1e6
            p99 = load.receiver.latency(0.99) * 1e3
            await load.pause()
            received = int(load.receiver.rows["packets"][rows].sum())
        finally:
            await _leave(joining)
        return {
            "joins_per_s": JOINERS / elapsed,
            "join_load_share": load_cpu / elapsed,
            "join_server_share": cpu / elapsed,
            "watchers_lost": float(load.sent - sent - (received - got)),
            "watchers_gap_ms": gap,
            "watchers_p99_ms": p99,
        }


async def deaf(target: Target) -> Result:
    """Single joins to a publisher that sends a key frame each two seconds and no others."""
    _, load_core = choose_cores()
    noise = random.Random(PROBES)
    packets: list[float] = []
    frames: list[float] = []
    async with target.running() as server:
        with pinned(load_core):
            async with Publisher(server.whip(0), is_deaf=True):
                await asyncio.sleep(KEY_SECONDS + THROTTLE)
                for _ in range(PROBES):
                    await asyncio.sleep(noise.random() * KEY_SECONDS / 2)
                    packet, frame = await _probe(server)
                    packets.append(packet)
                    frames.append(frame)
    return {
        "first_packet_ms": statistics.median(packets) * 1e3,
        "first_frame_ms": statistics.median(frames) * 1e3,
        "first_frame_worst_ms": max(frames) * 1e3,
    }


async def bare(viewers: int) -> Result:
    """A loop of `sendmmsg` with such packets, encrypted before, to as many sockets."""
    return await baseline.measure(viewers)


async def threads(viewers: int) -> Result:
    """What one and two threads send at most, packets being injected."""
    return await asyncio.to_thread(lanes.measure, viewers, (1, 2), 1)


async def _leave(viewers: list[Viewer]) -> None:
    async with asyncio.TaskGroup() as group:
        for viewer in viewers:
            group.create_task(viewer.leave())


async def _probe(server: Running) -> tuple[float, float]:
    """Seconds from the POST to the first packet and to the first whole key frame."""
    began = time.monotonic()
    client = await connected(server.whep(0))
    try:
        await client.until(lambda: client.rtp)
        packet = time.monotonic() - began
        await client.until(lambda: has_key_frame(client))
        return packet, time.monotonic() - began
    finally:
        with contextlib.suppress(OSError, TimeoutError):
            await client.aclose()


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
