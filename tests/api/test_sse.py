"""Server-sent events: what is written, and who is dropped."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientSession, web

from live777py.api import sse
from live777py.api.sse import EventStream, ReaderGone


async def serve(handler: object, path: str = "/") -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_get(path, handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}{path}"


async def test_messages_have_their_fields_in_lines() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        stream = EventStream(request, {"X-A": "b"})
        await stream.open()
        await stream.send([1], event="e", id="7")
        await stream.keep_alive()
        await stream.send("x\ny")
        return stream.response

    runner, url = await serve(handler)
    try:
        async with ClientSession() as http, http.get(url) as response:
            assert response.headers["Cache-Control"] == "no-cache"
            assert response.headers["X-A"] == "b"
            text = await response.text()
    finally:
        await runner.cleanup()
    assert text == 'event: e\nid: 7\ndata: [1]\n\n:\n\ndata: "x\\ny"\n\n'


async def test_a_reader_that_does_not_read_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sse, "PATIENCE", 0.05)
    dropped = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        stream = EventStream(request)
        await stream.open()
        try:
            while True:
                await stream.send("x" * 100_000)
        except ReaderGone:
            dropped.set()
        return stream.response

    runner, url = await serve(handler)
    try:
        async with ClientSession(read_bufsize=1024) as http, http.get(url):
            async with asyncio.timeout(20):
                await dropped.wait()
    finally:
        await runner.cleanup()


async def test_a_reader_that_left_before_the_first_byte_is_gone() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.set()
        while request.transport is not None:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
        stream = EventStream(request)
        await stream.open()
        with pytest.raises(ReaderGone):
            await stream.keep_alive()
        gone.set()
        return stream.response

    runner, _ = await serve(handler)
    try:
        _, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(20):
            await asked.wait()
            writer.transport.abort()
            await gone.wait()
    finally:
        await runner.cleanup()
