"""What a viewer is told of its stream."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import ClientSession

from tests.api.native.support import JSON, WHEP_OFFER, WHIP_OFFER, begin, client
from tests.api.native.test_feeds import messages
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient
from tests.support.server import running


async def test_chosen_events_have_a_stream_of_their_own() -> None:
    async with client() as http:
        session = await begin(http, "/whep/cam", WHEP_OFFER)
        names = ["viewercount", "active", "active"]
        async with http.post(f"{session}/sse", json=names) as response:
            assert response.status == 201
            location = response.headers["Location"]
        assert location == f"{session}/sse/viewercount,active"
        async with http.get(location) as response:
            first = await anext(messages(response))
        assert first["event"] == "viewercount"


@pytest.mark.parametrize("body", ["[]", '["smell"]', '"active"', "{}"])
async def test_what_cannot_be_chosen_is_422(body: str) -> None:
    async with client() as http:
        session = await begin(http, "/whep/cam", WHEP_OFFER)
        async with http.post(f"{session}/sse", data=body, headers=JSON) as response:
            assert response.status == 422


async def test_unknown_names_and_sessions_are_404() -> None:
    async with client() as http:
        session = await begin(http, "/whep/cam", WHEP_OFFER)
        for path in (f"{session}/sse/smell", "/session/cam/other/sse"):
            async with http.get(path) as response:
                assert response.status == 404


async def test_a_viewer_is_told_when_a_publisher_comes_and_goes() -> None:
    async with running() as server, ClientSession(server.url) as http:
        session = await begin(http, "/whep/cam", WHEP_OFFER)
        async with http.get(f"{session}/sse") as response, asyncio.timeout(20):
            feed = messages(response)
            before = [(await anext(feed))["event"] for _ in range(2)]
            async with RtpClient.publisher(f"{server.url}/whip/cam", video(VP8)):
                during = [await anext(feed) for _ in range(2)]
            after = await anext(feed)
    assert before == ["inactive", "viewercount"]
    assert [m["event"] for m in during] == ["active", "layers"]
    assert json.loads(during[1]["data"]).keys() == {"video"}
    assert after["event"] == "inactive"


async def test_the_stream_of_events_ends_by_delete() -> None:
    async with client() as http:
        session = await begin(http, "/whep/cam", WHEP_OFFER)
        path = f"{session}/sse/viewercount"
        async with http.get(path) as response, asyncio.timeout(20):
            feed = messages(response)
            await anext(feed)
            async with http.delete(path) as deleted:
                assert deleted.status == 204
            assert [m async for m in feed] == []


@pytest.mark.parametrize("endpoint", ["whip", "whep"])
async def test_the_stream_of_events_ends_with_its_session(endpoint: str) -> None:
    offer = WHIP_OFFER if endpoint == "whip" else WHEP_OFFER
    async with client() as http:
        # Neither is ever connected.
        session = await begin(http, f"/{endpoint}/cam", offer)
        async with http.get(f"{session}/sse") as response, asyncio.timeout(20):
            feed = messages(response)
            await anext(feed)
            async with http.delete(session) as deleted:
                assert deleted.status == 204
            assert [m["event"] async for m in feed] == ["viewercount"]


async def test_a_viewer_is_told_to_come_again_when_the_node_stops() -> None:
    async with ClientSession() as http:
        async with running() as server:
            async with ClientSession(server.url) as own:
                session = await begin(own, "/whep/cam", WHEP_OFFER)
            url = f"{server.url}{session}/sse/reconnect"
            response = await http.get(url)
            feed = messages(response)
        async with asyncio.timeout(20):
            assert [m["event"] async for m in feed] == ["reconnect"]
