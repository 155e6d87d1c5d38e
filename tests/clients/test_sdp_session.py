from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from aiohttp import web

from live777py.clients import sdp_session
from live777py.clients.sdp_session import (
    MAX_ERROR_BYTES,
    MAX_SDP_BYTES,
    Refused,
    SdpSession,
    Unreachable,
    _located,
)
from live777py.clients.whep import WhepClient
from live777py.clients.whip import WhipClient
from live777py.protocol.headers import VIA
from tests.support.certificates import write_certificate
from tests.support.http import Handler, answering, served

ANSWER = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n"


def serving(handler: Handler) -> AbstractAsyncContextManager[str]:
    """The base URL of a server that answers every request by one function."""
    return served(answering(handler))


def always(response: Callable[[], web.Response]) -> Handler:
    async def handler(_request: web.Request) -> web.Response:
        return response()

    return handler


async def test_an_offer_is_posted_with_type_and_token() -> None:
    seen: list[tuple[str, str, str, bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(
            (
                request.method,
                request.headers["Content-Type"],
                request.headers["Authorization"],
                await request.read(),
            )
        )
        return web.Response(status=201, text=ANSWER, headers={"Location": "/s/1"})

    async with serving(handler) as url, WhipClient("secret") as client:
        session = await client.post(f"{url}/whip/cam", "v=0 offer")
    assert seen == [("POST", "application/sdp", "Bearer secret", b"v=0 offer")]
    assert session.answer == ANSWER


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/session/1", "{base}/session/1"),
        ("cam/1", "{base}/whip/cam/1"),
        ("http://elsewhere:1/x", "http://elsewhere:1/x"),
        (None, None),
        ("", None),
    ],
)
async def test_the_session_may_be_anywhere(
    location: str | None, expected: str | None
) -> None:
    headers = {} if location is None else {"Location": location}
    handler = always(lambda: web.Response(status=201, text=ANSWER, headers=headers))
    async with serving(handler) as url, WhipClient() as client:
        session = await client.post(f"{url}/whip/cam", "v=0")
    assert session.url == (expected and expected.format(base=url))


@pytest.mark.parametrize("status", [201, 508])
async def test_what_a_node_says_of_a_path_is_kept(status: int) -> None:
    via = {VIA: "0123456789abcdef.a/cam"}
    handler = always(lambda: web.Response(status=status, text=ANSWER, headers=via))
    async with serving(handler) as url, WhipClient() as client:
        if status == 201:
            session = await client.post(f"{url}/whip/cam", "v=0")
            assert session.via == via[VIA]
        else:
            with pytest.raises(Refused) as caught:
                await client.post(f"{url}/whip/cam", "v=0")
            assert caught.value.via == via[VIA]


@pytest.mark.parametrize("status", [307, 308])
async def test_redirects_are_followed_with_body_and_token(status: int) -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.path == "/whip/cam":
            return web.Response(status=status, headers={"Location": "/node2/cam"})
        assert request.headers["Authorization"] == "Bearer secret"
        return web.Response(
            status=201,
            text=ANSWER + await request.text(),
            headers={"Location": "session/1", "ETag": '"e"'},
        )

    async with serving(handler) as url, WhipClient("secret") as client:
        session = await client.post(f"{url}/whip/cam", "the offer")
    assert session.answer.endswith("the offer")
    assert session.url == f"{url}/node2/session/1"
    assert session.etag == '"e"'


