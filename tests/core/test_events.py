"""Events: told in order, to the quick and to the slow."""

from __future__ import annotations

import asyncio
import logging

import pytest

from live777py.core import events as events_module
from live777py.core.events import Event, Events, EventType
from live777py.core.model import StreamName
from live777py.errors import AtCapacity


def event(number: int) -> Event:
    return Event(number, EventType.STREAM_UP, 0, StreamName("cam"), 0, 0)


def test_listeners_hear_at_once_and_in_order() -> None:
    events = Events()
    heard: list[tuple[str, int]] = []
    events.listen(lambda e: heard.append(("a", e.number)))
    events.listen(lambda e: heard.append(("b", e.number)))
    events.tell(event(1))
    events.tell(event(2))
    assert heard == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]


def test_a_listener_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    heard: list[int] = []

    def fail(_: Event) -> None:
        raise RuntimeError("no")

    events.listen(fail)
    events.listen(lambda e: heard.append(e.number))
    with caplog.at_level(logging.ERROR):
        events.tell(event(1))
    assert heard == [1]
    assert "a listener failed on streamUp" in caplog.text


async def test_a_subscriber_reads_what_was_told_since() -> None:
    events = Events()
    events.tell(event(1))
    with events.subscribe() as subscription:
        events.tell(event(2))
        events.tell(event(3))
        assert [(await anext(subscription)).number for _ in range(2)] == [2, 3]
        assert subscription.taken() == []


async def test_a_subscriber_waits_for_the_next_event() -> None:
    events = Events()
    with events.subscribe() as subscription:
        assert not await subscription.wait(0)
        asyncio.get_running_loop().call_soon(events.tell, event(1))
        assert await subscription.wait(5)
        assert [e.number for e in subscription.taken()] == [1]
        assert not await subscription.wait(0)


async def test_a_slow_subscriber_is_ended_and_others_are_not() -> None:
    events = Events()
    with events.subscribe(limit=2) as slow, events.subscribe() as quick:
        for number in range(1, 5):
            events.tell(event(number))
        assert slow.has_ended
        assert slow.was_too_slow
        # What was there before is not lost, and then comes the end.
        assert [e.number async for e in slow] == [1, 2]
        assert [e.number for e in quick.taken()] == [1, 2, 3, 4]
        assert not quick.has_ended


async def test_the_end_wakes_everybody_and_stays() -> None:
    events = Events()
    with events.subscribe() as subscription:
        asyncio.get_running_loop().call_soon(events.end)
        assert [e async for e in subscription] == []
        assert await subscription.wait(0)
        assert not subscription.was_too_slow
    with events.subscribe() as late:
        assert late.has_ended


def test_nothing_is_kept_of_a_subscriber_that_has_gone() -> None:
    events = Events()
    with events.subscribe() as subscription:
        pass
    events.tell(event(1))
    assert subscription.taken() == []


def test_readers_are_bounded_and_each_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events_module, "MAX_READERS", 2)
    events = Events()
    with (
        events.subscribe(),
        events.subscribe(),
        pytest.raises(AtCapacity, match="2 event streams are open"),
    ):
        events.subscribe().__enter__()
    with events.subscribe():
        pass
