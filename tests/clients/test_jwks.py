"""Published keys: what is taken of them, when they are fetched, and what a failure costs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from live777py.clients import jwks
from live777py.clients.jwks import (
    MAX_BYTES,
    MAX_KEYS,
    PATIENCE,
    BadKeySet,
    KeysUnavailable,
    PublishedKeys,
    parse,
)
from live777py.errors import BadToken
from tests.support.jwk import EC, OTHER_RSA, RSA, key_set, public


class Source:
    """A provider whose answer a test decides, and a clock."""

    def __init__(self, *keys: dict[str, object]) -> None:
        self.answer: bytes | Exception = key_set(*keys)
        self.now = 1000.0
        self.asked = 0

    async def fetch(self) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def keys(self) -> PublishedKeys:
        return PublishedKeys(self.fetch, "a test", clock=lambda: self.now)


def test_public_keys_for_signatures_are_taken() -> None:
    keys = parse(key_set(public(RSA, "r", use="sig", alg="RS256"), public(EC, "e")))
    assert keys.find("r", "RS256") is not None
    assert keys.find("e", "ES256") is not None
    assert keys.find("e", "RS256") is None
    assert keys.find("x", "RS256") is None
    assert keys.find(None, "ES256") is keys.find("e", "ES256")


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "a"},
        {"kty": "RSA", "kid": "a"},
        {"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "kid": "a", "n": 5, "e": []},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "a"},
        {"kty": ["RSA"], "kid": "a"},
        public(RSA, "a", use="enc"),
        public(RSA, "a", alg="RS512"),
        public(RSA, "a", d="AQAB"),
        public(ec.generate_private_key(ec.SECP384R1()), "a"),
        public(rsa.generate_private_key(65537, 1024), "a"),  # noqa: S505
        "RSA",
        None,
    ],
)
def test_a_key_for_something_else_is_left_out(key: object) -> None:
    document = json.dumps({"keys": [key, public(EC, "e")]}).encode()
    assert list(parse(document).named) == [("e", "ES256")]
    with pytest.raises(BadKeySet, match="no public RSA or P-256 key"):
        parse(json.dumps({"keys": [key]}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b"<html>",
        b"\xff",
        b"[" * 100_000,
        json.dumps(
            {"keys": [public(EC, str(n)) for n in range(MAX_KEYS + 1)]}
        ).encode(),
    ],
)
def test_what_is_no_set_of_keys_is_refused(data: bytes) -> None:
    with pytest.raises(BadKeySet):
        parse(data)


@given(st.binary() | st.text().map(str.encode))
def test_no_answer_of_a_provider_is_more_than_refused(data: bytes) -> None:
    with pytest.raises(BadKeySet):
        parse(data)


async def test_keys_are_fetched_when_the_first_token_needs_them() -> None:
    source = Source(public(RSA, "r"))
    keys = source.keys()
    assert (await keys.find("r", "RS256")).key_id == "r"
    assert (await keys.find("r", "RS256")).key_id == "r"
    assert source.asked == 1


async def test_all_who_wait_share_one_fetch() -> None:
    source = Source(public(RSA, "r"))
    keys = source.keys()
    async with asyncio.TaskGroup() as group:
        found = [group.create_task(keys.find("r", "RS256")) for _ in range(20)]
    assert {task.result().key_id for task in found} == {"r"}
    assert source.asked == 1


async def test_an_unknown_key_is_looked_for_once_a_minute() -> None:
    source = Source(public(RSA, "old"))
    keys = source.keys()
    for _ in range(5):
        with pytest.raises(BadToken):
            await keys.find("new", "RS256")
    assert source.asked == 1
    source.answer = key_set(public(RSA, "old"), public(OTHER_RSA, "new"))
    source.now += PATIENCE - 1
    with pytest.raises(BadToken):
        await keys.find("new", "RS256")
    source.now += 1
    assert (await keys.find("new", "RS256")).key_id == "new"
    assert source.asked == 2


async def test_a_failure_leaves_the_old_keys_in_use(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = Source(public(RSA, "r"))
    keys = source.keys()
    await keys.load()
    source.answer = OSError("no route to host")
    await keys.load()
    await keys.load()
    assert (await keys.find("r", "RS256")).key_id == "r"
    lines = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(lines) == 1
    assert "no route to host" in lines[0].getMessage()
    with pytest.raises(KeysUnavailable):
        await keys.find("new", "RS256")
    source.answer = key_set(public(RSA, "r"))
    await keys.load()
    with pytest.raises(BadToken):
        await keys.find("new", "RS256")


async def test_keys_that_never_came_are_unavailable() -> None:
    source = Source()
    source.answer = aiohttp.ClientError("refused")
    keys = source.keys()
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            await keys.find("r", "RS256")
    assert source.asked == 1


async def test_a_withdrawn_key_is_gone_after_the_next_fetch() -> None:
    source = Source(public(RSA, "r"))
    keys = source.keys()
    assert (await keys.find("r", "RS256")).key_id == "r"
    source.answer = key_set(public(EC, "e"))
    await keys.load()
    with pytest.raises(BadToken):
        await keys.find("r", "RS256")


async def test_a_provider_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jwks, "TIMEOUT", 0.01)

    async def never() -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(KeysUnavailable):
        await PublishedKeys(never, "a test").find("r", "RS256")


async def test_keys_are_fetched_again_in_the_background(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jwks, "REFRESH", 0.001)
    monkeypatch.setattr(jwks, "RETRY", 0.001)
    source = Source(public(RSA, "r"))
    source.answer = OSError("not yet")
    reached = asyncio.Event()

    async def fetch() -> bytes:
        if source.asked == 3:
            source.answer = key_set(public(RSA, "r"))
        if source.asked == 6:
            reached.set()
        return await source.fetch()

    keys = PublishedKeys(fetch, "a test")
    task = asyncio.create_task(keys.run())
    async with asyncio.timeout(20):
        await reached.wait()
    task.cancel()
    assert (await keys.find("r", "RS256")).key_id == "r"


async def test_a_file_is_a_source(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = PublishedKeys(jwks.from_file(file), str(file))
    with pytest.raises(KeysUnavailable):
        await keys.find("r", "RS256")
    file.write_bytes(key_set(public(RSA, "r")))
    await keys.load()
    assert (await keys.find("r", "RS256")).key_id == "r"


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def provider(answer: Answer) -> AsyncIterator[tuple[jwks.Fetch, str]]:
    """A provider on loopback, and what fetches from it."""
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        url = f"http://{host}:{port}"
        async with aiohttp.ClientSession() as http:
            yield jwks.from_url(http, f"{url}/keys"), url
    finally:
        await runner.cleanup()


async def test_keys_come_by_http_over_redirects() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/keys":
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        return web.Response(body=key_set(public(RSA, "r")))

    async with provider(answer) as (fetch, _):
        assert parse(await fetch()).find("r", "RS256") is not None


@pytest.mark.parametrize("location", ["/keys", "file:///etc/passwd", "ftp://x/"])
async def test_redirects_end_somewhere_and_stay_with_http(location: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": location})

    async with provider(answer) as (fetch, _):
        with pytest.raises(BadKeySet, match="redirect"):
            await fetch()


def test_a_redirect_does_not_leave_https() -> None:
    assert jwks._redirected("https://a/x", "/y") == "https://a/y"
    with pytest.raises(BadKeySet):
        jwks._redirected("https://a/x", "http://a/y")


async def test_another_status_and_an_endless_body_are_failures() -> None:
    async def missing(_request: web.Request) -> web.Response:
        return web.Response(status=404)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(MAX_BYTES // 65_536 + 2):
            await response.write(b" " * 65_536)
        return response

    async with provider(missing) as (fetch, _):
        with pytest.raises(BadKeySet, match="404"):
            await fetch()
    async with provider(endless) as (fetch, _):
        with pytest.raises(BadKeySet, match="bytes"):
            await fetch()
