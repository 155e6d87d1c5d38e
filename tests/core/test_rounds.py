from __future__ import annotations

import asyncio

import pytest

from live777py.aio.backoff import Backoff
from live777py.core import rounds
from live777py.core.edge import Edge, Failure, Origin
from live777py.core.model import Role
from live777py.core.remote import Remote
from live777py.core.rounds import Rounds
from live777py.core.stream import Stream, StreamPolicy, stream_name
from live777py.errors import (
    AtCapacity,
    BadGateway,
    GatewayTimeout,
    Loop,
    NotAtOrigin,
    NotPublished,
)
from tests.core.fakes import FakeRelay

A, B, C = (Remote.parse(f"http://{name}/whep/cam") for name in "abc")
MISSING = BadGateway("there answered 404", 404)


@pytest.fixture(autouse=True)
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rests of a length that is known."""
    monkeypatch.setattr(rounds, "Backoff", lambda **_: Backoff(100.0, 100.0, 0.0))


def stream() -> Stream:
    return Stream(stream_name("cam"), FakeRelay(), StreamPolicy())


def tried(made: Rounds, count: int) -> list[Remote]:
    """The servers whose turn it is next, all of which refuse."""
    found = []
    for _ in range(count):
        made.choose()
        found.append(made.remote)
        made.refused(MISSING)
    return found


async def test_each_is_tried_once_and_then_it_is_time_to_rest() -> None:
    made = Rounds(stream(), (A, B), None)
    assert tried(made, 1) == [A]
    assert not made.is_over
    assert tried(made, 1) == [B]
    assert made.is_over
    failure = made.end("there answered 404")
    assert made.failure is failure
    assert failure is not None
    assert isinstance(failure.answer, NotPublished)
    assert failure.reason == "there answered 404"
    assert made.must_rest
    assert 0 < made.rest_left <= 100
    made.end_rest()
    assert made.must_rest
    made.hasten()
    assert not made.must_rest
    assert tried(made, 3) == [A, B, A]


async def test_a_rest_is_as_long_as_the_least_patient_server_wants() -> None:
    made = Rounds(stream(), (A, B, C), None)
    for patience in (500.0, 200.0, 900.0):
        made.choose()
        made.refused(BadGateway("busy", 503, "", patience))
    made.end("busy")
    assert 100 < made.rest_left <= 200
    for patience in (500.0, 1e9, 900.0):
        made.choose()
        made.refused(BadGateway("busy", 503, "", patience))
    made.end("busy")
    assert 200 < made.rest_left <= rounds.MAX_RETRY_AFTER


async def test_one_that_was_lost_after_a_while_has_its_turn_after_the_others() -> None:
    made = Rounds(stream(), (A, B, C), None)
    tried(made, 1)
    made.choose()
    made.answered()
    made.lost(None, has_lasted=True)
    assert tried(made, 3) == [A, C, B]
    made.restart()
    made.choose()
    made.lost(MISSING, has_lasted=False)
    assert tried(made, 2) == [B, C]


async def test_a_loop_through_those_who_wait_is_theirs_alone() -> None:
    made = Rounds(at := stream(), (A,), None)
    at.attach(Role.SUBSCRIBE)
    loop = Loop("a/cam → b/cam", "")
    for _ in range(rounds.MAX_LOOPS + 1):
        at.held.refuse = lambda: True  # type: ignore[method-assign]
        made.choose()
        made.refused(loop)
        # The others have a round at once, without the one that was refused.
        assert made.end("loop") is None
        assert not made.must_rest
    assert made.downstream == (at.entry,)
    made.choose()
    made.refused(loop)
    # Of others it says nothing.
    assert made.end("loop") is None
    assert made.must_rest


async def test_what_another_wish_has_just_found_out_is_believed() -> None:
    made = Rounds(stream(), (A,), None)
    now = asyncio.get_running_loop().time()
    failure = Failure(NotAtOrigin("cam"), "there answered 404", now)
    made.recall(failure, until=now + 10)
    assert made.failure is failure
    assert made.must_rest
    assert 0 < made.rest_left <= 10
    made.recall(failure, until=now)
    made.end_rest()
    assert not made.must_rest
    made.answered()
    assert made.failure is None


async def test_of_origins_one_that_is_silent_is_asked_last_and_viewers_wait_less() -> (
    None
):
    edge = Edge([Origin("http://a"), Origin("http://b")], 1.0)
    made = Rounds(stream(), edge.remotes("cam"), edge)
    first, second = made.remotes
    for error in (GatewayTimeout("nobody there"), BadGateway("busy", 503, "", 900.0)):
        made.choose()
        made.refused(error)
    made.end("busy")
    assert made.rest_left <= 100
    assert tried(made, 1) == [second]
    made.choose()
    assert made.remote is first
    assert isinstance(made.why_not(), NotAtOrigin)
    made.refused(full := AtCapacity("full"))
    assert made.why_not() is full
    made.connected()
    assert isinstance(made.why_not(), GatewayTimeout)
