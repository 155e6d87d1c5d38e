from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from live777py.core.lineage import Node, encode, parse
from live777py.protocol.headers import VIA
from tests.api.native.support import JSON, begin, client
from tests.support.node import node, publisher

Handler = Callable[[web.Request], web.Response]


@asynccontextmanager
async def other(answer: Handler) -> AsyncIterator[str]:
    """Another server, all of whose paths answer alike; its URL."""

    async def handle(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        await web.SockSite(runner, sock).start()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        await runner.cleanup()


@pytest.mark.parametrize(
    ("body", "status", "fault"),
    [
        ({}, 400, "missing"),
        ({"sourceUrl": "", "targetUrl": None}, 400, "missing"),
        ({"sourceUrl": "http://a/x", "targetUrl": "http://b/x"}, 400, "both given"),
        ({"sourceUrl": "ftp://a/x"}, 400, "has to begin with"),
        ({"targetUrl": "http://a/x"}, 404, "does not exist"),
        ({"sourceUrl": 7}, 422, "sourceUrl"),
    ],
)
async def test_what_cannot_be_is_refused(body: object, status: int, fault: str) -> None:
    async with client() as http:
        async with http.post("/api/cascade/cam", json=body) as response:
            assert response.status == status
            assert fault in await response.text()
        async with http.get("/api/streams/") as response:
            assert await response.json() == []


async def test_no_json_is_refused() -> None:
    async with client() as http:
        async with http.post("/api/cascade/cam", data="{", headers=JSON) as response:
            assert response.status == 400
        async with http.post("/api/cascade/cam", data="{}") as response:
            assert response.status == 415


async def test_a_pull_of_a_published_stream_is_refused() -> None:
    async with client() as http:
        await begin(http, "/whip/cam")
        body = {"sourceUrl": "http://127.0.0.1:1/whep/x"}
        async with http.post("/api/cascade/cam", json=body) as response:
            assert response.status == 409


async def test_what_the_other_server_says_is_passed_on() -> None:
    tokens = []

    def refuse(request: web.Request) -> web.Response:
        tokens.append(request.headers.get("Authorization"))
        return web.Response(status=403, text="not you")

    async with other(refuse) as url, node() as here:
        host = url.removeprefix("http://")
        for body in (
            {"sourceUrl": f"{url}/whep/x", "token": "t1"},
            {"sourceUrl": f"{url}/whep/x", "token": "Bearer t1"},
            {"sourceUrl": f"whep://t1@{host}/whep/x"},
        ):
            status, location, text = await here.post("cam", **body)
            assert (status, location) == (502, "")
            assert text == f"{url}/whep/x answered 403: not you"
        assert tokens == ["Bearer t1"] * 3
        assert await here.get("/api/cascade/") == []
        assert await here.server.streams() == []


async def test_an_answer_that_is_none_is_the_other_servers_fault() -> None:
    deleted = []

    def nonsense(request: web.Request) -> web.Response:
        if request.method == "DELETE":
            deleted.append(request.path)
            return web.Response()
        return web.Response(
            status=201,
            body=b"v=0\r\n",
            content_type="application/sdp",
            headers={"Location": "/there"},
        )

    async with other(nonsense) as url, node() as here:
        status, _, text = await here.post("cam", sourceUrl=f"{url}/whep/x")
        assert (status, "answer" in text) == (502, True)
        # It has made a session all the same.
        assert deleted == ["/there"]


async def test_nobody_there_is_told_so() -> None:
    async with node() as here:
        status, _, text = await here.post(
            "cam", sourceUrl="whep://127.0.0.1:1/x?k=secret"
        )
        assert status == 504
        assert "secret" not in text


@pytest.mark.parametrize("kind", ["sourceUrl", "targetUrl"])
async def test_a_loop_onto_its_own_stream_is_refused(kind: str) -> None:
    sections = {"strategy": {"takeover": "replace"}, "node": {"name": "here"}}
    async with node(**sections) as here:
        if kind == "targetUrl":
            async with publisher(here.url):
                await here.server.until_published("cam")
                status, _, text = await here.post(
                    "cam", targetUrl=f"{here.url}/whip/cam"
                )
        else:
            status, _, text = await here.post("cam", sourceUrl=f"{here.url}/whep/cam")
        words = "feed itself: here/cam → here/cam"
        assert (status, text.endswith(words)) == (508, True)


async def test_a_loop_that_another_node_refuses_is_refused_with_its_path() -> None:
    path = encode((Node("a").entry("cam"), Node("b").entry("cam")))
    loop = encode((*parse(path), parse(path)[0]))
    for via, message, expected in (
        (loop, "feed itself: a/cam → b/cam → a/cam", 508),
        (path, "as it may: a/cam → b/cam", 508),
        # Of a server that is no node its own words are all there is.
        ("", "answered 508: round and round", 502),
    ):

        def refuse(_request: web.Request, via: str = via) -> web.Response:
            headers = {VIA: via} if via else {}
            return web.Response(status=508, text="round and round", headers=headers)

        async with other(refuse) as url, node() as here:
            status, location, text = await here.post("cam", sourceUrl=f"{url}/whep/x")
            assert (status, location) == (expected, "")
            assert text.endswith(message)
            assert await here.server.streams() == []


async def test_a_redirect_is_followed_and_the_token_never_shown() -> None:
    async with node(auth={"tokens": ["secret"]}) as there, node() as here:

        def redirect(_request: web.Request) -> web.Response:
            return web.Response(
                status=307, headers={"Location": f"{there.url}/whep/cam"}
            )

        async with other(redirect) as url:
            location = await here.begin("a b", sourceUrl=f"{url}/x", token="secret")
            await here.connected(location)
            assert location.startswith("/api/cascade/a%20b/")
            [listed] = await here.get("/api/cascade/")
            assert listed == (await here.get("/api/cascade/a%20b"))[0]
            assert listed["id"] == location.rpartition("/")[2]
            assert listed["stream"] == "a b"
            assert listed["sourceUrl"] == f"{url}/x"
            assert listed["sessionUrl"].startswith(f"{there.url}/session/cam/")
            assert (listed["attempts"], listed["lastError"]) == (0, None)
            assert "secret" not in str([listed, await here.server.streams()])
            assert await here.delete(location) == 204
            assert await here.delete(location) == 404
            assert await here.get("/api/cascade") == []
