"""The application as a whole: what is nobody's route."""

from __future__ import annotations

from tests.api.native.support import client


async def test_unknown_paths_and_methods_are_answered_in_plain_text() -> None:
    async with client() as http:
        async with http.get("/nothing") as response:
            assert response.status == 404
            assert response.content_type == "text/plain"
        async with http.put("/whip/cam") as response:
            assert response.status == 405
            assert response.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
