"""Streams: listed, shown, created, deleted."""

from __future__ import annotations

import json

import pytest

from tests.api.native.support import (
    SDP,
    WHEP_OFFER,
    WHIP_OFFER,
    begin,
    begin_both,
    client,
)
from tests.support.golden import golden
from tests.support.offers import VP8, audio, video
from tests.support.rtp_client import RtpClient
from tests.support.server import running


async def test_the_list_of_streams_has_live777s_shape() -> None:
    async with client() as http:
        async with http.post("/whip/cam", data=WHIP_OFFER, headers=SDP) as response:
            publisher = response.headers["Location"].rpartition("/")[2]
        async with http.post("/whep/cam", data=WHEP_OFFER, headers=SDP) as response:
            viewer = response.headers["Location"].rpartition("/")[2]
        async with http.get("/api/streams") as response:
            without_slash = await response.text()
        async with http.get("/api/streams/") as response:
            assert response.status == 200
            assert response.content_type == "application/json"
            assert await response.text() == without_slash
            (stream,) = json.loads(without_slash)
        created = stream["createdAt"]
        (published,) = stream["publish"]["sessions"]
        (watched,) = stream["subscribe"]["sessions"]
        assert stream["id"] == "cam"
        assert stream["publish"]["leaveAt"] == stream["subscribe"]["leaveAt"] == 0
        assert published["id"] == publisher
        assert watched["id"] == viewer
        assert published["state"] == watched["state"] == "connecting"
        assert published["createdAt"] >= created > 1_700_000_000_000
        assert stream["codecs"] == [], "the publisher is not connected yet"


async def test_the_list_tells_the_codecs_of_a_connected_publisher() -> None:
    async with (
        running() as server,
        RtpClient.publisher(f"{server.url}/whip/cam", audio(), video(VP8)),
    ):
        await server.until_published("cam")
        (stream,) = await server.streams()
        assert {c["kind"]: c["codec"] for c in stream["codecs"]} == {
            "audio": "opus",
            "video": "vp8",
        }


async def test_the_query_chooses_streams() -> None:
    async with client() as http:
        for name in "abc":
            await begin(http, f"/whip/{name}")
        for query, names in {
            "?streams=a&streams=c": ["a", "c"],
            "?streams=nobody": [],
            "": ["a", "b", "c"],
        }.items():
            async with http.get(f"/api/streams/{query}") as response:
                assert [s["id"] for s in await response.json()] == names


async def test_one_stream_is_shown_as_the_list_has_it() -> None:
    async with client() as http:
        await begin(http, "/whip/a%20b%2Fc")
        async with http.get("/api/streams/") as response:
            [listed] = await response.json()
        async with http.get("/api/streams/a%20b%2Fc") as response:
            assert response.status == 200
            assert await response.json() == listed
        async with http.get("/api/streams/other") as response:
            assert response.status == 404
            assert "'other' does not exist" in await response.text()


async def test_a_created_stream_stays_until_it_is_deleted() -> None:
    async with client() as http:
        for status in (204, 409):
            async with http.post("/api/streams/cam", json={"x": 1}) as response:
                assert response.status == status
        session = await begin(http, "/whip/cam")
        async with http.delete(session) as response:
            assert response.status == 204
        async with http.get("/api/streams/cam") as response:
            shown = await response.json()
        assert shown["publish"]["sessions"][0]["state"] == "closed"
        assert shown["publish"]["leaveAt"] >= shown["createdAt"]
        for status in (204, 404):
            async with http.delete("/api/streams/cam") as response:
                assert response.status == status


async def test_deleting_a_stream_ends_its_sessions() -> None:
    async with client() as http:
        sessions = await begin_both(http)
        async with http.delete("/api/streams/cam") as response:
            assert response.status == 204
        for session in sessions:
            async with http.get(session) as response:
                assert response.status == 404


async def test_a_stream_of_the_configuration_can_be_neither_created_nor_deleted() -> (
    None
):
    stream = {"cam": {"strategy": {"each_stream_max_sub": 1}}}
    async with client(stream=stream) as http:
        async with http.get("/api/streams/") as response:
            [shown] = await response.json()
        assert (shown["id"], shown["provisioned"]) == ("cam", True)
        for method in ("POST", "DELETE"):
            async with http.request(method, "/api/streams/cam") as response:
                assert response.status == 409
                assert "configuration" in await response.text()
        await begin(http, "/whep/cam", WHEP_OFFER)
        async with http.post("/whep/cam", data=WHEP_OFFER, headers=SDP) as response:
            assert response.status == 503


@pytest.mark.parametrize("name", ["%00", "a" * 300, "%FF", "%E2%80%AE"])
async def test_a_bad_name_is_400_in_every_verb(name: str) -> None:
    async with client() as http, http.post(f"/api/streams/{name}") as response:
        assert response.status == 400


async def test_an_unknown_stream_is_a_problem_for_who_wants_it_so() -> None:
    headers = {"Accept": "application/problem+json"}
    async with (
        client() as http,
        http.get("/api/streams/cam", headers=headers) as response,
    ):
        assert response.status == 404
        assert response.content_type == "application/problem+json"
        assert await response.json() == golden("native/problem.json")
