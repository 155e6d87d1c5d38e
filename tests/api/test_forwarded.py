"""The client's address is who connected, unless that is a proxy that is trusted."""

from __future__ import annotations

import ipaddress
import logging

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from live777py.api import auth
from live777py.api.auth import MAX_DELAYED_EACH
from live777py.api.forwarded import client_address, client_middleware
from live777py.api.front import Front
from live777py.notation import parse_network
from live777py.tokens import Verifier
from tests.support.http import serving

PROXIES = [parse_network(text) for text in ("127.0.0.1", "10.0.0.0/8", "fd00::/8")]
XFF, FORWARDED = "X-Forwarded-For", "Forwarded"


async def found(peer: str, *headers: tuple[str, str]) -> str:
    """The client's address of a request that comes from `peer`."""
    request = make_mocked_request("GET", "/", CIMultiDict(headers)).clone(remote=peer)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=client_address(request))

    response = await client_middleware(PROXIES)(request, handler)
    assert isinstance(response, web.Response)
    return response.text or ""


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("fe80::1%eth0", "fe80::1"),
        # What a client claims stands before what the proxy saw.
        ("9.9.9.9, 1.2.3.4", "1.2.3.4"),
        ("127.0.0.1,1.2.3.4", "1.2.3.4"),
        ("rubbish, 1.2.3.4", "1.2.3.4"),
        # Over several proxies, and all the way inside.
        ("9.9.9.9, 1.2.3.4 , 10.0.0.2, fd00::5", "1.2.3.4"),
        ("10.1.1.1, 10.0.0.2", "10.1.1.1"),
        # What cannot be believed leaves the peer.
        ("", "10.0.0.1"),
        ("unknown", "10.0.0.1"),
        ("1.2.3.4, rubbish", "10.0.0.1"),
        ("1.2.3.4, ", "10.0.0.1"),
        ("1.2.3.4, rubbish, 10.0.0.2", "10.0.0.1"),
        ("1.2.3.4:99999", "10.0.0.1"),
        ("1.2.3.4.5", "10.0.0.1"),
        ("\xff", "10.0.0.1"),
    ],
)
async def test_the_last_address_that_is_no_trusted_proxy_is_the_client(
    value: str, client: str
) -> None:
    assert await found("10.0.0.1", (XFF, value)) == client


async def test_several_lines_are_one_list() -> None:
    headers = (XFF, "9.9.9.9, 1.2.3.4"), (XFF, "10.0.0.2")
    assert await found("10.0.0.1", *headers) == "1.2.3.4"
    headers = (FORWARDED, "for=9.9.9.9"), (FORWARDED, "for=1.2.3.4, for=10.0.0.2")
    assert await found("10.0.0.1", *headers) == "1.2.3.4"


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("for=1.2.3.4", "1.2.3.4"),
        ('For="1.2.3.4:80";proto=https;by=10.0.0.1', "1.2.3.4"),
        ('for="[2001:db8::1]:4711"', "2001:db8::1"),
        ("for=9.9.9.9, proto=http;for=1.2.3.4, for=10.0.0.2", "1.2.3.4"),
        ("for=unknown", "10.0.0.1"),
        ("for=_hidden, for=10.0.0.2", "10.0.0.1"),
        ("for=9.9.9.9, proto=https", "10.0.0.1"),
        ('for="1.2.3.4', "10.0.0.1"),
        ("1.2.3.4", "10.0.0.1"),
    ],
)
async def test_forwarded_is_read_as_well(value: str, client: str) -> None:
    assert await found("10.0.0.1", (FORWARDED, value)) == client


async def test_forwarded_is_not_believed_beside_x_forwarded_for() -> None:
    headers = (FORWARDED, "for=9.9.9.9"), (XFF, "1.2.3.4")
    assert await found("10.0.0.1", *headers) == "1.2.3.4"


@pytest.mark.parametrize("peer", ["1.1.1.1", "::1", "11.0.0.1", ""])
async def test_nobody_else_is_believed(peer: str) -> None:
    headers = (XFF, "1.2.3.4"), (FORWARDED, "for=1.2.3.4")
    assert await found(peer, *headers) == peer


async def test_a_proxy_may_come_by_an_ipv6_socket() -> None:
    assert await found("::ffff:10.0.0.1", (XFF, "1.2.3.4")) == "1.2.3.4"


@given(
    st.lists(
        st.tuples(st.sampled_from((XFF, FORWARDED)), st.text(max_size=40)), max_size=4
    )
)
async def test_any_header_leads_to_an_address(headers: list[tuple[str, str]]) -> None:
    client = await found("10.0.0.1", *headers)
    assert str(ipaddress.ip_address(client)) == client


async def test_without_trusted_proxies_headers_mean_nothing() -> None:
    app = Front.of(rate_limit=1).application()
    async with serving(app) as http:
        statuses = []
        for number in range(5):
            headers = {XFF: f"1.2.3.{number}", FORWARDED: f"for=1.2.3.{number}"}
            async with http.post("/", headers=headers) as response:
                statuses.append(response.status)
    assert 429 in statuses


async def test_behind_a_proxy_each_client_has_a_rate_of_its_own() -> None:
    app = Front.of(rate_limit=1, proxies=PROXIES).application()
    async with serving(app) as http:
        for number in range(20):
            async with http.post("/", headers={XFF: f"1.2.3.{number}"}) as response:
                assert response.status == 404
        statuses = []
        for number in range(20):
            # The same client, whatever it claims itself.
            headers = {XFF: f"4.3.2.{number}, 9.9.9.9"}
            async with http.post("/", headers=headers) as response:
                statuses.append(response.status)
    assert 429 in statuses


async def test_wrong_tokens_are_counted_and_logged_by_client(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auth, "DELAY", 0)
    monkeypatch.setattr(auth, "JITTER", 0)
    caplog.set_level(logging.WARNING)
    front = Front.of(Verifier(["t0ken"]), proxies=PROXIES)
    failures = front.authenticator.failures
    # One client has all its delays under way.
    failures._by_address["1.2.3.4"] = MAX_DELAYED_EACH
    async with serving(front.application()) as http:
        for client, status in (("1.2.3.4", 429), ("1.2.3.5", 401)):
            headers = {XFF: client, "Authorization": "Bearer wrong"}
            async with http.get("/", headers=headers) as response:
                assert response.status == status
    assert "wrong token from 1.2.3.4" in caplog.text
    assert "wrong token from 1.2.3.5" in caplog.text
