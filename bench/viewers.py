"""Viewers: they connect as any other, then a `Receiver` counts what comes to them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

from bench.receiver import Receiver
from bench.stream import OFFERED
from bench.target import Endpoint
from tests.support.rtp_client import RtpClient
from tests.support.signalling import Refused

#: Viewers that join at the same time.
CONCURRENT_JOINS = 8
#: Seconds that a join may take, and that a server may need until a new stream is there.
JOIN_TIMEOUT = 10.0
PATIENCE = 5.0


class Viewer:
    """One viewer of one stream.

    Attributes:
        row: the receiver's, once joined.
    """

    def __init__(self, endpoint: Endpoint, stream: int = 0) -> None:
        self._endpoint = endpoint
        self._stream = stream
        self._client: RtpClient | None = None
        self._receiver: Receiver | None = None
        self.row = -1

    async def join(self, receiver: Receiver) -> None:
        """Connect, then let `receiver` read the socket.

        Raises:
            Refused: the server did not answer 201 in time.
            ConnectionError, TimeoutError: ICE or DTLS failed.
        """
        client = await connected(self._endpoint)
        protocol: Any = client.pair_protocol
        remote = client.remote_address
        protocol.transport.pause_reading()
        self._client = client
        self._receiver = receiver
        self.row = receiver.add(
            protocol.transport.get_extra_info("socket"),
            self._stream,
            lambda data: protocol.datagram_received(data, remote),
        )

    async def leave(self) -> None:
        """End the session; a server that knows no DELETE learns it by DTLS."""
        if self._client is None:
            return
        if self._receiver is not None:
            self._receiver.remove(self.row)
            self._receiver = None
            transport: Any = self._client.pair_protocol.transport
            transport.resume_reading()
        with contextlib.suppress(OSError, TimeoutError):
            await self._client.aclose()


async def connected(endpoint: Endpoint) -> RtpClient:
    """A viewer that has just connected; a stream that is not there yet is waited for.

    Raises:
        Refused: the server did not answer 201 in time.
        ConnectionError, TimeoutError: ICE or DTLS failed.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        client = RtpClient.viewer(endpoint.url, OFFERED)
        client.signalling.token = endpoint.token
        try:
            await client.post()
            await client.connect(JOIN_TIMEOUT)
        except Refused:
            await client.vanish()
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        except BaseException:
            await client.vanish()
            raise
        else:
            return client


async def join_all(viewers: Iterable[Viewer], receiver: Receiver) -> None:
    """Join, some at a time."""
    waiting = iter(viewers)

    async def join() -> None:
        for viewer in waiting:
            await viewer.join(receiver)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENT_JOINS):
            group.create_task(join())


@contextlib.asynccontextmanager
async def joined(
    viewers: Iterable[Viewer], receiver: Receiver
) -> AsyncIterator[list[Viewer]]:
    """Viewers that have joined; they leave in the end, also those that came only half."""
    everybody = list(viewers)

    async def leave(waiting: list[Viewer]) -> None:
        while waiting:
            await waiting.pop().leave()

    try:
        await join_all(everybody, receiver)
        yield everybody
    finally:
        waiting = list(everybody)
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENT_JOINS):
                group.create_task(leave(waiting))
