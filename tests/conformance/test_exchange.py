from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from live777py.conformance import exchange
from live777py.conformance.exchange import Exchange, NoResponse, Pace, Reply
from tests.support import http


def served(answer: Handler) -> AbstractAsyncContextManager[str]:
    return http.served(http.answering(answer))


def words(text: str, status: int = 404) -> str:
    """How a reply is told whose body is `text`."""
    headers: dict[str, str] = {"Content-Type": "text/plain; charset=utf-8"}
    reply = Reply("", "", status, "Not Found", headers, text.encode(), 0.0)  # type: ignore[arg-type]
    return reply.got


def test_a_refusal_is_told_in_the_servers_own_words() -> None:
    assert words("no such\n  thing") == '404 Not Found "no such thing"'
    assert len(words(90 * "x")) == len('404 Not Found ""') + 80
    assert words("404: not found") == "404 Not Found"
    assert words("ok", status=200) == "200 Not Found"


async def test_a_request_is_sent_as_it_is() -> None:
    seen: list[tuple[str, dict[str, str], str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.method, dict(request.headers), await request.text()))
        headers = {"Location": "x?y=1", "Allow": "GET, post", "Content-Type": "A/b; c"}
        return web.Response(status=404, body=b"no", headers=headers)

    async with served(answer) as url, Exchange() as http:
        reply = await http.request(
            "PUT", f"{url}/a/b", token="t", body="v=0", what="a test"
        )
    method, headers, body = seen[0]
    assert (method, body) == ("PUT", "v=0")
    assert headers["Authorization"] == "Bearer t"
    assert "Content-Type" not in headers
    assert reply.sent == "PUT /a/b (a test)"
    assert reply.got == "404 Not Found"
    assert (reply.text, reply.media_type) == ("no", "a/b")
    assert reply.location == f"{url}/a/x?y=1"
    assert reply.listed("Allow") == {"get", "post"}
    assert reply.is_refusal
    assert not reply.is_success
    assert reply.is_gone


async def test_a_header_given_goes_before_the_token() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["Authorization"])

    async with served(answer) as url, Exchange() as http:
        headers = {"Authorization": "Bearer undefined"}
        reply = await http.request("GET", url, token="t", headers=headers)
        assert reply.text == "Bearer undefined"
        assert reply.location is None


async def test_a_post_follows_307_and_others_do_not() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/a":
            return web.Response(status=307, headers={"Location": "/b"})
        return web.Response(text=await request.text())

    async with served(answer) as url, Exchange() as http:
        assert (await http.request("POST", f"{url}/a", body="x")).text == "x"
        assert (await http.request("GET", f"{url}/a")).status == 307
        assert [reply.status for reply in http.replies] == [307, 200, 307]


async def test_redirects_have_an_end() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "/"})

    async with served(answer) as url, Exchange() as http:
        with pytest.raises(NoResponse, match="more than 5 redirects"):
            await http.request("POST", url)
        assert http.requests == 6


async def test_sessions_are_deleted_in_the_end() -> None:
    deleted: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        if request.method == "POST":
            status = int(request.query["status"])
            return web.Response(status=status, headers={"Location": request.path + "s"})
        deleted.append((request.path, request.headers["Authorization"]))
        return web.Response(status=int(request.path[2:5]))

    async with served(answer) as url, Exchange() as http:
        for path in ("/x200-201", "/x404-201", "/x405-406", "/x500-200", "/x200-400"):
            status = path.partition("-")[2]
            await http.request("POST", f"{url}{path}?status={status}", token=path[:5])
        assert sorted(await http.clean()) == [
            f"{url}/x405-406s",
            f"{url}/x500-200s",
        ]
        assert ("/x200-201s", "Bearer /x200") in deleted
        assert len(deleted) == 4
        assert http.sessions == {}


async def test_a_session_whose_post_is_cancelled_is_known_all_the_same() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def answer(_request: web.Request) -> web.Response:
        begun.set()
        await go_on.wait()
        return web.Response(status=201, headers={"Location": "/s"})

    async with served(answer) as url, Exchange() as http:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(http.request("POST", url))
            await begun.wait()
            task.cancel()
            await asyncio.sleep(0)
            go_on.set()
        assert task.cancelled()
        assert list(http.sessions) == [f"{url}/s"]


async def test_nobody_there_is_told_apart_from_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        if request.path == "/slow":
            await asyncio.sleep(1)
        request.transport.abort()
        return web.Response()

    async with served(answer) as url, Exchange() as http:
        with pytest.raises(NoResponse) as broken:
            await http.request("GET", url)
        assert not broken.value.is_dead
        monkeypatch.setattr(exchange, "TIMEOUT", 0.05)
        async with Exchange() as hasty:
            with pytest.raises(NoResponse, match="none within"):
                await hasty.request("GET", f"{url}/slow")
    async with Exchange() as http:
        with pytest.raises(NoResponse) as dead:
            await http.request("GET", url)
        assert dead.value.is_dead
        with pytest.raises(NoResponse) as unknown:
            await http.request("GET", "http://name.invalid/")
        assert unknown.value.is_dead
        # Numbers of the resolver are no error numbers of the system.
        assert "Unknown error" not in unknown.value.reason


def test_requests_are_below_fifty_a_second() -> None:
    pace = Pace()
    turns = [100.0 + pace.wait(100.0) for _ in range(51)]
    assert turns[0] == 100.0
    assert turns[50] - turns[0] > 1.0
    assert pace.wait(200.0) == 0.0


async def test_a_server_without_tls_is_told_apart_from_others() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response()

    async with served(answer) as url, Exchange() as http:
        with pytest.raises(NoResponse, match="does not speak TLS"):
            await http.request("GET", url.replace("http:", "https:"))


async def test_it_is_used_in_its_block_only() -> None:
    with pytest.raises(RuntimeError, match="outside"):
        await Exchange().request("GET", "http://127.0.0.1:9/")
