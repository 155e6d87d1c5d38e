"""Server-sent events: a response that goes on (HTML standard, section "Server-sent events")."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

#: Seconds between two comments that keep proxies from closing an idle connection.
KEEP_ALIVE = 15.0

#: Seconds that a reader's network may take for one message: who is slower is dropped, and what
#: waits for it is not kept.
PATIENCE = 10.0

#: Bytes that may wait in the connection before `send` waits itself.
BUFFER = 64 * 1024


class ReaderGone(Exception):
    """The reader has closed the connection, or was too slow."""


class EventStream:
    """One reader's response.

    Args:
        request: the GET that it answers.
        headers: more of them.
    """

    def __init__(
        self, request: web.Request, headers: Mapping[str, str] | None = None
    ) -> None:
        self._request = request
        self._is_gone = False
        self.response = web.StreamResponse(
            status=HTTPStatus.OK,
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-cache",
                # Some proxies gather what they should pass on.
                "X-Accel-Buffering": "no",
                **(headers or {}),
            },
        )

    async def open(self) -> web.StreamResponse:
        """Send the headers; a reader that did not wait for them is gone at the first message."""
        try:
            await self.response.prepare(self._request)
        except ConnectionError:
            self._is_gone = True
        transport = self._request.transport
        if transport is not None:
            transport.set_write_buffer_limits(BUFFER)
        return self.response

    async def send(self, data: object, *, event: str = "", id: str = "") -> None:
        """Send one message.

        Args:
            data: any JSON.
            event: its name; without one a reader's `onmessage` gets it.
            id: what a reader sends as Last-Event-ID when it comes again.

        Raises:
            ReaderGone: nobody takes it.
        """
        lines = [f"event: {event}"] if event else []
        lines += [f"id: {id}"] if id else []
        lines.append(f"data: {json.dumps(data)}")
        await self._write("\n".join(lines))

    async def keep_alive(self) -> None:
        """Send a comment.

        Raises:
            ReaderGone: nobody takes it.
        """
        await self._write(":")

    async def _write(self, text: str) -> None:
        if self._is_gone:
            raise ReaderGone
        try:
            async with asyncio.timeout(PATIENCE):
                await self.response.write(f"{text}\n\n".encode())
        except (TimeoutError, ConnectionError) as error:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ReaderGone from error
