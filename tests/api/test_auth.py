"""Tokens over real sockets: live777's faults, what is open, what a failure costs."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import jwt
import pytest
from aiohttp import ClientSession, web
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from live777py.api import auth
from live777py.api.auth import (
    GRANT,
    FailedAttempts,
    bearer_token,
    query_token,
    with_token,
)
from live777py.api.front import Front
from live777py.api.limits import RateLimiter
from live777py.core.access import Right
from live777py.errors import BadToken
from live777py.tokens import Verifier, expiry, mint
from tests.support.http import serving
from tests.support.jwk import EC, RSA, key_set, pem, public, signed
from tests.support.server import RunningServer, running

OFFERS = Path(__file__).parents[1] / "data" / "offers"
WHIP_OFFER = (OFFERS / "chromium-156-whip-initial.sdp").read_bytes()
WHEP_OFFER = (OFFERS / "chromium-156-whep-initial.sdp").read_bytes()
SDP = {"Content-Type": "application/sdp"}
SECRET = "a secret of more than thirty-two characters"
STATIC = "sesame-open"
ICE = [{"urls": ["turn:t.example"], "username": "u", "credential": "p"}]

CHALLENGE = 'Bearer realm="live777py"'


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "DELAY", 0.0)
    monkeypatch.setattr(auth, "JITTER", 0.0)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def minted(stream: str = "cam", mode: int = 7, *, seconds: float = 60) -> str:
    return mint(SECRET, stream, Right(mode), expires=expiry(seconds))


async def post(
    http: ClientSession, path: str, token: str | None
) -> tuple[int, str, str]:
    """Status, Location and body of a POST with an offer."""
    headers = SDP if token is None else {**SDP, **bearer(token)}
    offer = WHEP_OFFER if path.startswith("/whep") else WHIP_OFFER
    async with http.post(path, data=offer, headers=headers) as response:
        location = response.headers.get("Location", "")
        return response.status, location, await response.text()


def by_key(key: bytes, claims: object) -> str:
    """A token by HS256 with a key that PyJWT would not sign with."""
    text = ".".join(
        segment(json.dumps(part).encode())
        for part in ({"alg": "HS256", "typ": "JWT"}, claims)
    )
    return f"{text}.{segment(hmac.digest(key, text.encode(), 'sha256'))}"


def segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# The six faults of live777's authentication.


async def test_fault_1_an_empty_secret_never_verifies() -> None:
    claims = {"id": "*", "mode": 7, "exp": int(time.time()) + 60}
    async with (
        running(auth={"tokens": [STATIC], "secret": ""}) as server,
        ClientSession(server.url) as http,
    ):
        assert (await post(http, "/whip/cam", by_key(b"", claims)))[0] == 401
        assert (await post(http, "/whip/cam", STATIC))[0] == 201


async def test_fault_2_a_secret_alone_switches_authentication_on() -> None:
    async with (
        running(auth={"secret": SECRET}) as server,
        ClientSession(server.url) as http,
    ):
        assert (await post(http, "/whip/cam", None))[0] == 401
        async with http.get("/api/streams/") as response:
            assert response.status == 401
        assert (await post(http, "/whip/cam", minted()))[0] == 201


async def test_fault_3_a_streams_token_may_use_its_own_sessions() -> None:
    token = minted("cam", Right.PUBLISH.value)
    async with (
        running(auth={"secret": SECRET}) as server,
        ClientSession(server.url) as http,
    ):
        status, location, _ = await post(http, "/whip/cam", token)
        assert status == 201
        for method in ("GET", "DELETE"):
            for other in (minted("other"), minted("cam", 0)):
                headers = bearer(other)
                async with http.request(method, location, headers=headers) as response:
                    assert response.status == 403
            async with http.request(method, location) as response:
                assert response.status == 401
        async with http.get(location, headers=bearer(token)) as response:
            assert response.status == 204
        async with http.delete(location, headers=bearer(token)) as response:
            assert response.status == 204


async def test_fault_4_tokens_are_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[int] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append(len(left))
        return left == right

    async with (
        running(auth={"tokens": ["first", "second", "a-longer-third"]}) as server,
        ClientSession(server.url) as http,
    ):
        monkeypatch.setattr("hmac.compare_digest", compare)
        async with http.get("/api/streams/", headers=bearer("first")) as response:
            assert response.status == 200
    assert compared == [32, 32, 32], "all of them, as digests of one length"


async def test_fault_5_the_algorithm_is_pinned_to_its_key(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(key_set(public(RSA, "r"), public(EC, "e")))
    keys = {"jwks_file": str(file), "secret": SECRET}
    payload = {"id": "*", "mode": 7, "exp": int(time.time()) + 60}
    unsigned = jwt.encode(payload, "", algorithm="none")
    async with (
        running(auth=keys) as server,
        ClientSession(server.url) as http,
    ):
        for forged in (
            unsigned,
            by_key(pem(RSA), payload),
            signed(SECRET * 2, "HS384"),
            signed(SECRET * 2, "HS512"),
            signed(RSA, "PS256", "r"),
            signed(RSA, "RS512", "r"),
            signed(RSA, "RS256", "e"),
            signed(EC, "ES256", "r"),
        ):
            assert (await post(http, "/whip/cam", forged))[0] in {401, 429}
        for good in (signed(RSA, "RS256", "r"), signed(EC, "ES256", "e"), minted()):
            async with http.get("/nothing", headers=bearer(good)) as response:
                assert response.status == 404


async def test_fault_6_a_token_without_an_end_is_refused() -> None:
    eternal = signed(SECRET, "HS256", exp=None)
    expired = minted(seconds=-3600)
    early = signed(SECRET, "HS256", nbf=int(time.time()) + 3600)
    async with (
        running(auth={"secret": SECRET}) as server,
        ClientSession(server.url) as http,
    ):
        for token, fault in (
            (eternal, "lacks the claim exp"),
            (expired, "has expired"),
            (early, "not valid yet"),
        ):
            status, _, text = await post(http, "/whip/cam", token)
            assert status == 401
            assert fault in text


# What is open, and what is not.


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer undefined"},
        {"Authorization": "Bearer"},
        {"Authorization": ""},
        {"Authorization": "Basic dTpw"},
        {"Authorization": "Bearer some.old.token"},
    ],
)
async def test_without_settings_no_header_does_harm(headers: dict[str, str]) -> None:
    async with (
        running() as server,
        ClientSession(server.url) as http,
        http.post(
            "/whip/cam?token=x", data=WHIP_OFFER, headers={**SDP, **headers}
        ) as response,
    ):
        assert response.status == 201
        assert "token" not in response.headers["Location"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer undefined"},
        {"Authorization": "bearer  "},
        {"Authorization": "Basic dTpw"},
    ],
)
async def test_no_token_is_401_with_a_challenge_and_no_blame(
    headers: dict[str, str],
) -> None:
    async with (
        running(auth={"tokens": [STATIC]}) as server,
        ClientSession(server.url) as http,
        http.post("/whip/cam", data=WHIP_OFFER, headers={**SDP, **headers}) as response,
    ):
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == CHALLENGE
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "token is needed" in await response.text()


async def test_a_wrong_token_is_401_and_says_so() -> None:
    async with (
        running(auth={"tokens": [STATIC]}) as server,
        ClientSession(server.url) as http,
        http.get("/api/streams/", headers=bearer("wrong-one")) as response,
    ):
        assert response.status == 401
        challenge = response.headers["WWW-Authenticate"]
        assert challenge == f'{CHALLENGE}, error="invalid_token"'
        assert "wrong-one" not in await response.text()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/streams/"),
        ("GET", "/metrics"),
        ("GET", "/api/info"),
        ("GET", "/nothing"),
        ("POST", "/"),
        ("POST", "/healthz"),
        ("DELETE", "/session/cam/x"),
        ("PATCH", "/session/cam/x"),
        ("GET", "/whip/cam"),
        ("GET", "//"),
        ("GET", "/tools/../api/streams/"),
        ("GET", "/%61pi/streams/"),
    ],
)
async def test_everything_else_needs_a_token(method: str, path: str) -> None:
    async with (
        running(auth={"tokens": [STATIC]}) as server,
        ClientSession(server.url) as http,
        http.request(method, URL(server.url + path, encoded=True)) as response,
    ):
        assert response.status == 401


async def test_pages_health_and_preflights_need_none() -> None:
    preflight = {"Origin": "http://a", "Access-Control-Request-Method": "POST"}
    async with (
        running(auth={"tokens": [STATIC]}) as server,
        ClientSession(server.url) as http,
    ):
        for path in ("/", "/index.html", "/tools/player.html", "/js/whep.js"):
            async with http.get(path) as response:
                assert response.status == 200
        for path in ("/healthz", "/readyz"):
            async with http.get(path) as response:
                assert response.status != 401
        for path in ("/whip/cam", "/whep/cam", "/session/cam/x", "/api/streams/"):
            async with http.options(path, headers=preflight) as response:
                assert response.status == 200
                assert "Link" not in response.headers


async def test_ice_servers_are_for_those_who_may_use_them() -> None:
    other, own = minted("other"), minted("cam", Right.SUBSCRIBE.value)
    async with (
        running(auth={"secret": SECRET}, ice_servers=ICE) as server,
        ClientSession(server.url) as http,
    ):
        for headers, links in (({}, 0), (bearer(other), 0), (bearer(own), 1)):
            async with http.options("/whep/cam", headers=headers) as response:
                assert response.status == 200
                assert response.headers["Accept-Post"] == "application/sdp"
                assert len(response.headers.getall("Link", [])) == links
        async with http.options("/whep/cam", headers=bearer("wrong")) as response:
            assert response.status == 401


# What a token may do.


@pytest.fixture
def app() -> web.Application:
    async def handler(request: web.Request) -> web.Response:
        grant = request[GRANT]
        grant.require(Right.PUBLISH, "cam")
        headers = {"Location": "/session/cam/1", "Link": '</session/cam/1/x>; rel="y"'}
        response = web.Response(text=grant.holder, headers=headers)
        response.headers.add("Link", '<stun:s>; rel="ice-server"')
        response.headers.add("Link", '<//evil.example/>; rel="z"')
        return response

    made = Front.of(Verifier([STATIC], SECRET)).application()
    made.router.add_post("/whip", handler)
    return made


@pytest.mark.parametrize(
    ("stream", "mode", "status"),
    [("cam", 2, 200), ("*", 2, 200), ("cam", 5, 403), ("dam", 7, 403), ("*", 5, 403)],
)
async def test_a_token_without_the_right_is_403_and_names_it(
    app: web.Application, stream: str, mode: int, status: int
) -> None:
    token = minted(stream, mode)
    async with (
        serving(app) as http,
        http.post("/whip", headers=bearer(token)) as response,
    ):
        assert response.status == status
        text = await response.text()
        if status == 200:
            assert text == f"token for {stream}"
        else:
            assert "right to publish stream 'cam'" in text
            assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]


async def test_what_rights_open_on_a_real_server() -> None:
    async with (
        running(auth={"secret": SECRET}) as server,
        ClientSession(server.url) as http,
    ):
        assert (await post(http, "/whip/cam", minted("cam", 4)))[0] == 403
        assert (await post(http, "/whep/cam", minted("cam", 2)))[0] == 403
        assert (await post(http, "/whep/cam", minted("*", 4)))[0] == 201
        for path, token, status in (
            ("/api/streams/", minted("*", 1), 200),
            ("/api/streams/", minted("*", 6), 403),
            ("/api/streams/", minted("cam", 7), 403),
            ("/api/streams/cam", minted("cam", 4), 200),
            ("/api/streams/cam", minted("dam", 7), 403),
            ("/api/strategy/", minted("*", 1), 200),
            ("/api/info", minted("cam", 4), 200),
        ):
            async with http.get(path, headers=bearer(token)) as response:
                assert response.status == status, (path, token)


async def test_an_event_source_can_send_its_token_in_the_url_alone() -> None:
    async with (
        running(auth={"tokens": [STATIC]}) as server,
        ClientSession(server.url) as http,
    ):
        async with http.get("/api/sse/streams") as response:
            assert response.status == 401
        async with http.get(f"/api/sse/streams?token={STATIC}") as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"


async def test_a_token_in_the_url_goes_on_in_the_urls_of_the_answer(
    app: web.Application,
) -> None:
    token = minted()
    async with serving(app) as http:
        async with http.post(f"/whip?token={token}") as response:
            assert response.status == 200
            assert response.headers["Location"] == f"/session/cam/1?token={token}"
            assert response.headers["Cache-Control"] == "private"
            assert response.headers.getall("Link") == [
                f'</session/cam/1/x?token={token}>; rel="y"',
                '<stun:s>; rel="ice-server"',
                '<//evil.example/>; rel="z"',
            ]
        async with http.post(f"/whip?token={token}", headers=bearer(token)) as response:
            assert response.status == 200
            assert response.headers["Location"] == "/session/cam/1"


async def test_the_session_url_works_for_a_client_that_can_only_set_a_url(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        running(auth={"tokens": ["a+b/c="]}) as server,
        ClientSession(server.url) as http,
    ):
        path = URL(f"/whip/cam?token={quote('a+b/c=', safe='')}", encoded=True)
        async with http.post(path, data=WHIP_OFFER, headers=SDP) as response:
            assert response.status == 201
            location = response.headers["Location"]
        async with http.post(path, data=WHIP_OFFER, headers=SDP) as response:
            assert response.status == 409, "which is logged"
        async with http.delete(URL(location, encoded=True)) as response:
            assert response.status == 204
    assert "a+b/c=" not in caplog.text
    assert quote("a+b/c=", safe="") not in caplog.text


async def test_the_header_counts_rather_than_the_url(app: web.Application) -> None:
    async with serving(app) as http:
        for headers, url_token, status in (
            (bearer("wrong"), STATIC, 401),
            (bearer(STATIC), "wrong", 200),
            (bearer("undefined"), STATIC, 200),
        ):
            url = f"/whip?token={url_token}"
            async with http.post(url, headers=headers) as response:
                assert response.status == status


async def test_a_provider_of_keys_that_is_down_is_503() -> None:
    # Nobody listens there: the port is of a server that has just gone.
    async with running() as gone:
        url = f"{gone.url}/keys"
    async with (
        running(auth={"jwks_url": url}) as server,
        ClientSession(server.url) as http,
    ):
        token = signed(RSA, "RS256", "r")
        async with http.get("/api/streams/", headers=bearer(token)) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
        async with http.get("/api/streams/") as response:
            assert response.status == 401


# What a wrong token costs.


def failures_of(server: RunningServer) -> FailedAttempts:
    return server.server.front.authenticator.failures


async def test_failures_are_counted_and_logged_without_the_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    token = minted("cam", seconds=-3600)
    async with (
        running(auth={"secret": SECRET}) as server,
        ClientSession(server.url) as http,
    ):
        for _ in range(5):
            async with http.get("/api/streams/", headers=bearer(token)) as response:
                assert response.status == 401
        async with http.get("/api/streams/") as response:
            assert response.status == 401
        assert failures_of(server).total == 5, "no token is no attempt"
    assert token not in caplog.text
    lines = [r for r in caplog.messages if r.startswith("wrong token")]
    assert (
        lines[0]
        == "wrong token from 127.0.0.1: the token has expired: ask for a new one"
    )
    assert len(lines) < 5


async def test_wrong_tokens_wait_and_right_ones_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auth, "DELAY", 3600.0)
    monkeypatch.setattr(auth, "MAX_DELAYED_EACH", 2)
    async with (
        running(auth={"tokens": [STATIC]}) as server,
        ClientSession(server.url) as http,
    ):

        async def wrong() -> int:
            async with http.get("/api/streams/", headers=bearer("x")) as response:
                return response.status

        failures = failures_of(server)
        waiting = [asyncio.create_task(wrong()) for _ in range(2)]
        async with asyncio.timeout(20):
            while failures.delayed < 2:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
        async with http.get("/api/streams/", headers=bearer("x")) as response:
            assert response.status == 429
            assert int(response.headers["Retry-After"]) >= 1
        async with http.get("/api/streams/", headers=bearer(STATIC)) as response:
            assert response.status == 200
        assert (failures.total, failures.refused) == (3, 1)
        for task in waiting:
            assert not task.done()
            task.cancel()


async def test_a_delay_is_a_second_and_up_to_one_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(auth, "asyncio", SimpleNamespace(sleep=sleep))
    failures = FailedAttempts(RateLimiter(0))
    for _ in range(50):
        await failures.note("a", BadToken("no"))
    assert all(1 <= seconds <= 2 for seconds in slept)
    assert len(set(slept)) > 1
    assert failures.delayed == 0
    assert failures._by_address == {}


async def test_those_who_wait_are_bounded_over_all_addresses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auth, "DELAY", 3600.0)
    monkeypatch.setattr(auth, "MAX_DELAYED", 3)
    failures = FailedAttempts(RateLimiter(0))
    tasks = [
        asyncio.create_task(failures.note(str(n), BadToken("no"))) for n in range(5)
    ]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    while len(done) < 2:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
        done = {task for task in tasks if task.done()}
    assert [type(task.exception()) for task in done] == [web.HTTPTooManyRequests] * 2
    for task in waiting:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert failures.delayed == 0


async def test_an_address_that_fails_all_the_time_is_refused_at_once() -> None:
    failures = FailedAttempts(RateLimiter(20, clock=lambda: 0.0))
    await failures.note("a", BadToken("no"))
    await failures.note("a", BadToken("no"))
    with pytest.raises(web.HTTPTooManyRequests):
        await failures.note("a", BadToken("no"))
    await failures.note("b", BadToken("no"))


# Parsers.


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearer undefined", None),
        ("Bearer null", None),
        ("Bearer abc", "abc"),
        ("bEARER \t abc ", "abc"),
        ("Bearer a b", "a b"),
        ("Bearerabc", None),
        ("Basic dTpw", None),
        ("Token abc", None),
    ],
)
def test_the_token_of_a_header(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token


@given(st.text())
@example("Bearer \n")
@example("Bearer \ud800")
def test_no_header_is_more_than_a_wrong_token(header: str) -> None:
    token = bearer_token(header)
    assert token is None or (token == token.strip() and token in header)


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1))
def test_every_token_comes_back_from_its_header(token: str) -> None:
    absent = token.lower() in {"undefined", "null"}
    assert bearer_token(f"Bearer {token}") == (None if absent else token)


@given(st.text(st.characters(codec="ascii", min_codepoint=0x21), min_size=1))
def test_every_token_comes_back_from_its_url(token: str) -> None:
    for path in ("/session/cam/1", "/session/cam/1?a=b", "/session/cam/1#x"):
        url = URL(with_token(path, token), encoded=True)
        request = SimpleNamespace(rel_url=url)
        if token.strip().lower() in {"undefined", "null"}:
            continue
        assert query_token(request) == token.strip()  # type: ignore[arg-type]
        assert url.path == "/session/cam/1"


@pytest.mark.parametrize("path", ["/metrics", "/api/streams/", "/api/strategy/"])
async def test_what_is_about_all_streams_is_not_for_a_token_of_one(path: str) -> None:
    async with (
        running(auth={"secret": SECRET}) as server,
        ClientSession(server.url) as http,
    ):
        for token, status in ((minted("cam"), 403), (minted("*", 1), 200)):
            headers = {"Authorization": f"Bearer {token}"}
            async with http.get(path, headers=headers) as response:
                assert response.status == status
