"""The order of what stands before the handlers."""

from __future__ import annotations

from aiohttp import web

from live777py.api.auth import GRANT
from live777py.api.cors import CrossOrigin
from live777py.api.front import Front
from live777py.core.access import EVERYTHING
from live777py.tokens import Verifier
from tests.support.http import serving

PREFLIGHT = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}


async def test_by_default_everybody_may_come_in() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert request[GRANT] is EVERYTHING
        return web.Response(text="done")

    app = Front.of().application()
    app.router.add_post("/", handler)
    async with serving(app) as http, http.post("/") as response:
        assert await response.text() == "done"


async def test_a_flood_is_refused_before_its_tokens_are_looked_at() -> None:
    app = Front.of(Verifier(["t0ken"]), rate_limit=1).application()
    async with serving(app) as http:
        async with http.post("/") as response:
            assert response.status == 401
        statuses = []
        for _ in range(5):
            async with http.post("/") as response:
                statuses.append(response.status)
    assert 429 in statuses


async def test_preflights_need_no_token_and_refusals_have_their_cors_headers() -> None:
    cors = CrossOrigin(["https://a.example"])
    app = Front.of(Verifier(["t0ken"]), rate_limit=1, cors=cors).application()
    async with serving(app) as http:
        for _ in range(3):
            async with http.options("/", headers=PREFLIGHT) as response:
                assert response.status == 200
        statuses = set()
        for _ in range(10):
            async with http.post("/", headers=PREFLIGHT) as response:
                statuses.add(response.status)
                origin = response.headers["Access-Control-Allow-Origin"]
                assert origin == "https://a.example"
    assert statuses == {401, 429}
