"""Compile the data plane into its cache: `python -m live777py.relay.warm`.

A cold compile takes a quarter of a minute or more, which belongs to the installation and
not to the first start.
"""

from __future__ import annotations

import socket
import sys
import time

from .cfuncs import COMPILED
from .plane import Plane
from .runner import compile_loop
from .settings import PlaneSettings

SMALL = PlaneSettings(
    threads=0,
    max_peers=4,
    max_viewers=4,
    max_tracks=4,
    history=64,
    command_rows=64,
    control_rows=64,
    parked_packets=64,
)


def warm() -> float:
    """Compile everything or load it from the cache.

    Returns:
        The seconds it took.
    """
    began = time.perf_counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        plane = Plane(sock, SMALL)
        # What this side of the rings uses is compiled, too.
        plane.remove_peer(plane.add_peer())
        plane.group(plane.add_track())
        list(plane.control_packets())
        compile_loop(plane._state)
        plane.stop()
    return time.perf_counter() - began


def main() -> None:
    """Say how long it took."""
    seconds = warm()
    if COMPILED:
        text = f"the data plane is compiled ({seconds:.1f} s)\n"
    else:
        text = "numba is not installed or switched off: nothing to compile\n"
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
