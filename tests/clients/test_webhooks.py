"""Webhooks against real receivers: slow, failing, refusing, redirecting, hanging up."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from live777py.clients import complaints, posting, webhooks
from live777py.clients.webhooks import Webhooks
from live777py.config import Webhook
from live777py.core.events import Event, Events, EventType
from live777py.core.model import StreamName
from tests.support.offers import VP8, video
from tests.support.receiver import (
    Received,
    Receiver,
    answers,
    hang_up,
    receiving,
    silence,
    welcome,
)
from tests.support.rtp_client import RtpClient
from tests.support.server import running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short."""
    monkeypatch.setattr(webhooks, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(webhooks, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(webhooks, "GRACE", 5.0)


class Told(Events):
    """Events that a test makes up."""

    number = 0

    def happens(
        self, type: EventType = EventType.STREAM_UP, stream: str = "cam"
    ) -> None:
        """Tell one."""
        self.number += 1
        name = StreamName(stream)
        self.tell(Event(self.number, type, 0, name, publishers=0, viewers=0))


@asynccontextmanager
async def telling(
    *receivers: Receiver, **keys: Any
) -> AsyncIterator[tuple[Told, Webhooks]]:
    """Events, and the webhooks that tell them; leaving waits until all is told."""
    events = Told()
    hooks = [Webhook(url=receiver.url, **keys) for receiver in receivers]
    async with Webhooks(hooks, events) as told:
        yield events, told


def numbers(receiver: Receiver) -> list[int]:
    return [received.json["number"] for received in receiver.received]


async def until_counted(told: Webhooks, **counts: int) -> None:
    async with asyncio.timeout(20):
        while counts.items() - told.counters().items():  # noqa: ASYNC110 - counters
            await asyncio.sleep(0.001)


async def test_every_receiver_is_told_signed() -> None:
    async with (
        receiving() as one,
        receiving() as two,
        telling(one, two, secret="secret") as (events, told),
    ):
        events.happens(EventType.STREAM_UP)
    [first], [second] = one.received, two.received
    assert first.body == second.body
    assert first.headers["X-Live777-Event"] == "streamUp"
    assert re.fullmatch(r"t=\d+,v1=[0-9a-f]{64}", first.headers["X-Live777-Signature"])
    deliveries = {r.headers["X-Live777-Delivery"] for r in (first, second)}
    assert len(deliveries) == 2
    assert told.counters() == {
        "delivered": 2,
        "failed_attempts": 0,
        "given_up": 0,
        "dropped": 0,
        "waiting": 0,
    }


async def test_a_receiver_is_told_only_what_it_asked_for() -> None:
    async with (
        receiving() as receiver,
        telling(receiver, events=["streamDown"]) as (events, _),
    ):
        events.happens(EventType.STREAM_UP)
        events.happens(EventType.STREAM_DOWN)
    assert receiver.types == ["streamDown"]


async def test_without_webhooks_nothing_listens() -> None:
    events = Told()
    async with Webhooks([], events) as told:
        assert not events._listeners
    assert told.counters() == {}


async def test_events_of_a_stream_come_one_at_a_time_and_in_order() -> None:
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()
    all_there = asyncio.Event()

    async def slow(received: Received) -> web.StreamResponse:
        under_way[received.stream] += 1
        most[received.stream] = max(most[received.stream], under_way[received.stream])
        if len(most) == 3:
            all_there.set()
        # Nobody gets past this unless streams do not wait for one another.
        await all_there.wait()
        await asyncio.sleep(0.001)
        under_way[received.stream] -= 1
        return web.Response()

    async with receiving(slow) as receiver, telling(receiver) as (events, _):
        for number in range(60):
            events.happens(stream=f"cam{number % 3}")
    assert most == {"cam0": 1, "cam1": 1, "cam2": 1}
    of: defaultdict[str, list[int]] = defaultdict(list)
    for received in receiver.received:
        of[received.stream].append(received.json["number"])
    assert len(receiver.received) == 60
    assert all(told == sorted(told) for told in of.values())


async def test_only_so_many_requests_are_under_way() -> None:
    release = asyncio.Event()

    async def held(_received: Received) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with receiving(held) as receiver, telling(receiver) as (events, told):
        for number in range(3 * webhooks.UNDER_WAY):
            events.happens(stream=f"cam{number}")
        await receiver.until(lambda: len(receiver.received) == webhooks.UNDER_WAY)
        assert told.counters()["waiting"] == 3 * webhooks.UNDER_WAY
        await asyncio.sleep(0.02)
        assert len(receiver.received) == webhooks.UNDER_WAY
        release.set()
        await until_counted(told, delivered=3 * webhooks.UNDER_WAY)


async def test_a_stream_that_fails_does_not_hold_up_others() -> None:
    async def picky(received: Received) -> web.StreamResponse:
        return web.Response(status=503 if received.stream == "bad" else 204)

    async with receiving(picky) as receiver, telling(receiver) as (events, told):
        for number in range(2 * webhooks.UNDER_WAY):
            events.happens(stream="bad")
            events.happens(stream=f"good{number}")
        await until_counted(told, delivered=2 * webhooks.UNDER_WAY)
        receiver.answer = welcome


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_what_may_pass_is_tried_again_with_the_same_id(status: int) -> None:
    async with (
        receiving(answers(status, status, 204)) as receiver,
        telling(receiver) as (events, told),
    ):
        events.happens()
        events.happens()
    assert numbers(receiver) == [1, 1, 1, 2]
    ids = [r.headers["X-Live777-Delivery"] for r in receiver.received]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert told.counters()["failed_attempts"] == 2
    assert told.counters()["delivered"] == 2


async def test_after_a_success_pauses_begin_anew() -> None:
    pauses: list[float] = []

    async def now_and_then(_received: Received) -> web.StreamResponse:
        line = told._hooks[0]._lines._lines[StreamName("cam")]
        pauses.append(line.backoff._usual)
        return web.Response(status=204 if len(pauses) in (3, 5) else 500)

    async with (
        receiving(now_and_then) as receiver,
        telling(receiver) as (events, told),
    ):
        events.happens()
        events.happens()
    assert pauses == [0.005, 0.01, 0.02, 0.005, 0.01]


async def test_a_connection_that_is_closed_is_tried_again() -> None:
    async with receiving(hang_up) as receiver, telling(receiver) as (events, told):
        events.happens()
        await receiver.until(lambda: len(receiver.received) >= 3)
        receiver.answer = welcome
        await until_counted(told, delivered=1)
    assert set(numbers(receiver)) == {1}


async def test_a_receiver_that_does_not_answer_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    async with (
        receiving(silence) as receiver,
        telling(receiver, timeout=0.05) as (events, told),
    ):
        events.happens()
        await receiver.until(lambda: len(receiver.received) >= 2)
        receiver.answer = welcome
        await until_counted(told, delivered=1)
    origin = receiver.url.removesuffix("/hook")
    # One line when it begins, however often it is tried, and one when it is over.
    assert caplog.messages == [
        f"webhook {origin}: no answer within 0.05 s; trying again",
        f"webhook {origin}: works again",
    ]


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422])
async def test_a_refusal_is_given_up_with_one_line(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        receiving(answers(status, 204)) as receiver,
        telling(receiver) as (events, told),
    ):
        events.happens(EventType.STREAM_UP)
        events.happens(EventType.STREAM_DOWN)
    assert numbers(receiver) == [1, 2]
    assert told.counters()["given_up"] == 1
    origin = receiver.url.removesuffix("/hook")
    assert caplog.messages == [
        f"webhook {origin}: gave up streamUp of 'cam': answered {status}"
    ]


