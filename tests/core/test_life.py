"""What clients say in the course of a session."""

from __future__ import annotations

import asyncio

import pytest

from live777py.core.events import Event, EventType
from live777py.core.live import Live, Policy
from live777py.core.model import IfMatch, Restarted
from live777py.errors import (
    AtCapacity,
    InvalidFragment,
    InvalidOffer,
    NoAnswerAwaited,
    SessionNotFound,
    StaleVersion,
    VersionRequired,
)
from tests.core.fakes import FakeMedia, settle


async def test_a_viewer_may_ask_for_an_offer_and_answer_it() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        offered = await live.subscribe("cam", None)
        assert offered.sdp == "an offer"
        peer = media.relays["cam"].peers[0]
        peer.error = InvalidOffer("no")
        with pytest.raises(InvalidOffer):
            live.accept("cam", offered.session, "bad")
        peer.error = None
        live.accept("cam", offered.session, "good")
        with pytest.raises(NoAnswerAwaited):
            live.accept("cam", offered.session, "good")
        peer.connect()
        await settle()
        assert live.session("cam", offered.session).is_connected


async def test_an_offer_that_nobody_answers_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("live777py.core.life.OFFER_LIFETIME", 0.01)
    async with Live(FakeMedia(), Policy()) as live:
        events: list[Event] = []
        live.events.listen(events.append)
        offered = await live.subscribe("cam", None)
        await live.session("cam", offered.session).ended.wait()
    failed = next(e for e in events if e.type is EventType.SESSION_FAILED)
    assert failed.cause == "not_answered"


async def test_an_answer_at_the_very_end_of_the_time_comes_too_late() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        offered = await live.subscribe("cam", None)
        session = live.session("cam", offered.session)
        assert session.deadline is not None
        session.deadline.reschedule(0)
        # The time is over before the session's own task runs again.
        while not session.deadline.expired():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        with pytest.raises(SessionNotFound):
            live.accept("cam", offered.session, "good")
        await session.ended.wait()


async def test_only_who_was_offered_something_may_answer() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        publisher = await live.publish("cam", "p")
        viewer = await live.subscribe("cam", "v")
        for answered in (publisher, viewer):
            with pytest.raises(NoAnswerAwaited):
                live.accept("cam", answered.session, "answer")


ANY = IfMatch(is_any=True)


def trickled(
    live: Live, session: str, ufrag: str = "", *, condition: IfMatch | None = ANY
) -> Restarted | None:
    return live.trickle("cam", session, ufrag=ufrag, pwd="pwd", condition=condition)


async def test_candidates_are_taken_under_the_right_condition_only() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        session = (await live.publish("cam", "p")).session
        right, wrong = IfMatch(frozenset({"v1"})), IfMatch(frozenset({"v0"}))
        assert trickled(live, session, condition=right) is None
        assert trickled(live, session, "theirs") is None
        with pytest.raises(VersionRequired):
            trickled(live, session, condition=None)
        with pytest.raises(StaleVersion):
            trickled(live, session, condition=wrong)
        with pytest.raises(SessionNotFound):
            live.trickle("other", session, ufrag="", pwd="", condition=ANY)


async def test_new_credentials_restart_ice_and_make_the_old_ones_stale() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        session = (await live.publish("cam", "p")).session
        restarted = trickled(live, session, "fresh")
        assert restarted == Restarted("fragment for fresh", "v2")
        assert media.relays["cam"].peers[0].restarts == [("fresh", "pwd")]
        with pytest.raises(StaleVersion):
            trickled(live, session, condition=IfMatch(frozenset({"v1"})))
        with pytest.raises(StaleVersion):
            trickled(live, session, "theirs")
        assert trickled(live, session, "fresh") is None


async def test_a_restart_without_a_password_changes_nothing() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        session = (await live.publish("cam", "p")).session
        with pytest.raises(InvalidFragment):
            live.trickle("cam", session, ufrag="fresh", pwd="", condition=ANY)
        assert media.relays["cam"].peers[0].restarts == []


async def test_restarts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live777py.core.life.MAX_RESTARTS", 2)
    async with Live(FakeMedia(), Policy()) as live:
        session = (await live.publish("cam", "p")).session
        for number in range(2):
            assert trickled(live, session, f"ufrag{number}")
        with pytest.raises(AtCapacity, match="2 times"):
            trickled(live, session, "more")
