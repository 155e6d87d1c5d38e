"""An HTTP server in front of a node: it refuses offers, or changes what is answered to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

#: Of a node's headers those that are no business of a proxy's.
_OWN_HEADERS = {"content-length", "content-encoding", "date", "server", "connection"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What every offer is answered, instead of the node's answer."""

    status: int
    body: str = ""
    retry_after: int | None = None


class Gate:
    """Hands requests through to a node, and answers back.

    Attributes:
        url: of the gate; paths are the node's.
        refusal: what offers are answered, None to let them through.
        refuses_for: seconds from the first offer that it refuses until it refuses no more.
        edit_answer: changes the SDP of answers.
        refused: when offers were refused, in seconds of the loop's clock.
    """

    def __init__(self, node: str, http: aiohttp.ClientSession) -> None:
        self.url = ""
        self.refusal: Refusal | None = None
        self.refuses_for = float("inf")
        self.edit_answer: Callable[[str], str] = str
        self.refused: list[float] = []
        self._node = node
        self._http = http

    async def hand_through(self, request: web.Request) -> web.Response:
        """The handler of every request."""
        body = await request.read()
        if request.method == "POST" and (refusal := self._refusal()):
            headers = {}
            if refusal.retry_after is not None:
                headers["Retry-After"] = str(refusal.retry_after)
            return web.Response(
                status=refusal.status, text=refusal.body, headers=headers
            )
        async with self._http.request(
            request.method,
            f"{self._node}{request.path_qs}",
            headers={n: v for n, v in request.headers.items() if n != "Host"},
            data=body,
            allow_redirects=False,
        ) as reply:
            text = await reply.text()
            if request.method == "POST" and reply.status == 201:
                text = self.edit_answer(text)
            kept = [
                (name, value)
                for name, value in reply.headers.items()
                if name.lower() not in _OWN_HEADERS
            ]
            return web.Response(status=reply.status, body=text.encode(), headers=kept)

    def _refusal(self) -> Refusal | None:
        """What the offer that has just come is answered."""
        now = asyncio.get_running_loop().time()
        if self.refused and now > self.refused[0] + self.refuses_for:
            self.refusal = None
        if self.refusal is not None:
            self.refused.append(now)
        return self.refusal


@asynccontextmanager
async def gate(node: str) -> AsyncIterator[Gate]:
    """A gate in front of the node at this URL, for the time of a block."""
    async with aiohttp.ClientSession() as http:
        gate = Gate(node, http)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", gate.hand_through)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            gate.url = f"http://{host}:{port}"
            yield gate
        finally:
            await runner.cleanup()
