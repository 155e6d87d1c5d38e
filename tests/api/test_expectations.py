"""What an Expect header asks for is met, or refused as any other fault is."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from live777py.api import expectations
from live777py.api.front import Front
from live777py.tokens import Verifier
from tests.support.http import served, serving


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"Expect: \xff\r\n", 417),
        (b"Expect: tea, 100-continue\r\n", 417),
        (b"Expect: 100-continue\r\nExpect: tea\r\n", 417),
        (b"Expect: \r\n", 200),
        (b"Expect: 100-Continue\r\n", 100),
    ],
)
@pytest.mark.parametrize("asked", [b"POST /", b"PUT /", b"GET /x", b"OPTIONS *"])
async def test_what_cannot_be_expected_is_refused_in_our_words(
    asked: bytes, sent: bytes, status: int
) -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(text="done")

    app = Front.of().application()
    app.router.add_post("/", handler)
    async with served(app) as url:
        where = urlsplit(url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        head = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        accept = b"Accept: application/problem+json\r\n\r\n"
        writer.write(asked + head + sent + accept)
        answer = await reader.read()
        writer.close()
    found = int(answer.split()[1])
    if status == 417:
        assert found == 417
        assert b"Access-Control-Allow-Origin" in answer
        details = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert details["detail"] == expectations.MESSAGE
    elif status == 100:
        assert found == 100
    else:
        assert found == {b"POST /": 200, b"PUT /": 405}.get(asked, 404)


async def test_who_may_not_come_in_hears_of_that_first() -> None:
    app = Front.of(Verifier(["t0ken"])).application()
    async with serving(app) as http, http.get("/", headers={"Expect": "tea"}) as answer:
        assert answer.status == 401


async def test_an_expectation_of_http_1_0_means_nothing() -> None:
    async with served(Front.of().application()) as url:
        where = urlsplit(url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        writer.write(b"GET / HTTP/1.0\r\nExpect: tea\r\n\r\n")
        assert (await reader.read()).split()[1] == b"404"
        writer.close()
