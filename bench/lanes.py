"""What a second thread brings: `python -m bench.lanes [--viewers 200] [--threads 1 2]`.

One stream whose packets are injected as fast as they are taken, viewers whose sockets nobody
reads (what overflows them is dropped by the kernel): so that nothing but the plane's threads
uses the cores. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import struct
import time
from collections.abc import Sequence

from bench.plane import PAYLOAD, keys, udp
from live777py.protocol.codecs import Format
from live777py.relay.plane import Plane
from live777py.relay.seam import Path
from live777py.relay.settings import PlaneSettings

#: Seconds before the measurement, and of it.
WARM_UP = 0.3
SECONDS = 2.0
#: Packets that are injected at once.
CHUNK = 64


def saturated(viewers: int, threads: int) -> tuple[float, float]:
    """Packets sent a second by so many threads, and the share that a lane had no time for."""
    server = udp()
    sockets = [udp() for _ in range(viewers)]
    settings = PlaneSettings(threads=threads, max_tracks=8, max_viewers=viewers)
    plane = Plane(server, settings)
    try:
        track = plane.add_track()
        source = plane.open_source(track, format=Format.OPAQUE, clock_rate=90_000)
        for number, sock in enumerate(sockets):
            peer = plane.add_peer()
            path = Path("127.0.0.1", sock.getsockname()[1], "127.0.0.1")
            plane.select_path(peer, path)
            plane.set_keys(peer, keys())
            plane.add_viewer(
                peer,
                track,
                payload_type=100,
                ssrc=number + 1,
                first_sequence=1,
                timestamp_offset=0,
                extensions={},
            )
        plane.start()
        sequence = 0
        began = 0.0
        before: dict[str, int] = {}
        start = time.monotonic()
        while not began or time.monotonic() < began + SECONDS:
            if not began and time.monotonic() > start + WARM_UP:
                began, before = time.monotonic(), plane.counters()
            packets = [
                struct.pack("!BBHII", 128, 96, (sequence + n) & 65535, 0, 42) + PAYLOAD
                for n in range(CHUNK)
            ]
            sequence += plane.inject(source, packets)
            # For less than the ring lasts.
            time.sleep(0.002)
        after, elapsed = plane.counters(), time.monotonic() - began
    finally:
        plane.stop()
        for sock in (server, *sockets):
            sock.close()
    counted = {name: after[name] - before[name] for name in after}
    missed = counted["lane_dropped"] * viewers / threads + counted["lane_overtaken"]
    sent = counted["packets_out"]
    return sent / elapsed, missed / (sent + missed)


def measure(viewers: int, threads: Sequence[int], runs: int) -> dict[str, float]:
    """Medians, the numbers of threads in turn, so that all meet the noise."""
    rates: dict[int, list[float]] = {count: [] for count in threads}
    missed: dict[int, list[float]] = {count: [] for count in threads}
    for _ in range(runs):
        for count in threads:
            rate, share = saturated(viewers, count)
            rates[count].append(rate)
            missed[count].append(share)
    result: dict[str, float] = {}
    for count in threads:
        result[f"rate_{count}"] = statistics.median(rates[count])
        result[f"missed_{count}"] = statistics.median(missed[count])
    first = result[f"rate_{threads[0]}"]
    result["gain"] = result[f"rate_{threads[-1]}"] / first
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    print(json.dumps(measure(options.viewers, options.threads, options.runs)))


if __name__ == "__main__":
    main()
