"""What one forwarded packet costs: `python -m bench.plane [--viewers 200] [--rounds 400]`.

One publisher in this process, viewers whose sockets nobody reads (what overflows them is
dropped by the kernel), the plane stepped by hand. CPU of this thread during the plane's turns
alone, with the kernel's part and without the publisher's. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import struct
import time
from typing import Any

from pylibsrtp import Policy, Session

from live777py.protocol.codecs import Format
from live777py.relay.cfuncs import COMPILED
from live777py.relay.plane import Plane
from live777py.relay.seam import Path, SrtpKeys
from live777py.relay.settings import PlaneSettings

PAYLOAD = bytes(1100)


def udp() -> socket.socket:
    """A socket that nobody reads."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


def keys() -> SrtpKeys:
    """Keys of a peer."""
    return SrtpKeys(
        Policy.SRTP_PROFILE_AEAD_AES_128_GCM, os.urandom(28), os.urandom(28)
    )


class Bench:
    """One stream and its viewers."""

    def __init__(self, viewers: int, *, gso: bool) -> None:
        self.server = udp()
        settings = PlaneSettings(threads=0, gso=gso, max_tracks=8, max_viewers=viewers)
        self.plane = Plane(self.server, settings)
        self.sockets = [udp() for _ in range(viewers + 1)]
        given = keys()
        self.protect = Session(
            Policy(
                key=given.receive,
                ssrc_type=Policy.SSRC_ANY_OUTBOUND,
                srtp_profile=given.profile,
            )
        )
        track = self.plane.add_track()
        for number, sock in enumerate(self.sockets):
            peer = self.plane.add_peer()
            path = Path("127.0.0.1", sock.getsockname()[1], "127.0.0.1")
            self.plane.select_path(peer, path)
            if number == 0:
                self.plane.bind(
                    peer,
                    96,
                    track,
                    format=Format.H264,
                    clock_rate=90_000,
                    extensions={},
                )
                self.plane.set_keys(peer, given)
                continue
            self.plane.set_keys(peer, keys())
            self.plane.add_viewer(
                peer,
                track,
                payload_type=100,
                ssrc=number,
                first_sequence=1,
                timestamp_offset=0,
                extensions={},
            )
        self.plane.turn()
        self.sequence = 0

    def publish(self, count: int) -> None:
        """Put some packets of one frame into the socket's buffer."""
        address = self.server.getsockname()
        for _ in range(count):
            head = struct.pack("!BBHII", 128, 96, self.sequence & 65535, 0, 42)
            self.sockets[0].sendto(self.protect.protect(head + PAYLOAD), address)
            self.sequence += 1

    def measure(self, rounds: int, batch: int) -> list[float]:
        """Microseconds of CPU per forwarded packet, of ten equal parts."""
        results = []
        for _ in range(10):
            before = self.plane.counters()["packets_out"]
            spent = 0.0
            for _ in range(rounds // 10):
                self.publish(batch)
                began = _cpu()
                self.plane.turn()
                spent += _cpu() - began
            sent = self.plane.counters()["packets_out"] - before
            results.append(spent / sent * 1e6)
        return results

    def close(self) -> None:
        """Give everything back."""
        self.plane.stop()
        for sock in (self.server, *self.sockets):
            sock.close()


def _cpu() -> float:
    return time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)


def measure(viewers: int, rounds: int, batch: int, *, gso: bool) -> dict[str, Any]:
    """One result for the table."""
    bench = Bench(viewers, gso=gso)
    try:
        bench.measure(10, batch)
        results = bench.measure(rounds, batch)
        counters = bench.plane.counters()
    finally:
        bench.close()
    return {
        "viewers": viewers,
        "packets_per_batch": batch,
        "gso": gso,
        "compiled": COMPILED,
        "us_per_packet": round(statistics.median(results), 3),
        "best": round(min(results), 3),
        "send_calls": counters["send_calls"],
        "send_dropped": counters["send_dropped"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    runs = [
        measure(options.viewers, options.rounds, batch, gso=gso)
        for batch in options.batches
        for gso in (True, False)
    ]
    print(json.dumps({"bench": "plane", "runs": runs}))


if __name__ == "__main__":
    main()
