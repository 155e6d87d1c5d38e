"""What is asked of the node itself."""

from __future__ import annotations

import platform

import live777py
from tests.api.native.support import client
from tests.support.golden import golden


async def test_the_strategy_has_live777s_keys_in_snake_case() -> None:
    strategy = {"each_stream_max_sub": 5, "auto_delete_whip": 1000}
    async with client(strategy=strategy) as http:
        shown = []
        for path in ("/api/strategy/", "/api/strategy"):
            async with http.get(path) as response:
                assert response.status == 200
                shown.append(await response.json())
    assert shown[0] == shown[1] == golden("native/strategy.json")


async def test_the_info_has_the_version() -> None:
    async with client() as http, http.get("/api/info") as response:
        info = await response.json()
    facts = {"version": live777py.__version__, "python": platform.python_version()}
    assert info == golden("native/info.json") | facts


async def test_a_node_that_is_well_says_so() -> None:
    async with client() as http:
        for path, text in (("/healthz", "ok"), ("/readyz", "ready")):
            async with http.get(path) as response:
                assert response.status == 200
                assert (await response.text()).strip() == text
