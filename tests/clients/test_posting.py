"""One POST: signed, bounded, and every way in which it can fail."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import re
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from live777py.clients import posting
from live777py.clients.posting import NoReply, Reply, origin, printable, signature
from tests.support.receiver import (
    Answer,
    Received,
    answers,
    receiving,
    silence,
)

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "webhooks.md"


async def post(url: str, *, secret: str = "", timeout: float = 20.0) -> Reply:
    async with posting.client() as http:
        return await posting.post(http, url, b"{}", secret=secret, timeout=timeout)


def replying(response: web.Response) -> Answer:
    async def answer(_received: Received) -> web.StreamResponse:
        return response

    return answer


def test_a_signature_is_an_hmac_of_time_and_body() -> None:
    # `printf '1790000000.{}' | openssl dgst -sha256 -hmac secret`
    assert signature("secret", b"{}", 1_790_000_000.9) == (
        "t=1790000000,"
        "v1=d0cadd434460d4af55e7ab90d79c1802591d7001a77c9e06471d0e3ec8cc85ae"
    )


async def test_a_body_is_posted_as_json_with_a_signature_of_now() -> None:
    before = int(time.time())
    async with receiving() as receiver:
        reply = await post(receiver.url, secret="secret")
    [received] = receiver.received
    assert reply.is_success
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["User-Agent"] == "live777py"
    header = received.headers["X-Live777-Signature"]
    seconds = int(header.removeprefix("t=").partition(",")[0])
    assert header == signature("secret", received.body, seconds)
    assert before <= seconds <= int(time.time())


def test_the_check_in_the_documentation_works() -> None:
    [code] = re.findall("```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {"hmac": hmac, "hashlib": hashlib, "time": time}
    exec(code, names)  # noqa: S102 - our own page
    is_authentic = names["is_authentic"]
    header = signature("secret", b"body", time.time())
    assert is_authentic(b"secret", header, b"body")
    assert not is_authentic(b"secret", header, b"another body")
    assert not is_authentic(b"another secret", header, b"body")
    old = signature("secret", b"body", time.time() - 400)
    assert not is_authentic(b"secret", old, b"body")


async def test_without_a_secret_nothing_is_signed() -> None:
    async with receiving() as receiver:
        await post(receiver.url)
    assert "X-Live777-Signature" not in receiver.received[0].headers


async def test_a_redirect_is_not_followed() -> None:
    async with (
        receiving() as other,
        receiving(answers(307, headers={"Location": other.url})) as receiver,
    ):
        reply = await post(receiver.url)
    assert not reply.is_success
    assert str(reply) == "answered 307: redirects are not followed"
    assert other.received == []


async def test_a_long_answer_is_cut() -> None:
    long = web.Response(status=400, text="x" * 1_000_000)
    async with receiving(replying(long)) as receiver:
        reply = await post(receiver.url)
    assert len(reply.text) == posting.MAX_REPLY_BYTES
    assert str(reply) == f"answered 400: {'x' * posting.MAX_SAID}"


async def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = web.Response(
        status=400,
        body=gzip.compress(bytes(1_000_000)),
        headers={"Content-Encoding": "gzip"},
    )
    async with receiving(replying(bomb)) as receiver:
        reply = await post(receiver.url)
    assert receiver.received[0].headers["Accept-Encoding"] == "identity"
    assert reply.status == 400
    assert reply.text != "\0" * len(reply.text)


async def test_what_is_said_becomes_one_line() -> None:
    rude = web.Response(status=404, text="no\r\nsuch\x1b[31m \u202ehook\0")
    async with receiving(replying(rude)) as receiver:
        assert str(await post(receiver.url)) == "answered 404: no such [31m hook"


async def test_a_page_for_people_is_not_quoted() -> None:
    page = web.Response(status=502, text="<html>", content_type="text/html")
    async with receiving(replying(page)) as receiver:
        assert str(await post(receiver.url)) == "answered 502"


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("", 0, 0),
        ("soon", 0, 0),
        ("-3", 0, 0),
        ("9" * 12, 0, 0),
        ("in an hour", 3000, 3600),
        (formatdate(0, usegmt=True), 0, 0),
    ],
)
async def test_retry_after_is_seconds_or_a_date(
    value: str, low: float, high: float
) -> None:
    if value == "in an hour":
        value = formatdate(time.time() + 3600, usegmt=True)
    async with receiving(answers(429, headers={"Retry-After": value})) as receiver:
        assert low <= (await post(receiver.url)).retry_after <= high


async def test_no_answer_in_time_is_an_error() -> None:
    async with receiving(silence) as receiver:
        with pytest.raises(NoReply, match=r"no answer within 0\.05 s"):
            await post(receiver.url, timeout=0.05)


async def test_an_answer_that_never_ends_is_an_error() -> None:
    async def drip(received: Received) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(received.request)
        await response.write(b"x")
        await asyncio.Event().wait()
        return response

    async with receiving(drip) as receiver:
        with pytest.raises(NoReply, match="no answer within"):
            await post(receiver.url, timeout=0.1)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"", "closed without an answer"),
        (b"\x16\x03\x01 this is not HTTP\r\n\r\n", "no HTTP response"),
    ],
)
async def test_what_is_no_http_is_an_error(reply: bytes, reason: str) -> None:
    async def garbage(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"{}")
        writer.write(reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(garbage, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NoReply, match=reason):
            await post(f"http://127.0.0.1:{port}/hook?token=t0ken")


async def test_nobody_there_is_an_error_that_does_not_show_the_url() -> None:
    with pytest.raises(NoReply) as caught:
        await post("http://127.0.0.1:1/hook?token=t0ken")
    assert str(caught.value) == "Connection refused"


async def test_a_name_that_is_none_is_an_error() -> None:
    with pytest.raises(NoReply, match="its name cannot be resolved"):
        await post("http://hooks.invalid/")


async def test_https_without_tls_is_an_error() -> None:
    async with receiving() as receiver:
        with pytest.raises(NoReply, match="no TLS there"):
            await post(receiver.url.replace("http:", "https:"))
    assert receiver.received == []


async def test_a_certificate_of_nobody_known_is_an_error(tmp_path: Path) -> None:
    async def never(_reader: object, _writer: object) -> None:
        raise AssertionError("the handshake fails")

    server = await asyncio.start_server(
        never, "127.0.0.1", 0, ssl=self_signed(tmp_path)
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NoReply, match="its certificate is not valid here"):
            await post(f"https://127.0.0.1:{port}/")


def self_signed(folder: Path) -> ssl.SSLContext:
    """TLS with a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://hooks.example.org/a/b?token=t0ken", "https://hooks.example.org"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_the_log_shows_where_a_url_leads_and_no_more(url: str, expected: str) -> None:
    assert origin(url) == expected


def test_a_text_is_cut_where_it_is_shown() -> None:
    assert printable("a\tb\n" + "c" * 500) == "a b " + "c" * (posting.MAX_SAID - 4)