async def test_a_redirect_to_another_server_takes_the_token_along() -> None:
    async def there(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer secret"
        return web.Response(status=201, text=ANSWER, headers={"Location": "/s/1"})

    async with serving(there) as second:
        headers = {"Location": f"{second}/whip/cam"}
        handler = always(lambda: web.Response(status=307, headers=headers))
        async with serving(handler) as first, WhipClient("secret") as client:
            session = await client.post(f"{first}/whip/cam", "v=0")
    assert session.url == f"{second}/s/1"


def test_a_redirect_does_not_show_the_token_to_the_network() -> None:
    before, after = "https://a.example/whip/cam", "http://a.example/whip/cam"
    with pytest.raises(ValueError, match="show the token"):
        WhipClient("secret")._redirected(before, after)
    assert WhipClient()._redirected(before, after) == after
    assert WhipClient("secret")._redirected(after, "/b") == "http://a.example/b"


@pytest.mark.parametrize(
    ("url", "location", "expected"),
    [
        ("https://a/whip/x", "http://a/session/1", "https://a/session/1"),
        ("https://a/whip/x", "/session/1", "https://a/session/1"),
        ("http://a/whip/x", "http://a/session/1", "http://a/session/1"),
        ("http://a/whip/x", "https://a/session/1", "https://a/session/1"),
    ],
)
def test_neither_does_the_url_of_a_session(
    url: str, location: str, expected: str
) -> None:
    assert _located(url, location) == expected


async def test_redirects_in_a_circle_end() -> None:
    handler = always(lambda: web.Response(status=307, headers={"Location": "/again"}))
    async with serving(handler) as url, WhipClient() as client:
        with pytest.raises(Refused, match="redirects"):
            await client.post(f"{url}/whip/cam", "v=0")


async def test_ice_servers_are_read_from_link_headers() -> None:
    async def handler(_request: web.Request) -> web.Response:
        response = web.Response(status=201, text=ANSWER)
        response.headers.add("Link", '<stun:stun.example:3478>; rel="ice-server"')
        response.headers.add(
            "Link",
            '<turn:turn.example>; rel="ice-server"; username="u"; credential="c"',
        )
        return response

    async with serving(handler) as url, WhipClient() as client:
        session = await client.post(f"{url}/whip/cam", "v=0")
    assert [server.host for server in session.ice_servers] == [
        "stun.example",
        "turn.example",
    ]


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 404, 406, 409, 500])
async def test_what_is_no_session_is_an_error_with_status_and_text(status: int) -> None:
    text = "" if status == 204 else "no such\nstream"
    handler = always(lambda: web.Response(status=status, text=text))
    async with serving(handler) as url, WhipClient() as client:
        with pytest.raises(Refused) as refused:
            await client.post(f"{url}/whip/cam", "v=0")
    assert refused.value.status == status
    assert refused.value.body == text
    if text:
        assert str(refused.value).endswith(f"answered {status}: no such stream")


@pytest.mark.parametrize("status", [201, 401])
async def test_a_server_that_repeats_the_request_shows_no_secret(status: int) -> None:
    async def echo(request: web.Request) -> web.Response:
        text = f"{request.headers['Authorization']} is not good for {request.path_qs}"
        return web.Response(status=status, text=text)

    async with serving(echo) as url, WhipClient("hush") as client:
        with pytest.raises(Refused) as refused:
            await client.post(f"{url}/whip/cam?key=confidential", "v=0")
        assert client.hidden(f"{url}/s/hush") == f"{url}/s/***"
    assert "Bearer *** is not good" in str(refused.value)
    for text in (str(refused.value), refused.value.body):
        assert "hush" not in text
        assert "confidential" not in text


async def test_the_text_of_an_error_moves_no_cursor() -> None:
    handler = always(lambda: web.Response(status=500, text="\x1b[2J broken\x07"))
    async with serving(handler) as url, WhipClient() as client:
        with pytest.raises(Refused, match=r"answered 500: \[2J broken$"):
            await client.post(f"{url}/whip/cam", "v=0")


async def test_sdp_with_a_status_200_is_a_session_too() -> None:
    headers = {"Location": "/s/1"}
    handler = always(
        lambda: web.Response(
            text=ANSWER, content_type="application/sdp", headers=headers
        )
    )
    async with serving(handler) as url, WhipClient() as client:
        session = await client.post(f"{url}/whip/cam", "v=0")
    assert (session.url, session.answer) == (f"{url}/s/1", ANSWER)


