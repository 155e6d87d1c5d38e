"""What the kernel alone costs: `sendmmsg` of packets that are encrypted already.

`measure` runs this module as a process on the server's core, and reads the sockets that it
sends to as those of viewers are read. Frames come at the pace of the stream.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np

from bench.process import ROOT, choose_cores, pinned
from bench.receiver import Receiver
from bench.stream import CLOCK_RATE, RATE, SSRC, pictures
from live777py.protocol.codecs import Format
from tests.support.media import RtpStream

SECONDS = 2.0
#: What AES-128-GCM adds to a packet.
TAG = 16
#: The most messages of one call, and the most of one segmented message.
MESSAGES = 1024
SEGMENTS = 64
LARGEST = 65_000

SOL_UDP = 17
UDP_SEGMENT = 103


async def measure(viewers: int) -> dict[str, float]:
    """Send to so many sockets, apart and in segmented messages.

    Returns:
        Microseconds of CPU a packet for both.
    """
    server_core, load_core = choose_cores()
    results = {}
    with pinned(load_core), contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            for _ in range(viewers)
        ]
        async with Receiver() as receiver:
            for sock in sockets:
                sock.setblocking(False)
                sock.bind(("127.0.0.1", 0))
                receiver.add(sock, 0, lambda data: None)
            ports = ",".join(str(sock.getsockname()[1]) for sock in sockets)
            for name, extra in (("plain_us", ()), ("gso_us", ("--gso",))):
                with pinned(server_core):
                    process = await asyncio.create_subprocess_exec(
                        *(sys.executable, "-m", "bench.baseline", "--ports", ports),
                        *extra,
                        cwd=ROOT,
                        stdout=asyncio.subprocess.PIPE,
                    )
                printed, _ = await process.communicate()
                results[name] = float(json.loads(printed)["us"])
    return results


def encrypted() -> Iterator[list[bytes]]:
    """The packets of each picture of a period, as long as they are on the wire."""
    stream = RtpStream(96, SSRC, Format.H264)
    for index, picture in enumerate(pictures()):
        packets = stream.packets(picture, index * CLOCK_RATE // RATE)
        yield [packet + bytes(TAG) for packet in packets]


def runs(sizes: Sequence[int], *, gso: bool) -> Iterator[int]:
    """How many packets go into each message: of one size, and a shorter one at most."""
    count = total = 0
    for index, size in enumerate(sizes):
        count += 1
        total += size
        following = sizes[index + 1] if index + 1 < len(sizes) else 0
        first = sizes[index + 1 - count]
        if (
            not gso
            or size < first
            or following == 0
            or following > first
            or count == SEGMENTS
            or total + following > LARGEST
        ):
            yield count
            count = total = 0


class _Messages:
    """The messages of one picture for all viewers; they share its bytes."""

    def __init__(
        self, packets: Sequence[bytes], addresses: np.ndarray, *, gso: bool
    ) -> None:
        self.packets = len(packets) * len(addresses)
        sizes = [len(packet) for packet in packets]
        self._data = np.frombuffer(b"".join(packets), np.uint8)
        lengths, segments, offsets = [], [], []
        first = 0
        for count in runs(sizes, gso=gso):
            lengths.append(sum(sizes[first : first + count]))
            segments.append(sizes[first] if count > 1 else 0)
            offsets.append(sum(sizes[:first]))
            first += count
        self._vectors = np.array(
            [
                (self._data.ctypes.data + offset, length)
                for offset, length in zip(offsets, lengths, strict=True)
            ],
            np.int64,
        )
        # One cmsghdr with a segment size for each run: length, level and type, value.
        self._controls = np.zeros((len(lengths), 3), np.int64)
        for control, size in zip(self._controls, segments, strict=True):
            control[:] = 18, UDP_SEGMENT << 32 | SOL_UDP, size
        self._words = np.zeros((len(addresses) * len(lengths), 8), np.int64)
        self._addresses = addresses
        for number, words in enumerate(self._words):
            viewer, run = divmod(number, len(lengths))
            words[0] = addresses[viewer].ctypes.data
            words[1] = 16
            words[2] = self._vectors[run].ctypes.data
            words[3] = 1
            if segments[run]:
                words[4] = self._controls[run].ctypes.data
                words[5] = 24

    def send(self, descriptor: int) -> None:
        """All of them, in as few calls as there can be."""
        done = 0
        while done < len(self._words):
            count = min(MESSAGES, len(self._words) - done)
            address = ctypes.c_void_p(self._words[done].ctypes.data)
            sent = _sendmmsg(descriptor, address, count, 0)
            if sent < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            done += sent


_sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg


def send(ports: Sequence[int], seconds: float, *, gso: bool) -> float:
    """Send at the stream's pace; returns microseconds of CPU a packet."""
    addresses = np.frombuffer(
        b"".join(
            struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), b"\x7f\0\0\1")
            for port in ports
        ),
        np.uint8,
    ).reshape(len(ports), 16)
    period = [_Messages(packets, addresses, gso=gso) for packets in encrypted()]
    spent = packets = 0.0
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        due = time.monotonic()
        for index in range(int(seconds * RATE)):
            messages = period[index % len(period)]
            began = time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)
            messages.send(sock.fileno())
            spent += time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) - began
            packets += messages.packets
            due += 1 / RATE
            time.sleep(max(0.0, due - time.monotonic()))
    return spent / packets * 1e6


def main() -> None:
    """Send, and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", required=True)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--gso", action="store_true")
    options = parser.parse_args()
    ports = [int(port) for port in options.ports.split(",")]
    print(json.dumps({"us": send(ports, options.seconds, gso=options.gso)}))


if __name__ == "__main__":
    main()
