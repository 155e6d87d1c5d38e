"""Other servers that are dead, slow or endless: what they cost a node that pulls from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from live777py.fleet import ports
from live777py.server import Server
from tests.support.node import Node, node, publisher, until
from tests.support.server import RunningServer, config

pytestmark = pytest.mark.timeout(120)

#: Cascades that lose their server in the same moment.
MANY = 200

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def other(handler: Handler) -> AsyncIterator[str]:
    """A server all of whose paths are answered by one function; its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


class Silent:
    """A server that accepts connections and says nothing.

    Attributes:
        accepted: connections so far.
        open: those that are open now; `most` is the most that were.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.open = 0
        self.most = 0

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        """Listen in a block; yields the URL."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.accepted += 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            while await reader.read(4096):
                pass
        finally:
            self.open -= 1
            writer.close()


@pytest.mark.slow
async def test_many_cascades_that_lose_their_server_ask_one_by_one() -> None:
    async with node() as here:
        first = Server(config(http={"listen": f"127.0.0.1:{next(ports.free())}"}))
        await first.__aenter__()
        there = RunningServer(first)
        port = int(there.url.rpartition(":")[2])
        names = [f"cam-{number}" for number in range(MANY)]
        async with publisher(there.url), asyncio.TaskGroup() as group:
            await there.until_published("cam")
            for name in names:
                pulling = here.begin(name, sourceUrl=f"{there.url}/whep/cam")
                group.create_task(pulling)

        async def states() -> set[str]:
            return {cascade["state"] for cascade in await here.get("/api/cascade/")}

        async def are_connected() -> bool:
            return await states() == {"connected"}

        await until(are_connected, 60)
        silent = Silent()
        await first.__aexit__(None, None, None)

        async def are_lost() -> bool:
            return "connected" not in await states()

        await until(are_lost)
        async with silent.serving(port):
            await until(lambda: _true(silent.accepted >= MANY), 30)
            # One connection each at most, whatever there is to wait for, and its few tasks.
            assert silent.most <= MANY
            assert len(asyncio.all_tasks()) < 6 * MANY
            # Whoever asks this node for something else does not wait, for the 15 s that those do.
            async with asyncio.timeout(12), publisher(here.url, "other"):
                pass
            async with asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(here.delete(f"/api/streams/{name}"))
            await until(lambda: _true(silent.open == 0))
        assert await here.get("/api/cascade/") == []
        plane = here.server.counters
        assert (plane["adopted"], plane["tracks"]) == (0, 0)


async def _true(condition: bool) -> bool:
    return condition


@pytest.mark.slow
async def test_a_server_that_does_not_answer_is_given_up_in_time() -> None:
    silent = Silent()
    async with node() as here:
        async with silent.serving() as url, asyncio.timeout(25):
            status, _, text = await here.post("cam", sourceUrl=f"{url}/whep/cam")
            assert (status, "no answer within 15 s" in text) == (504, True)
            await until(lambda: _true(silent.open == 0))
        assert await here.get("/api/cascade/") == []
        assert await here.server.streams() == []


async def test_a_stream_may_go_while_a_slow_server_makes_up_its_mind() -> None:
    """What that has made meanwhile is deleted there."""
    asked, may_answer = asyncio.Event(), asyncio.Event()
    async with node() as there, node() as here, ClientSession() as http:

        async def slow(request: web.Request) -> web.Response:
            offer = await request.read()
            asked.set()
            await may_answer.wait()
            headers = {"Content-Type": "application/sdp"}
            url = f"{there.url}/whep/cam"
            async with http.post(url, data=offer, headers=headers) as response:
                location = there.url + response.headers["Location"]
                return web.Response(
                    status=response.status,
                    text=await response.text(),
                    headers={"Location": location},
                )

        async with other(slow) as url, publisher(there.url):
            await there.server.until_published("cam")
            posting = asyncio.create_task(here.post("cam", sourceUrl=f"{url}/cam"))
            await asked.wait()
            deleting = asyncio.create_task(here.delete("/api/streams/cam"))
            await until(lambda: _is_gone(here))
            may_answer.set()
            status, _, _ = await posting
            assert status == 404
            assert await deleting in (200, 204)
            assert await there.living("cam", "subscribe") == []
        assert await here.get("/api/cascade/") == []


async def _is_gone(here: Node) -> bool:
    return not await here.server.streams()


@pytest.mark.parametrize("status", [201, 403])
async def test_a_body_without_end_is_not_read_to_its_end(status: int) -> None:
    deleted = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        if request.method == "DELETE":
            deleted.set()
            return web.Response()
        response = web.StreamResponse(status=status, headers={"Location": "/session"})
        await response.prepare(request)
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b"v=0\r\n" * 1000)
        return response

    async with other(endless) as url, node() as here:
        answered, _, text = await here.post("cam", sourceUrl=f"{url}/whep/cam")
        assert answered == 502
        assert len(text) < 1000
        if status == 201:
            await deleted.wait()
        assert await here.get("/api/cascade/") == []
        assert await here.server.streams() == []
