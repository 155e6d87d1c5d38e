from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from live777py.relay.sockets import prepare
from live777py.rtc.refusals import Refusals

FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]

#: Seconds after which an error that the kernel has made on loopback would have come.
SETTLED = 0.1


def bound(family: int, host: str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    # As the data plane has it: errors come with all that datagrams come with.
    prepare(sock)
    sock.bind((host, 0))
    return sock


def closed_port(family: int, host: str) -> tuple[str, int]:
    with bound(family, host) as sock:
        address: tuple[str, int] = sock.getsockname()[:2]
        return address


@contextmanager
def watching(
    sock: socket.socket, remote: tuple[str, int]
) -> Iterator[tuple[Refusals, asyncio.Event]]:
    told = asyncio.Event()
    refusals = Refusals(sock.dup(), remote, told.set)
    try:
        yield refusals, told
    finally:
        refusals.close()


@pytest.mark.parametrize(("family", "host"), FAMILIES)
async def test_a_closed_port_is_told(family: int, host: str) -> None:
    remote = closed_port(family, host)
    with bound(family, host) as sock, watching(sock, remote) as (_, told):
        sock.sendto(b"?", remote)
        async with asyncio.timeout(20):
            await told.wait()


@pytest.mark.parametrize(("family", "host"), FAMILIES)
async def test_an_open_port_and_others_are_not(family: int, host: str) -> None:
    with bound(family, host) as sock, bound(family, host) as other:
        remote = other.getsockname()[:2]
        with watching(sock, remote) as (refusals, told):
            sock.sendto(b"?", closed_port(family, host))
            await asyncio.sleep(SETTLED)
            other.sendto(b"!", sock.getsockname())
            await asyncio.sleep(SETTLED)
            assert not told.is_set()
            refusals.close()
            # What was to be read is still there, and no error.
            assert sock.recv(10) == b"!"


async def test_afterwards_nobody_is_told() -> None:
    remote = closed_port(*FAMILIES[0])
    with bound(*FAMILIES[0]) as sock, watching(sock, remote) as (refusals, told):
        refusals.close()
        refusals.close()
        for _ in range(2):
            # An error that the socket had would fail the second one.
            sock.sendto(b"?", remote)
            await asyncio.sleep(SETTLED)
        assert not told.is_set()