async def test_a_redirect_is_given_up() -> None:
    async with receiving() as other:
        moved = answers(308, headers={"Location": other.url})
        async with receiving(moved) as receiver, telling(receiver) as (events, told):
            events.happens()
    assert other.received == []
    assert len(receiver.received) == 1
    assert told.counters()["given_up"] == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_waited_for(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "GRACE", 0.01)
    busy = answers(status, headers={"Retry-After": "60"})
    async with receiving(busy) as receiver, telling(receiver) as (events, told):
        now = asyncio.get_running_loop().time()
        events.happens()
        await until_counted(told, failed_attempts=1)
        timer = told._hooks[0]._lines._lines[StreamName("cam")].timer
        assert timer is not None
        assert timer.when() >= now + 60
    assert len(receiver.received) == 1


async def test_a_pause_that_is_too_long_is_no_more_waited_for() -> None:
    busy = answers(429, headers={"Retry-After": "3600"})
    async with receiving(busy) as receiver, telling(receiver) as (events, told):
        events.happens()
    assert len(receiver.received) == 1
    assert told.counters()["given_up"] == 1


async def test_what_cannot_be_told_is_given_up_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two short pauses, and one that ends too late.
    draws = iter([0.0, 0.0, 1e9])
    monkeypatch.setattr(random, "uniform", lambda _low, _high: next(draws))
    async with (
        receiving(answers(500)) as receiver,
        telling(receiver) as (events, told),
    ):
        events.happens()
        await until_counted(told, given_up=1)
        receiver.answer = welcome
        events.happens()
    assert numbers(receiver) == [1, 1, 1, 2]
    assert told.counters()["delivered"] == 1