def in_an_hour() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (lambda: "7", 7.0),
        (in_an_hour, 3600.0),
        (lambda: "Sun, 06 Nov 1994 08:49:37 GMT", None),
        (lambda: "soon", None),
    ],
)
async def test_a_busy_server_says_when_to_come_back(
    header: Callable[[], str], seconds: float | None
) -> None:
    headers = {"Retry-After": header()}
    handler = always(lambda: web.Response(status=503, text="full", headers=headers))
    async with serving(handler) as url, WhipClient() as client:
        with pytest.raises(Refused) as refused:
            await client.post(f"{url}/whip/cam", "v=0")
    found = refused.value.retry_after
    assert found == (seconds and pytest.approx(seconds, abs=60))


async def test_the_text_of_an_error_is_bounded() -> None:
    handler = always(lambda: web.Response(status=500, text="x" * 1_000_000))
    async with serving(handler) as url, WhipClient() as client:
        with pytest.raises(Refused) as refused:
            await client.post(f"{url}/whip/cam", "v=0")
    assert len(refused.value.body) == MAX_ERROR_BYTES


@pytest.mark.parametrize("body", ["<html>", "", "v=0" + "x" * MAX_SDP_BYTES])
async def test_an_answer_that_is_no_sdp_is_refused(body: str) -> None:
    handler = always(lambda: web.Response(status=201, text=body))
    async with serving(handler) as url, WhipClient() as client:
        with pytest.raises(Refused):
            await client.post(f"{url}/whip/cam", "v=0")


