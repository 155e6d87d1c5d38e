from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from live777py.rtc import turn_bridge
from live777py.rtc.turn_bridge import TurnBridge


class Sent(list[bytes]):
    """What went out, and whether something did."""

    def __init__(self) -> None:
        super().__init__()
        self.more = asyncio.Event()

    def take(self, data: bytes) -> None:
        self.append(data)
        self.more.set()

    async def has(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self) < count:
                self.more.clear()
                await self.more.wait()


@contextmanager
def bridge(sent: Sent) -> Iterator[TurnBridge]:
    made = TurnBridge(sent.take)
    try:
        yield made
    finally:
        made.close()


async def test_what_one_end_sends_comes_out_at_the_other() -> None:
    sent = Sent()
    with bridge(sent) as made:
        packets = [bytes([n]) * 1200 for n in range(200)]
        for packet in packets:
            made.socket.sendto(packet, made.address)
        await sent.has(len(packets))
        assert sent == packets
        made.deliver(b"back")
        assert made.socket.recv(100) == b"back"
        assert made.dropped == 0


async def test_strangers_put_nothing_in() -> None:
    sent = Sent()
    with (
        bridge(sent) as made,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        other.sendto(b"stranger", made.address)
        other.sendto(b"stranger", made.socket.getsockname())
        made.socket.send(b"ours")
        await sent.has(1)
        assert sent == [b"ours"]
        with pytest.raises(BlockingIOError):
            made.socket.recv(100)


async def test_what_nobody_reads_is_bounded_and_counted() -> None:
    with bridge(Sent()) as made:
        # The buffer is full, or the other end closed: neither is an error.
        for _ in range(5000):
            made.deliver(b"x" * 1200)
        made.socket.close()
        made.deliver(b"late")
        made.deliver(b"late")
        assert made.dropped >= 1


async def test_silence_is_not_filled_with_media(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turn_bridge, "_SILENCE", -1.0)
    sent = Sent()
    with bridge(sent) as made:
        made.socket.send(b"lost")
        async with asyncio.timeout(20):
            while not made.dropped:  # noqa: ASYNC110 - counted, not told
                await asyncio.sleep(0.005)
        monkeypatch.undo()
        made.heard()
        made.socket.send(b"goes on")
        await sent.has(1)
        assert sent == [b"goes on"]


async def test_closing_twice_is_fine() -> None:
    made = TurnBridge(Sent().take)
    made.close()
    made.close()
    made.deliver(b"late")
    assert made.dropped == 1
