"""live777's layer routes, while no publisher sends layers."""

from __future__ import annotations

import pytest

from tests.api.native.support import JSON, begin_both, client


async def test_there_are_no_layers() -> None:
    async with client() as http:
        for session in await begin_both(http):
            async with http.get(f"{session}/layer") as response:
                assert response.status == 200
                assert response.content_type == "application/json"
                assert await response.json() == []


@pytest.mark.parametrize("body", ['{"encodingId": "q"}', '{"encodingId": null}', "{}"])
async def test_none_can_be_chosen(body: str) -> None:
    async with client() as http:
        _, viewer = await begin_both(http)
        path = f"{viewer}/layer"
        async with http.post(path, data=body, headers=JSON) as response:
            assert response.status == 409
            assert "sends no layers" in await response.text()


async def test_no_choice_can_be_given_up() -> None:
    async with client() as http:
        _, viewer = await begin_both(http)
        async with http.delete(f"{viewer}/layer") as response:
            assert response.status == 409
            assert "sends no layers" in await response.text()


async def test_a_publisher_chooses_nothing() -> None:
    async with client() as http:
        publisher, _ = await begin_both(http)
        async with http.delete(f"{publisher}/layer") as response:
            assert response.status == 409
            assert "a publisher's session" in await response.text()


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_an_unknown_session_is_404(method: str) -> None:
    async with client() as http:
        await begin_both(http)
        path = "/session/cam/other/layer"
        async with http.request(method, path, data="{}", headers=JSON) as response:
            assert response.status == 404


@pytest.mark.parametrize("body", ["[]", '{"encodingId": 1}', '{"rid": "q"}'])
async def test_another_shape_is_422(body: str) -> None:
    async with client() as http:
        _, viewer = await begin_both(http)
        path = f"{viewer}/layer"
        async with http.post(path, data=body, headers=JSON) as response:
            assert response.status == 422


async def test_other_methods_are_405() -> None:
    async with client() as http:
        _, viewer = await begin_both(http)
        async with http.patch(f"{viewer}/layer") as response:
            assert response.status == 405
            assert response.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, POST"
