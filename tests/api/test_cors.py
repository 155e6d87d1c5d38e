"""Cross-origin requests as browsers make them (Fetch standard)."""

from __future__ import annotations

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from live777py.api.cors import CrossOrigin
from live777py.api.front import Front
from tests.support.http import serving

#: As Chromium 156 sends it before a WHIP POST with a token from a page of another origin.
CHROMIUM_PREFLIGHT = {
    "Accept": "*/*",
    "Access-Control-Request-Headers": "authorization,content-type",
    "Access-Control-Request-Method": "POST",
    "Origin": "https://studio.example",
    "Referer": "https://studio.example/",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "cross-site",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0.0.0",
}
STUDIO = "https://studio.example"


def application(cors: CrossOrigin | None = None) -> web.Application:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(text="done")

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Vary": "Accept"})
        await response.prepare(request)
        await response.write(b"one")
        return response

    async def bug(_request: web.Request) -> web.Response:
        raise RuntimeError("a bug")

    app = Front.of(cors=cors).application(
        resource=lambda request: (
            {"Accept-Post": "application/sdp"} if request.path == "/whip" else {}
        ),
        links=lambda _: ("<stun:s>", "<stun:t>"),
    )
    app.router.add_post("/whip", handler)
    app.router.add_get("/stream", stream)
    app.router.add_get("/bug", bug)
    return app


def names(header: str) -> set[str]:
    return {name.strip().lower() for name in header.split(",")}


async def test_chromiums_preflight_is_let_through_by_name() -> None:
    async with (
        serving(application()) as http,
        http.options("/whip", headers=CHROMIUM_PREFLIGHT) as response,
    ):
        assert response.status == 200
        assert await response.read() == b""
        headers = response.headers
        assert headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in headers
        allowed = names(headers["Access-Control-Allow-Headers"])
        assert {
            "authorization",
            "content-type",
            "if-match",
            "etag",
            "last-event-id",
        } <= allowed
        assert "*" not in allowed, "it would not cover Authorization"
        assert names(headers["Access-Control-Allow-Methods"]) == {
            *("post", "get", "head", "patch", "delete", "options")
        }
        assert int(headers["Access-Control-Max-Age"]) > 0
        assert headers["Accept-Post"] == "application/sdp"
        assert "Link" not in headers


async def test_what_scripts_need_is_exposed() -> None:
    async with serving(application()) as http, http.post("/whip") as response:
        exposed = names(response.headers["Access-Control-Expose-Headers"])
    assert exposed >= {
        "accept-patch",
        "accept-post",
        "access-control-allow-methods",
        "etag",
        "link",
        "location",
        "retry-after",
        "www-authenticate",
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/whip", 200),
        ("GET", "/whip", 405),
        ("GET", "/nothing", 404),
        ("GET", "/bug", 500),
        ("GET", "/stream", 200),
        ("OPTIONS", "/whip", 200),
    ],
)
async def test_every_response_has_the_headers(
    method: str, path: str, status: int
) -> None:
    headers = {"Origin": STUDIO}
    async with (
        serving(application(CrossOrigin([STUDIO]))) as http,
        http.request(method, path, headers=headers) as response,
    ):
        assert response.status == status
        assert response.headers["Access-Control-Allow-Origin"] == STUDIO
        assert "Location" in response.headers["Access-Control-Expose-Headers"]
        assert "origin" in names(response.headers["Vary"])


async def test_an_origin_that_is_not_listed_gets_no_headers() -> None:
    cors = CrossOrigin([STUDIO, "http://localhost:3000"])
    async with serving(application(cors)) as http:
        for origin in ("https://evil.example", f"{STUDIO}.evil.example", "null"):
            headers = {**CHROMIUM_PREFLIGHT, "Origin": origin}
            for method in ("OPTIONS", "POST"):
                async with http.request(method, "/whip", headers=headers) as response:
                    assert response.status == 200
                    found = [h for h in response.headers if h.startswith("Access-Con")]
                    assert found == []
                    assert response.headers["Vary"] == "Origin"


async def test_cors_can_be_off() -> None:
    async with serving(application(CrossOrigin([]))) as http:
        async with http.options("/whip", headers=CHROMIUM_PREFLIGHT) as response:
            assert response.status == 200
            assert "Access-Control-Allow-Origin" not in response.headers
            assert "Access-Control-Allow-Headers" not in response.headers
        async with http.post("/whip", headers={"Origin": STUDIO}) as response:
            assert response.status == 200
            assert "Access-Control-Allow-Origin" not in response.headers
            assert "Vary" not in response.headers


async def test_the_vary_of_a_handler_is_kept() -> None:
    async with (
        serving(application(CrossOrigin([STUDIO]))) as http,
        http.get("/stream") as response,
    ):
        assert response.headers["Vary"] == "Accept, Origin"


async def test_options_that_is_no_preflight_tells_what_there_is() -> None:
    async with serving(application()) as http:
        async with http.options("/whip", headers={"Origin": STUDIO}) as response:
            assert response.status == 200
            assert response.headers["Allow"] == "OPTIONS, POST"
            assert response.headers["Accept-Post"] == "application/sdp"
            assert "PATCH" in response.headers["Access-Control-Allow-Methods"]
            assert response.headers.getall("Link") == ["<stun:s>", "<stun:t>"]
        async with http.options("/nothing") as response:
            assert response.status == 404
        async with http.get("/whip") as response:
            assert response.status == 405
            assert response.headers["Allow"] == "OPTIONS, POST"


@given(st.text())
def test_no_origin_but_a_listed_one_is_allowed(origin: str) -> None:
    headers = CrossOrigin([STUDIO]).headers(origin)
    assert bool(headers) == (origin.lower() == STUDIO)
    assert CrossOrigin([]).headers(origin) == {}
    assert CrossOrigin(["*"]).headers(origin)["Access-Control-Allow-Origin"] == "*"
