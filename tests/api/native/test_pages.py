"""The pages as a browser gets them."""

from __future__ import annotations

import pytest
from aiohttp import ClientSession

from tests.support.server import running


@pytest.mark.parametrize("path", ["/", "/tools/publish.html", "/tools/player.html"])
async def test_a_page_is_html_with_a_policy_that_allows_no_foreign_code(
    path: str,
) -> None:
    async with (
        running() as server,
        ClientSession(server.url) as http,
        http.get(path, params={"id": "cam"}) as response,
    ):
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "<!doctype html>" in (await response.text()).lower()


async def test_a_page_that_the_browser_has_is_not_sent_again() -> None:
    async with running() as server, ClientSession(server.url) as http:
        async with http.get("/") as response:
            tag = response.headers["ETag"]
        async with http.get("/", headers={"If-None-Match": tag}) as response:
            assert response.status == 304
        async with http.get("/", headers={"If-None-Match": '"other"'}) as response:
            assert response.status == 200


async def test_only_pages_are_served() -> None:
    async with running() as server, ClientSession(server.url) as http:
        for path in ("/../config.py", "/web", "/tools/", "/tools/../../errors.py"):
            async with http.get(path) as response:
                assert response.status == 404
