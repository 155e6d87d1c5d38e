"""Event streams of the node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import ClientResponse, ClientSession

from live777py.api.native.feeds import shape
from live777py.core.events import Event, EventType
from live777py.core.model import Cascade, Role, SessionId, StreamName
from tests.api.native.support import begin, client
from tests.support.golden import golden
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient
from tests.support.server import running


async def messages(response: ClientResponse) -> AsyncIterator[dict[str, str]]:
    """The fields of each message; comments are passed over."""
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    fields: dict[str, str] = {}
    async for line in response.content:
        name, _, value = line.decode().strip().partition(": ")
        if name and not line.startswith(b":"):
            fields[name] = value
        elif fields:
            yield fields
            fields = {}


async def test_the_list_comes_at_once_and_whenever_it_changes() -> None:
    async with client() as http, http.get("/api/sse/streams") as response:
        feed = messages(response)
        async with asyncio.timeout(20):
            assert await anext(feed) == {"data": "[]"}
            session = await begin(http, "/whip/cam")
            assert [s["id"] for s in json.loads((await anext(feed))["data"])] == ["cam"]
            await http.delete(session)
            # In between the list may have changed in smaller things.
            while (await anext(feed)) != {"data": "[]"}:
                pass


async def test_the_query_chooses_streams() -> None:
    async with client() as http:
        for name in "ab":
            await begin(http, f"/whip/{name}")
        async with http.get("/api/sse/streams?streams=b") as response:
            [shown] = json.loads((await anext(messages(response)))["data"])
    assert shown["id"] == "b"


def test_an_event_of_a_cascade_says_where_it_leads() -> None:
    event = Event(
        number=1,
        type=EventType.SUBSCRIBE_UP,
        at=0,
        stream=StreamName("cam"),
        publishers=1,
        viewers=1,
        cascade=Cascade(target_url="http://there/whip/cam"),
    )
    assert shape(event)["cascade"] == {"targetUrl": "http://there/whip/cam"}
    assert "cascade" not in shape(replace(event, cascade=None))


async def test_events_have_names_and_numbers() -> None:
    async with (
        running() as server,
        ClientSession(server.url) as http,
        http.get("/api/sse/events") as response,
        asyncio.timeout(20),
    ):
        feed = messages(response)
        async with RtpClient.publisher(f"{server.url}/whip/cam", video(VP8)):
            up = [await anext(feed) for _ in range(2)]
        down = [await anext(feed) for _ in range(2)]
    assert [m["event"] for m in up + down] == [
        "streamUp",
        "publishUp",
        "publishDown",
        "streamDown",
    ]
    assert [m["id"] for m in up + down] == ["1", "2", "3", "4"]
    told = json.loads(up[1]["data"])
    assert (told["stream"], told["publish"], told["role"]) == ("cam", 1, "publish")
    assert "DELETE" in json.loads(down[0]["data"])["reason"]


@pytest.mark.parametrize("path", ["/api/sse/streams", "/api/sse/events"])
async def test_a_shutdown_does_not_wait_for_readers(path: str) -> None:
    async with ClientSession() as http:
        async with running() as server:
            response = await http.get(f"{server.url}{path}")
            assert response.status == 200
        async with asyncio.timeout(20):
            assert (await response.content.read())[-0:0] == b""


def test_an_event_has_what_applies_to_it() -> None:
    cam = StreamName("cam")
    told = [
        Event(
            2,
            EventType.PUBLISH_UP,
            1_790_000_000_123,
            cam,
            publishers=1,
            viewers=0,
            session=SessionId("08c1f2a0a60b0deeb66ee572bd369f80"),
            role=Role.PUBLISH,
            elapsed=0.2,
        ),
        Event(
            7,
            EventType.SESSION_FAILED,
            1_790_000_000_456,
            cam,
            publishers=1,
            viewers=0,
            session=SessionId("1b2df2a0a60b0deeb66ee572bd369f81"),
            role=Role.SUBSCRIBE,
            reason="not connected within 15 s",
            cause="ice_timeout",
        ),
        Event(
            8,
            EventType.STREAM_DOWN,
            1_790_000_000_789,
            cam,
            publishers=0,
            viewers=0,
            reason="the stream was deleted",
        ),
    ]
    assert [shape(event) for event in told] == golden("native/event.json")