class Sessions:
    """A server that makes sessions and knows which are left; bodies of their answers vary."""

    def __init__(self, body: str = ANSWER) -> None:
        self.left: set[str] = set()
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_answer.set()
        self.may_end.set()
        self._body = body

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Make a session, or delete it."""
        if request.method == "DELETE":
            self.left.discard(request.path)
            return web.Response()
        self.asked.set()
        await self.may_answer.wait()
        self.left.add("/s/1")
        response = web.StreamResponse(status=201, headers={"Location": "/s/1"})
        await response.prepare(request)
        await response.write(self._body.encode())
        await self.may_end.wait()
        return response


@pytest.mark.parametrize("body", ["<html>", "v=0" + "x" * MAX_SDP_BYTES])
async def test_a_session_whose_answer_is_no_use_is_deleted(body: str) -> None:
    sessions = Sessions(body)
    async with serving(sessions.handle) as url, WhipClient() as client:
        with pytest.raises(Refused):
            await client.post(f"{url}/whip/cam", "v=0")
        assert sessions.asked.is_set()
        assert sessions.left == set()


async def test_a_session_whose_answer_does_not_end_is_deleted() -> None:
    sessions = Sessions()
    sessions.may_end.clear()
    async with serving(sessions.handle) as url:
        async with WhipClient(timeout=2.5) as client:
            with pytest.raises(Unreachable):
                await client.post(f"{url}/whip/cam", "v=0")
        assert sessions.asked.is_set()
        assert sessions.left == set()
        sessions.may_end.set()


@pytest.mark.parametrize("late", [True, False])
async def test_a_session_that_nobody_waits_for_any_more_is_deleted(late: bool) -> None:
    sessions = Sessions()
    if late:
        sessions.may_answer.clear()
    async with serving(sessions.handle) as url, WhipClient() as client:
        posting = asyncio.create_task(client.post(f"{url}/whip/cam", "v=0"))
        await sessions.asked.wait()
        posting.cancel()
        await asyncio.sleep(0)
        sessions.may_answer.set()
        with pytest.raises(asyncio.CancelledError):
            await posting
        assert sessions.left == set()


async def test_who_refuses_somebody_who_has_left_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = asyncio.Event()

    async def handler(_request: web.Request) -> web.Response:
        asked.set()
        await asyncio.sleep(0.05)
        return web.Response(status=403)

    async with serving(handler) as url, WhipClient() as client:
        posting = asyncio.create_task(client.post(f"{url}/whip/cam", "v=0"))
        await asked.wait()
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting
    assert caplog.messages == []


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    never = asyncio.Event()

    async def handler(_request: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    async with serving(handler) as url:
        async with WhipClient(timeout=0.05) as client:
            with pytest.raises(Unreachable, match=r"no answer within 0\.05 s"):
                await client.post(f"{url}/whip/cam", "v=0")
        never.set()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/whip/cam", ": Connection refused"),
        ("ftp://127.0.0.1/", "not an http"),
        ("whip/cam", "not an http"),
    ],
)
async def test_what_cannot_be_reached_says_so(url: str, reason: str) -> None:
    async with WhipClient() as client:
        with pytest.raises(Unreachable, match=reason):
            await client.post(url, "v=0")


async def test_a_server_that_cannot_be_connected_to_is_given_up_sooner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sdp_session, "CONNECT_TIMEOUT", 0.2)
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # Whoever comes after those that fill the queue is not even refused.
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/whip/cam"
        async with WhipClient() as client:
            with pytest.raises(Unreachable, match=r"no connection within 0\.2 s"):
                await client.post(url, "v=0")


REDIRECT = b"HTTP/1.1 307 -\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"\x16\x03\x01 this is not HTTP\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 201 -\r\nContent-Length: -1\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 201 -\r\nX: " + b"x" * 10_000 + b"\r\n\r\n", "not HTTP"),
        (REDIRECT % b"http://host:99999/?key=hidden", "cannot be used"),
        (REDIRECT % b"//[::1/?key=hidden", "URL"),
    ],
)
async def test_garbage_instead_of_http_is_an_error_that_shows_no_url(
    response: bytes, reason: str
) -> None:
    async def garbage(
        _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(response)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(garbage, "127.0.0.1", 0)
    async with server, WhipClient() as client:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match=reason) as failed:
            await client.post(f"http://127.0.0.1:{port}/whip/cam?key=hidden", "v=0")
    assert "hidden" not in str(failed.value)


@pytest.mark.parametrize("is_tls", [True, False])
async def test_a_server_whose_tls_is_no_use_is_told_so(
    is_tls: bool, tmp_path: Path
) -> None:
    context: ssl.SSLContext | None = None
    reason = "does not speak TLS"
    if is_tls:
        write_certificate(tmp_path / "cert", tmp_path / "key")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
        reason = "certificate is not valid here: self.signed certificate"

    async def answer(
        _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"HTTP/1.1 400 -\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server, WhipClient() as client:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match=reason):
            await client.post(f"https://127.0.0.1:{port}/whip/cam", "v=0")


async def test_a_host_that_there_is_not_is_named_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with WhipClient() as client:
        with pytest.raises(Unreachable, match=r"nowhere.*: Name or service not known"):
            await client.post("http://nowhere.invalid/whip/cam", "v=0")


async def test_a_session_is_deleted_with_the_token() -> None:
    seen: list[tuple[str, str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, request.headers["Authorization"]))
        return web.Response(status=204)

    async with serving(handler) as url, WhipClient("secret") as client:
        assert await client.delete(SdpSession(f"{url}/s/1", "")) == 204
    assert seen == [("DELETE", "/s/1", "Bearer secret")]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"ETag": '"e"'}, True),
        ({"Accept-Patch": "application/trickle-ice-sdpfrag"}, True),
        ({"Accept-Patch": "Application/Trickle-ICE-sdpfrag, application/sdp"}, True),
        ({"ETag": '"e"', "Accept-Patch": "application/sdp"}, False),
    ],
)
async def test_a_server_says_whether_candidates_may_follow(
    headers: dict[str, str], expected: bool
) -> None:
    handler = always(lambda: web.Response(status=201, text=ANSWER, headers=headers))
    async with serving(handler) as url, WhipClient() as client:
        session = await client.post(f"{url}/whip/cam", "v=0")
    assert session.takes_fragments is expected


@pytest.mark.parametrize("etag", ['"e"', None])
async def test_candidates_are_patched_with_token_and_etag(etag: str | None) -> None:
    seen: list[tuple[str, str | None, str, bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer secret"
        match = request.headers.get("If-Match")
        media_type = request.headers["Content-Type"]
        seen.append((request.method, match, media_type, await request.read()))
        return web.Response(status=204)

    async with serving(handler) as url, WhipClient("secret") as client:
        assert await client.trickle(SdpSession(f"{url}/s/1", "", etag=etag), "a=x\r\n")
    assert seen == [("PATCH", etag, "application/trickle-ice-sdpfrag", b"a=x\r\n")]


async def test_candidates_that_are_not_taken_are_no_error() -> None:
    handler = always(lambda: web.Response(status=405))
    async with serving(handler) as url, WhipClient() as client:
        assert not await client.trickle(SdpSession(f"{url}/s/1", ""), "a=x")
        assert not await client.trickle(SdpSession("http://127.0.0.1:1/s", ""), "a=x")
        assert not await client.trickle(SdpSession(None, ""), "a=x")


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, True), (410, True), (204, False), (405, False), (412, False), (503, False)],
)
async def test_a_server_says_whether_it_knows_a_session(
    status: int, expected: bool
) -> None:
    handler = always(lambda: web.Response(status=status))
    async with serving(handler) as url, WhipClient() as client:
        assert await client.has_lost(SdpSession(f"{url}/s/1", ""), "a=x") is expected


async def test_a_server_that_is_gone_has_lost_its_sessions() -> None:
    handler = always(lambda: web.Response(status=204))
    async with WhipClient() as client:
        async with serving(handler) as url:
            session = SdpSession(f"{url}/s/1", "")
            assert not await client.has_lost(session, "a=x")
        # The connection from before is of no use, and there is no other.
        assert await client.has_lost(session, "a=x")
        assert not await client.has_lost(SdpSession(None, ""), "a=x")


async def test_a_delete_that_reaches_nobody_is_no_error() -> None:
    async with WhipClient() as client:
        assert await client.delete(SdpSession(None, "")) is None
        assert await client.delete(SdpSession("http://127.0.0.1:1/s", "")) is None


def countering(**headers: str) -> Handler:
    """A server that offers by itself."""
    return always(
        lambda: web.Response(
            status=406, text=ANSWER, content_type="application/sdp", headers=headers
        )
    )


async def test_an_offer_of_the_servers_is_answered() -> None:
    seen: list[tuple[str, str, str, bytes]] = []
    offers = countering(Location="/s/1", ETag='"e"')

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return await offers(request)
        media_type = request.headers["Content-Type"]
        seen.append((request.method, request.path, media_type, await request.read()))
        return web.Response(status=204)

    async with serving(handler) as url, WhepClient(takes_offers=True) as client:
        session = await client.post(f"{url}/whep/cam", "v=0")
        assert (session.is_offer, session.answer) == (True, ANSWER)
        await client.answer(session, "v=0 answer")
    assert seen == [("PATCH", "/s/1", "application/sdp", b"v=0 answer")]


async def test_an_answer_may_be_refused_or_not_arrive() -> None:
    handler = always(lambda: web.Response(status=409, text="too late"))
    async with serving(handler) as url, WhepClient(takes_offers=True) as client:
        with pytest.raises(Refused, match="409: too late"):
            await client.answer(SdpSession(f"{url}/s/1", ""), "v=0")
        with pytest.raises(Unreachable, match="refused"):
            await client.answer(SdpSession("http://127.0.0.1:1/s", ""), "v=0")


async def test_whoever_takes_no_offers_is_refused() -> None:
    async with serving(countering(Location="/s/1")) as url, WhepClient() as client:
        with pytest.raises(Refused, match="406"):
            await client.post(f"{url}/whep/cam", "v=0")


async def test_an_offer_that_cannot_be_answered_is_a_refusal() -> None:
    async with serving(countering()) as url, WhepClient(takes_offers=True) as client:
        with pytest.raises(Refused, match="406"):
            await client.post(f"{url}/whep/cam", "v=0")