async def test_without_retries_everything_is_tried_once() -> None:
    async with (
        receiving(answers(500)) as receiver,
        telling(receiver, retry_for=0) as (events, told),
    ):
        events.happens()
        events.happens()
    assert numbers(receiver) == [1, 2]
    assert told.counters()["given_up"] == 2


async def test_the_oldest_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(complaints, "PAUSE", 3600)
    async with (
        receiving() as receiver,
        telling(receiver, max_waiting=3) as (events, told),
    ):
        for _ in range(10):
            events.happens()
        assert told.counters()["dropped"] == 7
    assert numbers(receiver) == [8, 9, 10]
    origin = receiver.url.removesuffix("/hook")
    line = f"webhook {origin}: dropped an event: 3 wait, as many as max_waiting allows"
    assert caplog.messages == [line, f"{line} (and 5 more)"]


async def test_what_is_left_at_shutdown_is_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(webhooks, "GRACE", 0.05)
    async with (
        receiving(silence) as receiver,
        telling(receiver) as (events, told),
    ):
        for _ in range(3):
            events.happens()
        await receiver.until(lambda: receiver.received)
        assert len(receiver.received) == 1
    assert told.counters()["dropped"] == 3
    assert told.counters()["waiting"] == 0
    assert caplog.messages[-1].endswith(": dropped 3 events at shutdown")


async def test_after_the_end_nothing_is_taken() -> None:
    async with (
        receiving() as receiver,
        telling(receiver) as (events, told),
    ):
        pass
        events.happens()
    assert told.counters()["waiting"] == 0


async def test_a_bug_costs_one_event_and_not_the_rest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    post = posting.post
    calls = iter(range(100))

    async def broken(*args: Any, **keys: Any) -> Any:
        if next(calls) == 0:
            raise RuntimeError("a bug")
        return await post(*args, **keys)

    monkeypatch.setattr(posting, "post", broken)
    async with receiving() as receiver, telling(receiver) as (events, told):
        events.happens()
        events.happens()
    assert numbers(receiver) == [2]
    assert told.counters()["given_up"] == 1
    assert "a bug" in caplog.text


async def test_a_server_tells_of_a_publisher_from_the_first_event_to_the_last() -> None:
    async with receiving() as receiver:
        hooks = [{"url": receiver.url, "secret": "secret"}]
        async with running(webhook=hooks, stream={"cam": {}}) as server:
            async with RtpClient.publisher(
                f"{server.url}/whip/cam", video(VP8, ssrc=1)
            ):
                await receiver.until(lambda: "publishUp" in receiver.types)
            await receiver.until(lambda: "publishDown" in receiver.types)
    assert receiver.types == ["streamUp", "publishUp", "publishDown", "streamDown"]
    _, up, down, last = (received.json for received in receiver.received)
    assert up["metrics"] == {"stream": 1, "publish": 1, "subscribe": 0, "reforward": 0}
    assert up["event"]["stream"]["stream"]["publish"] == 1
    assert up["role"] == "publish"
    assert down["reason"]
    assert last["metrics"]["stream"] == 0
    for received in receiver.received:
        assert "X-Live777-Signature" in received.headers
