"""The admission webhook against real receivers, alone and behind the real server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from live777py.clients import admission as module
from live777py.clients.admission import AdmissionWebhook, Refused, Undecided, message
from live777py.clients.posting import Reply
from live777py.config import Admission
from live777py.core.access import EVERYTHING, Caller, Client, Grant, Right
from live777py.core.live import Live, Policy
from live777py.core.model import Role
from live777py.errors import NotPermitted
from live777py.tokens import expiry, mint
from tests.api.native.support import SDP, WHEP_OFFER, WHIP_OFFER
from tests.core.fakes import FakeMedia
from tests.support.receiver import (
    Answer,
    Received,
    Receiver,
    answers,
    hang_up,
    receiving,
    silence,
    welcome,
)
from tests.support.server import running

ROOT = Path(__file__).parents[2]
CLIENT = Client("192.0.2.1", "Mozilla/5.0 (OBS-Studio/30.2.3)")


@asynccontextmanager
async def asking(
    answer: Answer, **keys: Any
) -> AsyncIterator[tuple[AdmissionWebhook, Receiver]]:
    """A webhook, and the receiver that it asks."""
    async with receiving(answer) as receiver:
        config = Admission(url=receiver.url, **{"timeout": 20, **keys})
        async with AdmissionWebhook(config) as admission:
            yield admission, receiver


def refusing(status: int, text: str, media_type: str) -> Answer:
    async def answer(_received: Received) -> web.StreamResponse:
        return web.Response(status=status, text=text, content_type=media_type)

    return answer


async def ask(admission: AdmissionWebhook) -> None:
    await admission.admit(Role.SUBSCRIBE, "cam", EVERYTHING, CLIENT)


async def test_the_question_says_who_wants_what() -> None:
    async with asking(welcome, secret="secret") as (admission, receiver):
        grant = Grant("cam", Right.PUBLISH, "alice (token for cam)")
        await admission.admit(Role.PUBLISH, "cam", grant, CLIENT)
    [received] = receiver.received
    page = (ROOT / "docs" / "howto" / "webhooks.md").read_text("utf-8")
    documented = json.loads(re.findall("```json\n(.*?)```", page, re.DOTALL)[-1])
    assert received.json == documented
    assert received.headers["X-Live777-Signature"].startswith("t=")
    assert admission.counters() == {
        "admitted": 1,
        "refused": 0,
        "undecided": 0,
        "asking": 0,
    }


@pytest.mark.parametrize("status", [200, 204, 299])
async def test_any_2xx_admits(status: int) -> None:
    async with asking(answers(status)) as (admission, _):
        await ask(admission)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_says_what_the_other_side_said(status: int) -> None:
    text = json.dumps({"message": "not\nbefore eight"})
    answer = refusing(status, text, "application/json")
    async with asking(answer, on_error="admit") as (admission, _):
        with pytest.raises(Refused, match=r"^not before eight$"):
            await ask(admission)
    assert admission.counters()["refused"] == 1


async def test_a_refusal_without_a_message_has_ours() -> None:
    async with asking(answers(403)) as (admission, _):
        with pytest.raises(Refused, match="refused by the admission webhook"):
            await ask(admission)


@pytest.mark.parametrize(
    ("media_type", "text", "said"),
    [
        ("application/json", '{"message": "no"}', "no"),
        ("application/problem+json", '{"message": "no"}', "no"),
        ("application/json", '{"message": 1}', ""),
        ("application/json", '["message"]', ""),
        ("application/json", "{", ""),
        ("application/json", "[" * 4000, ""),
        ("application/json", json.dumps({"message": "x" * 900}), "x" * 200),
        ("text/plain", "no\x1b[31m\r\nno", "no [31m no"),
        ("text/html", "<html>", ""),
    ],
)
def test_messages_are_short_and_printable(
    media_type: str, text: str, said: str
) -> None:
    assert message(Reply(403, media_type, text)) == said


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500, 503])
async def test_other_answers_decide_nothing(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with asking(answers(status)) as (admission, receiver):
        with pytest.raises(Undecided):
            await ask(admission)
    assert len(receiver.received) == 1
    assert f"answered {status}" in caplog.text
    assert admission.counters()["undecided"] == 1


@pytest.mark.parametrize("answer", [silence, hang_up])
async def test_no_answer_decides_nothing(answer: Answer) -> None:
    async with asking(answer, timeout=0.05) as (admission, _):
        with pytest.raises(Undecided):
            await ask(admission)


@pytest.mark.parametrize("answer", [silence, hang_up, answers(500), answers(302)])
async def test_who_is_told_to_admits_without_an_answer(
    answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    async with asking(answer, timeout=0.05, on_error="admit") as (admission, _):
        await ask(admission)
    assert admission.counters()["undecided"] == 1
    assert "admitted by on_error" in caplog.text


async def test_only_so_many_questions_are_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "UNDER_WAY", 2)
    monkeypatch.setattr(module, "WAITING", 1)
    release = asyncio.Event()

    async def held(_received: Received) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with (
        asking(held, on_error="admit") as (admission, receiver),
        asyncio.TaskGroup() as group,
    ):
        for _ in range(3):
            group.create_task(ask(admission))
        await receiver.until(lambda: len(receiver.received) == 2)
        # One more than may wait: refused whatever on_error says.
        with pytest.raises(Undecided):
            await ask(admission)
        assert len(receiver.received) == 2
        release.set()
    assert admission.counters() == {
        "admitted": 3,
        "refused": 0,
        "undecided": 1,
        "asking": 0,
    }


async def test_a_flood_admits_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNDER_WAY", 0)
    async with asking(welcome, timeout=0.01, on_error="admit") as (admission, receiver):
        with pytest.raises(Undecided):
            await ask(admission)
    assert receiver.received == []


async def test_outside_of_its_block_it_asks_nobody() -> None:
    admission = AdmissionWebhook(Admission(url="http://127.0.0.1:1/"))
    with pytest.raises(RuntimeError):
        await ask(admission)


async def test_nobody_is_asked_about_somebody_without_the_right() -> None:
    async with (
        Live(FakeMedia(), Policy()) as live,
        asking(welcome) as (admission, receiver),
    ):
        caller = Caller(live, Grant("cam", Right.SUBSCRIBE), admission=admission)
        with pytest.raises(NotPermitted):
            await caller.publish("cam", "offer")
        with pytest.raises(NotPermitted):
            await caller.subscribe("other", "offer")
    assert receiver.received == []


async def test_a_refused_viewer_gets_403_with_the_message() -> None:
    async def publishers_only(received: Received) -> web.StreamResponse:
        if received.json["action"] == "publish":
            return web.json_response({"message": "welcome"})
        return web.json_response({"message": "subscribers only"}, status=403)

    async with (
        receiving(publishers_only) as receiver,
        running(
            admission={"url": receiver.url}, http={"trusted_proxies": ["127.0.0.1"]}
        ) as server,
        ClientSession(server.url) as http,
    ):
        async with http.post("/whip/cam", data=WHIP_OFFER, headers=SDP) as response:
            assert response.status == 201
        headers = {**SDP, "User-Agent": "test", "X-Forwarded-For": "203.0.113.9"}
        async with http.post("/whep/cam", data=WHEP_OFFER, headers=headers) as response:
            assert response.status == 403
            assert await response.text() == "subscribers only"
        assert server.server.admission is not None
        assert server.server.admission.counters()["refused"] == 1
        [stream] = await server.streams()
    assert stream["subscribe"]["sessions"] == []
    assert receiver.received[0].json["address"] == "127.0.0.1"
    assert receiver.received[1].json == {
        "action": "subscribe",
        "stream": "cam",
        "holder": "",
        "address": "203.0.113.9",
        "userAgent": "test",
    }


async def test_behind_tokens_only_those_who_may_are_asked_about() -> None:
    secret = "x" * 32
    token = mint(secret, "cam", Right.SUBSCRIBE, expires=expiry(60))
    headers = {**SDP, "Authorization": f"Bearer {token}"}
    async with (
        receiving() as receiver,
        running(admission={"url": receiver.url}, auth={"secret": secret}) as server,
        ClientSession(server.url) as http,
    ):
        async with http.post("/whip/cam", data=WHIP_OFFER, headers=headers) as response:
            assert response.status == 403
        async with http.post("/whip/cam", data=WHIP_OFFER, headers=SDP) as response:
            assert response.status == 401
        assert receiver.received == []
        async with http.post("/whep/cam", data=WHEP_OFFER, headers=headers) as response:
            assert response.status == 201
    assert [received.json["action"] for received in receiver.received] == ["subscribe"]


async def test_without_a_decision_clients_are_told_to_come_back() -> None:
    async with (
        receiving(answers(500)) as receiver,
        running(admission={"url": receiver.url}) as server,
        ClientSession(server.url) as http,
        http.post("/whip/cam", data=WHIP_OFFER, headers=SDP) as response,
    ):
        assert response.status == 503
        assert response.headers["Retry-After"] == "2"
        assert await server.streams() == []
