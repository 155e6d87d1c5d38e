"""Odd requests by the hundred; `make fuzz` sends thousands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.support.server import running

from .header_storm import send_headers
from .storm import Target, storm
from .storms import send_fragments, send_offers, send_requests

#: What is sent, how many of it, and some of the answers that show that it got in.
STORMS: dict[str, tuple[Callable[[Target, int], None], int, set[int]]] = {
    "requests of the document": (
        send_requests,
        500,
        {200, 201, 204, 400, 404, 405, 406, 409, 422},
    ),
    "offers": (send_offers, 600, {201, 400, 406, 422}),
    "fragments and answers": (send_fragments, 400, {200, 204, 400, 409, 412, 428}),
    "headers": (send_headers, 800, {100, 200, 400, 404, 405, 415, 417}),
}


@pytest.mark.slow
@pytest.mark.timeout(180)
# The server uses chance too, in its own thread.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize("kind", STORMS)
def test_odd_requests_are_the_clients_fault_and_leave_nothing_behind(kind: str) -> None:
    send, count, expected = STORMS[kind]
    with storm() as target:
        base = target.belongings()
        send(target, count)
        target.check_that_nothing_is_left(base)
        assert expected <= target.statuses.keys()


HEAD = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
SDP = b"Content-Type: application/sdp\r\nContent-Length: 3\r\n\r\nv=0"

#: What no well-behaved client sends, and what it is answered.
RAW: dict[str, tuple[bytes, int]] = {
    "an unknown transfer coding": (
        b"POST /whip/a" + HEAD + b"Transfer-Encoding: smoke\r\n\r\n",
        400,
    ),
    "a chunk without a size": (
        b"POST /whip/a" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        400,
    ),
    "a length beside chunks": (
        b"POST /whip/a" + HEAD + b"Transfer-Encoding: chunked\r\n" + SDP,
        400,
    ),
    "two lengths": (b"POST /whip/a" + HEAD + b"Content-Length: 4\r\n" + SDP, 400),
    "a negative length": (b"POST /whip/a" + HEAD + b"Content-Length: -3\r\n\r\n", 400),
    "a compressed body that is none": (
        b"POST /whip/a" + HEAD + b"Content-Encoding: gzip\r\n" + SDP,
        415,
    ),
    "a header of 100,000 bytes": (
        b"GET /api/info" + HEAD + b"X: " + bytes(100_000).replace(b"\0", b"x") + b"\r\n\r\n",
        400,
    ),
    "5,000 headers": (b"GET /api/info" + HEAD + b"X: y\r\n" * 5_000 + b"\r\n", 400),
    "a path of 100,000 bytes": (b"GET /whip/" + b"x" * 100_000 + HEAD + b"\r\n", 400),
    "a zero byte in a header": (b"GET /whip/a" + HEAD + b"X: a\0b\r\n\r\n", 400),
    "a type beyond ASCII": (
        b"POST /whip/a" + HEAD + b"Content-Length: 3\r\nContent-Type: \xff\r\n\r\nv=0",
        415,
    ),
    "a fragment's type beyond ASCII": (
        b"PATCH /session/a/b" + HEAD + b"Content-Length: 1\r\nContent-Type: \xff\r\n\r\nv",
        415,
    ),
    "an encoding beyond ASCII": (
        b"POST /whip/a" + HEAD + b"Content-Encoding: \xff\r\n" + SDP,
        415,
    ),
    "a percent sign and no number": (b"POST /whip/%zz" + HEAD + SDP, 400),
    "a name that is no UTF-8": (b"POST /whip/%FF" + HEAD + SDP, 400),
    "a surrogate for a name": (b"POST /whip/%ED%A0%80" + HEAD + SDP, 400),
    "a new line in a name": (b"POST /whip/a%0d%0aX:y" + HEAD + SDP, 400),
    "the folder above": (b"POST /whip/%2e%2e" + HEAD + SDP, 400),
    "a path outside": (b"GET /tools/../../etc/passwd" + HEAD + b"\r\n", 404),
    "two slashes": (b"GET //api/streams/" + HEAD + b"\r\n", 404),
    "an encoded slash": (b"GET /api%2Fstreams/" + HEAD + b"\r\n", 404),
    "a whole URL": (b"GET http://x/api/streams/" + HEAD + b"\r\n", 200),
    "a URL with a bad port": (b"GET http://x:99999/whip/a" + HEAD + b"\r\n", 400),
    "another's tunnel": (b"CONNECT x:80" + HEAD + b"\r\n", 404),
    "TRACE": (b"TRACE /whip/a" + HEAD + b"\r\n", 405),
    "PUT": (b"PUT /session/a/b" + HEAD + b"Content-Length: 0\r\n\r\n", 405),
    "HEAD on an event stream": (b"HEAD /api/sse/events" + HEAD + b"\r\n", 405),
    "a method that there is not": (b"BREW /whip/a" + HEAD + b"\r\n", 400),
    "a version that there is not": (b"GET /whip/a HTTP/9.9\r\nHost: x\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "nothing of HTTP": (bytes(4) + b"\r\n\r\n", 400),
    "no Host": (b"GET /whip/a HTTP/1.1\r\n\r\n", 400),
    "an expectation": (b"POST /whip/a" + HEAD + b"Expect: tea\r\n" + SDP, 417),
    "an expectation beyond ASCII": (b"GET /x" + HEAD + b"Expect: \xff\r\n\r\n", 417),
    "an Accept that is none": (b"GET /x" + HEAD + b"Accept: ;;q=;,\xff;q=9\r\n\r\n", 404),
    "a token beyond ASCII": (
        b"GET /api/streams/?token=%FF" + HEAD + b"Authorization: Bearer \xff\r\n\r\n",
        200,
    ),
    "If-Match beyond ASCII": (
        b"PATCH /session/a/b" + HEAD + b"If-Match: \xff\r\n"
        b"Content-Type: application/trickle-ice-sdpfrag\r\nContent-Length: 5\r\n\r\nv=0\r\n",
        404,
    ),
    "If-None-Match that is none": (b"GET /" + HEAD + b'If-None-Match: "\xff,\r\n\r\n', 200),
    "JSON 20,000 deep": (
        b"POST /session/a/b" + HEAD + b"Content-Type: application/json\r\n"
        b"Content-Length: 20000\r\n\r\n" + b"[" * 20_000,
        400,
    ),
}  # fmt: skip


async def test_what_is_hardly_http_is_refused_in_peace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # aiohttp logs a traceback for each, which `live777py.log` leaves out.
    caplog.set_level(logging.CRITICAL, "aiohttp.server")
    answers = {}
    async with running() as server:
        where = urlsplit(server.url)
        for name, (request, _) in RAW.items():
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            writer.write(request)
            async with asyncio.timeout(20):
                line = await reader.readline()
            writer.close()
            answers[name] = int(line.split()[1])
        assert await server.streams() == []
    assert answers == {name: status for name, (_, status) in RAW.items()}
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]
