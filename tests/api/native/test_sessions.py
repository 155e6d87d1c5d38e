"""A session's resource: conditions, restarts, answers, mute, the end."""

from __future__ import annotations

import re

import pytest
from aiohttp import ClientSession

from tests.api.native.support import (
    FRAGMENT,
    SDP,
    WHEP_OFFER,
    WHIP_OFFER,
    begin,
    begin_both,
    client,
)

PWD = "aGVsbG8gd29ybGQgaGVsbG8gd29y"
CANDIDATE = "a=candidate:1 1 udp 2130706431 127.0.0.1 39132 typ host\r\n"
TRICKLED = f"m=audio 9 RTP/AVP 0\r\na=mid:0\r\n{CANDIDATE}"
RESTART = f"a=ice-ufrag:fresh\r\na=ice-pwd:{PWD}\r\n{TRICKLED}"


async def test_a_session_belongs_to_its_stream() -> None:
    async with client() as http:
        async with http.post("/whip/cam", data=WHIP_OFFER, headers=SDP) as response:
            session = response.headers["Location"].rpartition("/")[2]
        async with http.delete(f"/session/other/{session}") as response:
            assert response.status == 404


async def patch(
    http: ClientSession, session: str, body: str, **headers: str
) -> tuple[int, str, str]:
    """Status, ETag and body of a PATCH; `if_match="…"` is a header."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    async with http.patch(session, data=body, headers=FRAGMENT | named) as response:
        return response.status, response.headers.get("ETag", ""), await response.text()


async def etag(http: ClientSession, session: str) -> str:
    async with http.head(session) as response:
        assert response.status == 204
        return response.headers["ETag"]


async def test_get_and_head_tell_whether_there_is_such_a_session() -> None:
    async with client() as http:
        session = await begin(http, "/whip/cam")
        async with http.get(session) as response:
            assert response.status == 204
            assert await response.read() == b""
            assert "application/trickle-ice-sdpfrag" in response.headers["Accept-Patch"]
        async with http.get("/session/cam/other") as response:
            assert response.status == 404


async def test_candidates_are_204_without_an_etag() -> None:
    async with client() as http:
        session = await begin(http, "/whip/cam")
        tag = await etag(http, session)
        for condition in (tag, "*", '"*"', f'"x", {tag}'):
            assert await patch(http, session, TRICKLED, If_Match=condition) == (
                204,
                "",
                "",
            )
        # As a well-known client sends it.
        assert (await patch(http, session, TRICKLED, ETag=tag))[0] == 204


async def test_without_a_condition_it_is_428_and_with_a_stale_one_412() -> None:
    async with client() as http:
        session = await begin(http, "/whip/cam")
        status, _, text = await patch(http, session, TRICKLED)
        assert (status, "If-Match is missing" in text) == (428, True)
        assert (await patch(http, session, TRICKLED, If_Match='"old"'))[0] == 412
        tag = await etag(http, session)
        assert (await patch(http, session, TRICKLED, If_Match=f"W/{tag}"))[0] == 412


async def test_a_restart_has_new_credentials_all_candidates_and_a_new_etag() -> None:
    async with client() as http:
        async with http.post("/whip/cam", data=WHIP_OFFER, headers=SDP) as response:
            session, tag = response.headers["Location"], response.headers["ETag"]
            answer = await response.text()
        status, new, text = await patch(http, session, RESTART, If_Match="*")
        assert status == 200
        assert re.fullmatch(r'"[!-~]+"', new)
        assert new != tag
        for name in ("ice-ufrag", "ice-pwd"):
            [before] = set(re.findall(f"a={name}:(.*)\r\n", answer))
            [after] = set(re.findall(f"a={name}:(.*)\r\n", text))
            assert before != after
        for line in ("a=ice-lite", "a=ice-options:ice2"):
            assert f"{line}\r\n" in answer
            assert f"{line}\r\n" in text
        candidates = re.compile("a=candidate:.*\r\n")
        assert candidates.findall(text) == candidates.findall(answer)
        assert await etag(http, session) == new
        # What was meant for the credentials before comes too late.
        assert (await patch(http, session, TRICKLED, If_Match=tag))[0] == 412
        assert (await patch(http, session, TRICKLED, If_Match=new))[0] == 204


@pytest.mark.parametrize("body", ["", "hello", "a=ice-ufrag:x\r\n", "\x00"])
async def test_what_is_no_fragment_is_400(body: str) -> None:
    async with client() as http:
        session = await begin(http, "/whip/cam")
        status, _, text = await patch(http, session, body, If_Match="*")
        assert (status, "fragment" in text) == (400, True)


async def test_another_media_type_is_415_and_says_which_are_right() -> None:
    async with client() as http:
        session = await begin(http, "/whip/cam")
        for headers in ({"Content-Type": "text/plain"}, {}):
            async with http.patch(session, data=b"x", headers=headers) as response:
                assert response.status == 415
                assert response.headers["Accept-Patch"] == (
                    "application/trickle-ice-sdpfrag, application/sdp"
                )


async def test_an_answer_is_taken_only_where_there_was_an_offer() -> None:
    async with client() as http:
        session = await begin(http, "/whep/cam", WHEP_OFFER)
        async with http.patch(session, data=WHEP_OFFER, headers=SDP) as response:
            assert response.status == 409
            assert "no SDP answer" in await response.text()


async def test_a_bad_answer_is_400_and_a_better_one_may_follow() -> None:
    async with client() as http:
        async with http.post("/whep/cam") as response:
            assert response.status == 406
            session = response.headers["Location"]
        for body in (
            b"hello",
            b"v=0\r\n",
            WHEP_OFFER.replace(b"recvonly", b"inactive"),
        ):
            async with http.patch(session, data=body, headers=SDP) as response:
                assert response.status == 400, body
                assert "answer" in await response.text()
        async with http.get(session) as response:
            assert response.status == 204


async def test_a_viewers_kind_can_be_muted() -> None:
    async with client() as http:
        publisher, viewer = await begin_both(http)
        mute = {"kind": "audio", "enabled": False}
        for body in (mute, {"kind": "audio", "enabled": True}):
            async with http.post(viewer, json=body) as response:
                assert response.status == 200
                assert await response.json() == {}
        async with http.post(publisher, json=mute) as response:
            assert response.status == 409
        async with http.post("/session/cam/other", json=mute) as response:
            assert response.status == 404


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "smell", "enabled": True},
        {"kind": "audio"},
        {"kind": "audio", "enabled": "yes"},
        {"kind": "audio", "enabled": True, "x": 1},
        [],
    ],
)
async def test_another_body_is_422_and_says_where(body: object) -> None:
    async with client() as http:
        _, viewer = await begin_both(http)
        async with http.post(viewer, json=body) as response:
            assert response.status == 422
            assert (await response.text()).startswith("the body")


async def test_a_body_that_is_no_json_is_415_or_400() -> None:
    async with client() as http:
        _, viewer = await begin_both(http)
        async with http.post(viewer, data=b"{}") as response:
            assert response.status == 415
            assert response.headers["Accept-Post"] == "application/json"
        headers = {"Content-Type": "application/json"}
        async with http.post(viewer, data=b"{", headers=headers) as response:
            assert response.status == 400


async def test_a_session_ends_once_and_then_is_404_in_every_verb() -> None:
    async with client() as http:
        session = await begin(http, "/whip/cam")
        async with http.delete(session, headers={"If-Match": '"x"'}) as response:
            assert response.status == 204
        for method in ("GET", "DELETE"):
            async with http.request(method, session) as response:
                assert response.status == 404
        assert (await patch(http, session, TRICKLED, If_Match="*"))[0] == 404
