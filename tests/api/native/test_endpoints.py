"""WHIP and WHEP endpoints over real sockets: statuses, headers, bodies."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import ClientSession
from yarl import URL

from live777py.api import body as body_module
from live777py.core.lineage import parse
from live777py.protocol.headers import VIA
from tests.api.native.support import SDP, WHEP_OFFER, WHIP_OFFER, begin, client
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient
from tests.support.server import running


async def test_a_publisher_is_answered_with_201_and_the_url_of_its_session() -> None:
    async with client() as http:
        async with http.post("/whip/cam", data=WHIP_OFFER, headers=SDP) as response:
            assert response.status == 201
            assert response.headers["Content-Type"] == "application/sdp"
            assert response.headers["Location"].startswith("/session/cam/")
            assert response.headers["ETag"].startswith('"')
            assert (await response.text()).startswith("v=0\r\n")
            location = response.headers["Location"]
        async with http.delete(location) as response:
            assert response.status == 204
            assert await response.read() == b""
        async with http.delete(location) as response:
            assert response.status == 404


async def test_watching_an_unknown_name_waits_for_it() -> None:
    async with client() as http:
        async with http.post("/whep/cam", data=WHEP_OFFER, headers=SDP) as response:
            assert response.status == 201
            assert response.headers["Location"].startswith("/session/cam/")
        async with http.get("/api/streams/") as response:
            (stream,) = await response.json()
        assert stream["publish"] == {"leaveAt": 0, "sessions": []}


@pytest.mark.parametrize(
    ("path", "offer"), [("/whip/cam", WHIP_OFFER), ("/whep/cam", WHEP_OFFER)]
)
@pytest.mark.parametrize(
    ("via", "is_node"),
    [("0123456789abcdef.a/cam", True), ("nonsense", False), ("", False)],
)
async def test_only_nodes_are_told_where_media_comes_from(
    path: str, offer: bytes, via: str, is_node: bool
) -> None:
    headers = {**SDP, **({VIA: via} if via else {})}
    async with client(node={"name": "here"}) as http:
        async with http.post(path, data=offer, headers=headers) as response:
            assert response.status == 201
            assert (VIA in response.headers) == is_node
            *before, own = parse(response.headers.get(VIA, "")) or ("none",)
        if is_node:
            assert str(own) == "here/cam"
            assert [str(entry) for entry in before] == ["a/cam"] * ("whip" in path)


@pytest.mark.parametrize("endpoint", ["whip", "whep"])
async def test_the_policy_may_refuse_unknown_names(endpoint: str) -> None:
    strategy = {"auto_create_whip": False, "auto_create_whep": False}
    async with (
        client(strategy=strategy) as http,
        http.post(f"/{endpoint}/cam", data=WHIP_OFFER, headers=SDP) as response,
    ):
        assert response.status == 404
        assert "'cam' does not exist" in await response.text()


async def test_a_second_publisher_gets_409_in_plain_text() -> None:
    async with client() as http:
        await http.post("/whip/cam", data=WHIP_OFFER, headers=SDP)
        async with http.post("/whip/cam", data=WHIP_OFFER, headers=SDP) as response:
            assert response.status == 409
            assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert "already has a publisher" in await response.text()


@pytest.mark.parametrize("endpoint", ["whip", "whep"])
@pytest.mark.parametrize("content_type", ["text/plain", "application/json", ""])
async def test_a_wrong_media_type_is_415_and_says_which_is_right(
    endpoint: str, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    async with (
        client() as http,
        http.post(f"/{endpoint}/cam", data=WHIP_OFFER, headers=headers) as response,
    ):
        assert response.status == 415
        assert response.headers["Accept-Post"] == "application/sdp"
        assert "send application/sdp" in await response.text()


@pytest.mark.parametrize(
    "content_type",
    ["application/sdp; charset=utf-8", "Application/SDP", " application/sdp"],
)
async def test_case_and_parameters_of_the_media_type_do_not_matter(
    content_type: str,
) -> None:
    headers = {"Content-Type": content_type}
    async with (
        client() as http,
        http.post("/whip/cam", data=WHIP_OFFER, headers=headers) as response,
    ):
        assert response.status == 201


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "the body is empty"),
        (b" \r\n", "the body is empty"),
        (b"hello", "line 1 of the SDP"),
        (b"v=0\r\n\xff", "not UTF-8"),
    ],
)
async def test_what_is_no_sdp_is_400_with_the_reason(body: bytes, fault: str) -> None:
    async with (
        client() as http,
        http.post("/whip/cam", data=body, headers=SDP) as response,
    ):
        assert response.status == 400
        assert fault in await response.text()


async def test_a_compressed_body_is_415() -> None:
    headers = {**SDP, "Content-Encoding": "gzip"}
    async with (
        client() as http,
        http.post("/whip/cam", data=b"junk", headers=headers) as response,
    ):
        assert response.status in {400, 415}


async def test_a_body_that_does_not_come_is_408(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(body_module, "BODY_TIMEOUT", 0.01)

    async def endless() -> AsyncIterator[bytes]:
        yield b"v=0\r\n"
        await asyncio.Event().wait()

    async with (
        client() as http,
        http.post("/whip/cam", data=endless(), headers=SDP) as response,
    ):
        assert response.status == 408


async def test_a_byte_order_mark_does_no_harm() -> None:
    async with (
        client() as http,
        http.post(
            "/whip/cam", data=b"\xef\xbb\xbf" + WHIP_OFFER, headers=SDP
        ) as response,
    ):
        assert response.status == 201


async def test_a_refusal_is_logged_for_the_operator(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with client() as http:
        await http.post("/whip/cam", data=b"hello", headers=SDP)
    assert "POST /whip/cam refused: 400 line 1 of the SDP" in caplog.text


async def test_a_huge_body_is_413_whether_its_length_is_announced_or_not() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"a=x\r\n" * 1000

    async with client() as http:
        for body in (b"a" * (128 * 1024 + 1), chunks()):
            async with http.post("/whip/cam", data=body, headers=SDP) as response:
                assert response.status == 413
                assert "131072 bytes" in await response.text()


async def test_an_offer_of_unknown_codecs_is_422_for_a_publisher() -> None:
    offer = WHIP_OFFER.replace(b"VP8", b"XP8").replace(b"VP9", b"XP9")
    offer = offer.replace(b"H264", b"X264").replace(b"AV1", b"XV1")
    async with (
        client() as http,
        http.post("/whip/cam", data=offer, headers=SDP) as response,
    ):
        assert response.status == 422
        assert "XP8" in await response.text()


async def test_a_viewer_that_cannot_decode_the_stream_gets_406_naming_both_sides() -> (
    None
):
    offer = WHEP_OFFER.replace(b"VP8", b"XP8")
    async with (
        running() as server,
        ClientSession(server.url) as http,
        RtpClient.publisher(f"{server.url}/whip/cam", video(VP8)),
    ):
        await server.until_published("cam")
        async with http.post("/whep/cam", data=offer, headers=SDP) as response:
            assert response.status == 406
            text = await response.text()
        assert "VP8" in text
        assert "VP9" in text
        assert "Location" not in response.headers


@pytest.mark.parametrize(
    "name", ["a b", "Küche", "摄像头", "a/b", "100%", "x?y#z", "ä" * 127]
)
async def test_any_name_survives_the_way_through_the_location(name: str) -> None:
    path = URL(f"/whip/{quote(name, safe='')}", encoded=True)
    async with client() as http:
        async with http.post(path, data=WHIP_OFFER, headers=SDP) as response:
            assert response.status == 201
            location = URL(response.headers["Location"], encoded=True)
        async with http.get("/api/streams/") as response:
            assert [stream["id"] for stream in await response.json()] == [name]
        async with http.delete(location) as response:
            assert response.status == 204


@pytest.mark.parametrize("segment", ["%FF", "a%00b", "x" * 256])
async def test_a_bad_name_is_400_with_the_reason(segment: str) -> None:
    path = URL(f"/whip/{segment}", encoded=True)
    async with (
        client() as http,
        http.post(path, data=WHIP_OFFER, headers=SDP) as response,
    ):
        assert response.status == 400
        assert "name" in await response.text()


async def test_a_server_that_is_full_says_when_to_come_back() -> None:
    async with client(webrtc={"max_sessions": 1}) as http:
        await http.post("/whip/cam", data=WHIP_OFFER, headers=SDP)
        async with http.post("/whip/b", data=WHIP_OFFER, headers=SDP) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            assert "max_sessions" in await response.text()


async def test_a_client_that_hangs_up_in_its_post_costs_nothing() -> None:
    async with running() as server:
        url = URL(server.url)
        for _ in range(3):
            timeout = aiohttp.ClientTimeout(total=0.05)
            async with ClientSession(url, timeout=timeout) as http:

                async def endless() -> AsyncIterator[bytes]:
                    yield b"v=0\r\n"
                    await asyncio.Event().wait()

                with pytest.raises((TimeoutError, aiohttp.ClientError)):
                    await http.post("/whip/cam", data=endless(), headers=SDP)
        async with ClientSession(url) as http, http.get("/api/streams/") as response:
            assert await response.json() == []


@pytest.mark.parametrize("endpoint", ["whip", "whep"])
async def test_get_and_head_say_what_may_be_sent_and_have_no_content(
    endpoint: str,
) -> None:
    async with client() as http:
        heads = []
        for method in ("GET", "HEAD"):
            async with http.request(method, f"/{endpoint}/cam") as response:
                assert response.status == 200
                assert await response.read() == b""
                heads.append({**response.headers, "Date": "", "Content-Length": "0"})
        assert heads[0] == heads[1]
        assert heads[0]["Content-Type"] == "application/sdp"
        assert heads[0]["Accept-Post"] == "application/sdp"
        async with http.get("/api/streams/") as response:
            assert await response.json() == []


async def test_a_session_comes_with_what_its_client_may_do_next() -> None:
    async with client() as http:
        async with http.post("/whep/cam", data=WHEP_OFFER, headers=SDP) as response:
            assert response.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
            [link] = response.headers.getall("Link")
            location = response.headers["Location"]
        assert link == (
            f'<{location}/sse>; rel="urn:ietf:params:whep:ext:core:server-sent-events"; '
            'events="active,inactive,layers,viewercount,reconnect"'
        )


@pytest.mark.parametrize("headers", [SDP, {}, {"Content-Type": "text/plain"}])
@pytest.mark.parametrize("body", [b"", b" \r\n"])
async def test_a_viewer_without_an_offer_is_made_one(
    headers: dict[str, str], body: bytes
) -> None:
    async with client() as http:
        async with http.post("/whep/cam", data=body, headers=headers) as response:
            assert response.status == 406
            assert response.headers["Content-Type"] == "application/sdp"
            assert response.headers["ETag"].startswith('"')
            assert response.headers["Accept-Patch"] == (
                "application/trickle-ice-sdpfrag, application/sdp"
            )
            location = response.headers["Location"]
            offer = await response.text()
        assert "a=ice-lite" in offer
        assert offer.count("a=sendonly") == 2
        async with http.get(location) as response:
            assert response.status == 204


async def test_a_publisher_without_an_offer_gets_400() -> None:
    async with client() as http:
        async with http.post("/whip/cam", data=b"", headers=SDP) as response:
            assert response.status == 400
            assert "empty" in await response.text()
        async with http.get("/api/streams/") as response:
            assert await response.json() == []


async def test_by_policy_viewers_are_told_to_come_back() -> None:
    async with client(strategy={"idle_whep": "refuse"}) as http:
        async with http.post("/whep/cam", data=WHEP_OFFER, headers=SDP) as response:
            assert response.status == 409
        async with http.post("/api/streams/cam") as response:
            assert response.status == 204
        async with http.post("/whep/cam", data=WHEP_OFFER, headers=SDP) as response:
            assert response.status == 409
            assert int(response.headers["Retry-After"]) > 0
            assert "nobody publishes" in await response.text()


@pytest.mark.parametrize("is_waited_for", [False, True])
async def test_who_does_not_want_to_wait_is_told_that_nobody_publishes(
    is_waited_for: bool,
) -> None:
    headers = {**SDP, "Live777py-Wait": "no"}
    async with client() as http:
        if is_waited_for:
            await begin(http, "/whep/x", WHEP_OFFER)
        async with http.post("/whep/x", data=WHEP_OFFER, headers=headers) as reply:
            assert reply.status == 409
            assert "nobody publishes" in await reply.text()
            assert reply.headers["Retry-After"] == "2"
        async with http.get("/api/streams/x") as reply:
            assert reply.status == (200 if is_waited_for else 404)
