"""Rights: what a grant permits, and that every verb of a caller asks for one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from live777py.core.access import (
    ALL_RIGHTS,
    EVERYTHING,
    Caller,
    Client,
    Grant,
    Right,
)
from live777py.core.live import Live, Policy
from live777py.core.model import Cascade, IfMatch, Role
from live777py.errors import InvalidName, NotPermitted, Unavailable
from tests.core.fakes import FakeMedia

ANY = IfMatch(is_any=True)

#: How each verb is called for the stream "cam", and which single right suffices.
VERBS: dict[str, tuple[Callable[[Caller], Any], set[Right]]] = {
    "publish": (lambda c: c.publish("cam", "o"), {Right.PUBLISH}),
    "subscribe": (lambda c: c.subscribe("cam", "o"), {Right.SUBSCRIBE}),
    "accept": (lambda c: c.accept("cam", "s", "a"), set(Right)),
    "trickle": (
        lambda c: c.trickle("cam", "s", ufrag="", pwd="", condition=ANY),
        set(Right),
    ),
    "mute": (lambda c: c.mute("cam", "s", "audio", muted=True), set(Right)),
    "layers": (lambda c: c.layers("cam", "s"), set(Right)),
    "choose_layer": (lambda c: c.choose_layer("cam", "s", "q"), set(Right)),
    "session_version": (lambda c: c.session_version("cam", "s"), set(Right)),
    "end_session": (lambda c: c.end_session("cam", "s"), set(Right)),
    "stream": (lambda c: c.stream("cam"), set(Right)),
    "create_stream": (lambda c: c.create_stream("cam"), {Right.MANAGE}),
    "delete_stream": (lambda c: c.delete_stream("cam"), {Right.MANAGE}),
    "cascade": (
        lambda c: c.cascade("cam", source="", target="", token=""),
        {Right.MANAGE},
    ),
    "cascade_info": (lambda c: c.cascade_info("cam", "c"), {Right.MANAGE}),
    "end_cascade": (lambda c: c.end_cascade("cam", "c"), {Right.MANAGE}),
    "cascades": (lambda c: c.cascades(), {Right.MANAGE}),
    "stream_events": (lambda c: c.stream_events("cam"), {Right.SUBSCRIBE}),
    "streams": (lambda c: c.streams(), {Right.MANAGE}),
    "events": (lambda c: c.events(), {Right.MANAGE}),
}

#: Verbs that are about the node, for which a grant for one stream does not do.
NODE = {"streams", "events", "cascades"}


async def is_refused(verb: str, grant: Grant) -> bool:
    """Whether a verb is refused for want of a right; any other end is none of that."""
    async with Live(FakeMedia(), Policy()) as live:
        try:
            result = VERBS[verb][0](Caller(live, grant))
            if inspect.isawaitable(result):
                await result
        except NotPermitted:
            return True
        except Exception:
            return False
    return False


def test_every_verb_of_a_caller_is_listed_here() -> None:
    public = {n for n, _ in inspect.getmembers(Caller, inspect.isfunction)}
    assert {name for name in public if not name.startswith("_")} == VERBS.keys()


@pytest.mark.parametrize("verb", VERBS)
async def test_each_verb_asks_for_its_right_and_no_more(verb: str) -> None:
    enough = VERBS[verb][1]
    stream = "*" if verb in NODE else "cam"
    for right in Right:
        refused = await is_refused(verb, Grant(stream, right))
        assert refused == (right not in enough), right


@pytest.mark.parametrize("verb", VERBS)
async def test_no_verb_works_with_a_grant_for_another_stream(verb: str) -> None:
    assert await is_refused(verb, Grant("other", ALL_RIGHTS))
    assert not await is_refused(verb, EVERYTHING)


@pytest.mark.parametrize("verb", sorted(NODE))
async def test_the_node_is_not_in_a_grant_for_one_stream(verb: str) -> None:
    assert await is_refused(verb, Grant("cam", ALL_RIGHTS))


def test_a_refusal_names_the_right_and_the_stream() -> None:
    with pytest.raises(NotPermitted, match="right to publish stream 'cam'"):
        Grant("cam", Right.SUBSCRIBE).require(Right.PUBLISH, "cam")
    with pytest.raises(NotPermitted, match="right to manage the whole node"):
        Grant("cam").require(Right.MANAGE)
    with pytest.raises(NotPermitted, match="right to use stream 'a'"):
        Grant("b").require_any("a")


def test_the_rights_are_the_bits_of_live777s_mode() -> None:
    assert [Right(bit) for bit in (1, 2, 4)] == [
        Right.MANAGE,
        Right.PUBLISH,
        Right.SUBSCRIBE,
    ]
    assert Right(7) == ALL_RIGHTS


class Gate:
    """Somebody outside who refuses, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Role, str, str, str]] = []

    async def admit(
        self, role: Role, stream: str, grant: Grant, client: Client
    ) -> None:
        self.asked.append((role, stream, grant.holder, client.address))
        await asyncio.sleep(0)
        raise Unavailable("nobody answers")


async def test_whoever_has_a_say_is_asked_after_the_grant_and_before_anything_begins() -> (
    None
):
    gate = Gate()
    client = Client("192.0.2.1")
    async with Live(FakeMedia(), Policy()) as live:
        caller = Caller(live, Grant("cam", Right.PUBLISH, "alice"), client, gate)
        with pytest.raises(Unavailable):
            await caller.publish("cam", "o")
        with pytest.raises(NotPermitted):
            await caller.subscribe("cam", "o")
        assert live.streams() == []
    assert gate.asked == [(Role.PUBLISH, "cam", "alice", "192.0.2.1")]


async def test_nobody_is_asked_about_what_can_be_no_stream() -> None:
    gate = Gate()
    async with Live(FakeMedia(), Policy()) as live:
        with pytest.raises(InvalidName):
            await Caller(live, admission=gate).publish("a\nb", "o")
    assert gate.asked == []


async def test_only_who_manages_a_stream_learns_ids_and_other_servers() -> None:
    pull = Cascade(source_url="https://a.example/x", session_url="https://a.example/s")
    async with Live(FakeMedia(), Policy()) as live:
        published = await live.publish("cam", "o")
        watched = await live.subscribe("cam", "o")
        live.session("cam", published.session).cascade = pull
        seen = []
        for right in Right:
            info = Caller(live, Grant("cam", right)).stream("cam")
            [publisher], [viewer] = info.publish.sessions, info.subscribe.sessions
            seen.append((publisher.id, viewer.id, publisher.cascade))
    managed, *others = seen
    assert managed == (published.session, watched.session, pull)
    for publisher_id, viewer_id, cascade in others:
        # The same whenever one looks, so that sessions can be told apart.
        assert (publisher_id, viewer_id, cascade) == others[0]
        assert len({publisher_id, viewer_id, *managed[:2]}) == 4
        # Where a viewer is fed from is nobody's business but the operator's.
        assert cascade == Cascade()
