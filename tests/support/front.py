"""An HTTP server in front of a real one: it changes what comes back, refuses, and takes notes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from tests.support.http import answering, served

#: What a proxy does not pass on.
_OWN = frozenset({"host", "content-length", "transfer-encoding", "connection", "date"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: str
    status: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """How offers are refused.

    Attributes:
        status, body: of the response.
        retry_after: seconds, for the header of that name.
        lasts: seconds from the first refused offer on, after which offers are let through.
    """

    status: int
    body: str = ""
    retry_after: int | None = None
    lasts: float = float("inf")

    def response(self) -> web.Response:
        """What is answered."""
        response = web.Response(status=self.status, text=self.body)
        if self.retry_after is not None:
            response.headers["Retry-After"] = str(self.retry_after)
        return response


@dataclass(slots=True)
class Front:
    """Attributes of a front, which a test may change at any time.

    Attributes:
        url: its own.
        rewrite: makes the SDP of a 201 from that of the server.
        links: Link headers of a 201, in place of the server's.
        without: names of headers that do not come back.
        redirect: where POSTs are sent to (307), "" for nowhere.
        offers: POSTs go on without their body: the server answers by an offer of its own.
        deletes: while it is not set, no DELETE is answered.
        refusal: what POSTs are answered, None to let them through.
        refused: when they were, in seconds of the loop's clock.
        asked: what has been asked so far, and was let through.
    """

    url: str
    rewrite: Callable[[str], str] = lambda sdp: sdp
    links: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    redirect: str = ""
    offers: bool = False
    deletes: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: Refusal | None = None
    refused: list[float] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def refuse(self) -> Refusal | None:
        """How the offer that has just come is refused, if it is."""
        now = asyncio.get_running_loop().time()
        if self.refusal and self.refused and now - self.refused[0] > self.refusal.lasts:
            self.refusal = None
        if self.refusal:
            self.refused.append(now)
        return self.refusal

    def of(self, method: str) -> list[Asked]:
        """The requests of one method."""
        return [asked for asked in self.asked if asked.method == method]


@asynccontextmanager
async def front_of(server: str) -> AsyncIterator[Front]:
    """A front for the time of a `with` block.

    Args:
        server: the base URL of what it is in front of.
    """
    front = Front("")
    front.deletes.set()
    async with aiohttp.ClientSession() as http:

        async def handler(request: web.Request) -> web.Response:
            body = await request.read()
            if request.method == "DELETE":
                await front.deletes.wait()
            if front.redirect and request.method == "POST":
                front.asked.append(_asked(request, body, 307))
                return web.Response(status=307, headers={"Location": front.redirect})
            if request.method == "POST" and (refusal := front.refuse()):
                return refusal.response()
            headers = {
                k: v for k, v in request.headers.items() if k.lower() not in _OWN
            }
            is_empty = front.offers and request.method == "POST"
            if is_empty:
                headers.pop("Content-Type", None)
            async with http.request(
                request.method,
                f"{server}{request.path_qs}",
                data=None if is_empty else body,
                headers=headers,
            ) as answer:
                front.asked.append(_asked(request, body, answer.status))
                return _changed(front, answer, await answer.text())

        async with served(answering(handler)) as front.url:
            try:
                yield front
            finally:
                front.deletes.set()


def _asked(request: web.Request, body: bytes, status: int) -> Asked:
    headers = dict(request.headers)
    return Asked(request.method, request.path, headers, body.decode(), status)


def _changed(front: Front, answer: aiohttp.ClientResponse, text: str) -> web.Response:
    left_out = {*_OWN, *(name.lower() for name in front.without)}
    response = web.Response(status=answer.status)
    for name, value in answer.headers.items():
        if name.lower() not in left_out:
            response.headers.add(name, value)
    if answer.status in (201, 406):
        text = front.rewrite(text)
        if front.links:
            response.headers.popall("Link", None)
        for link in front.links:
            response.headers.add("Link", link)
    response.body = text.encode()
    return response
