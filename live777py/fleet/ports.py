"""Finds ports that are free, for TCP and for UDP alike."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

#: Below what systems give to outgoing connections (Linux: from 32768, others: from 49152): a
#: number of theirs may be taken before its node listens, or while a node is restarted.
FIRST, LAST = 20_000, 32_000


def free(host: str = "127.0.0.1") -> Iterator[int]:
    """Numbers of ports that are free now, at random, none of them twice.

    At random since several fleets may be started at the same time.
    """
    numbers = random.sample(range(FIRST, LAST), LAST - FIRST)  # no secret
    return (number for number in numbers if _is_free(host, number))


def _is_free(host: str, port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            try:
                sock.bind((host, port))
            except OSError:
                return False
    return True
