from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from live777py.loadtest import sockets
from live777py.loadtest.sockets import BATCH, SLOT, Batch, SocketLoop


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket to send from and, connected, one to receive at."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        sender.connect(receiver.getsockname())
        yield sender, receiver


class Notes:
    """What came, and when."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.arrivals: list[int] = []

    def take(self, batch: Batch, index: int, size: int) -> None:
        self.data.append(bytes(batch.buffer[SLOT * index : SLOT * index + size]))
        self.arrivals.append(batch.arrival(index))

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.data) < count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.005)


@pytest.fixture(params=["batches", "singly"])
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "singly":
        monkeypatch.setattr(sys, "platform", "other")
    elif sys.platform != "linux":
        pytest.skip("needs recvmmsg")


@pytest.mark.usefixtures("platform")
async def test_datagrams_come_in_order_and_with_their_times() -> None:
    notes = Notes()
    sent = [bytes([n % 256]) * (1 + n % 1400) for n in range(3 * BATCH)]
    with pair() as (sender, receiver):
        async with SocketLoop() as loop:
            loop.add(receiver, notes)
            before = time.time_ns()
            for data in sent:
                sender.send(data)
            await notes.until(len(sent))
            loop.remove(receiver)
    assert notes.data == sent
    assert notes.arrivals == sorted(notes.arrivals)
    # Clocks of the kernel and of the process are one; the margin is for coarse ones.
    assert before - 20_000_000 < notes.arrivals[0]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's times")
async def test_a_time_is_that_of_the_arrival_not_of_the_reading() -> None:
    with pair() as (sender, receiver):
        batch = Batch()
        receiver.setsockopt(socket.SOL_SOCKET, sockets._SO_TIMESTAMPNS, 1)
        sender.send(b"x")
        sent = time.time_ns()
        await asyncio.sleep(0.1)
        assert batch.read(receiver) == [1]
        assert batch.arrival(0) - sent < 50_000_000
        # Without the option there is no control message, and the time is now.
        assert batch.read(receiver) == []


@pytest.mark.usefixtures("platform")
async def test_a_removed_socket_is_not_read() -> None:
    notes = Notes()
    with pair() as (sender, receiver):
        async with SocketLoop() as loop:
            loop.add(receiver, notes)
            sender.send(b"1")
            await notes.until(1)
            loop.remove(receiver)
            loop.remove(receiver)
            sender.send(b"2")
            await asyncio.sleep(0.02)
            assert receiver.recv(10) == b"2"
    assert notes.data == [b"1"]


@pytest.mark.skipif(sys.platform != "linux", reason="SO_MEMINFO")
async def test_drops_of_the_kernel_are_told() -> None:
    with pair() as (sender, receiver):
        async with SocketLoop() as loop:
            notes = Notes()
            loop.add(receiver, notes)
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            assert loop.dropped == 0
            for _ in range(200):
                sender.send(bytes(1000))
            assert loop.dropped > 0
            dropped = loop.dropped
            loop.remove(receiver)
            assert loop.dropped == dropped


def test_a_closed_socket_has_no_drops() -> None:
    with pair() as (_, receiver):
        pass
    assert sockets.drops(receiver) == 0
