"""Wishes with several remotes, of the configuration, and on demand."""

from __future__ import annotations

import asyncio

import pytest

from live777py.core import seekers, wish
from live777py.core.live import Live, Policy
from live777py.core.model import CascadeInfo, CascadeState, Role, StreamName
from live777py.core.remote import Remote
from live777py.core.stream import StreamPolicy
from live777py.errors import (
    BadGateway,
    CascadeConfigured,
    GatewayTimeout,
    NotPublished,
    ShuttingDown,
    StreamNotFound,
)
from tests.core.fakes import OPUS, FakeMedia, FakeRemotePeer, settle
from tests.core.wishing import connect, live, only, only_stream, peer_of, until

pytestmark = pytest.mark.usefixtures("quick")

A, B, C = (f"http://{host}/whep/cam" for host in "abc")
TARGET = "http://there/whip/cam"
MISSING = BadGateway("there answered 404", 404)


def configured(
    node: Live,
    *urls: str,
    close_after: float | None = None,
    role: Role = Role.PUBLISH,
    policy: StreamPolicy | None = None,
) -> None:
    """Have the stream "cam" pulled or pushed by the configuration."""
    if not any(stream.name == "cam" for stream in node.streams()):
        node.provision("cam", policy or StreamPolicy())
    remotes = tuple(Remote.parse(url) for url in urls)
    node.configure_cascade("cam", role, remotes, close_after)


def asked(media: FakeMedia) -> list[str]:
    """The hosts that were asked, in this order."""
    return [url.removeprefix("http://")[0] for url in media.servers.urls]


async def state(node: Live, expected: CascadeState) -> CascadeInfo:
    """Wait until the one cascade is in a state."""
    await until(lambda: only(node).state is expected)
    return only(node)


async def ends(media: FakeMedia) -> None:
    """The session is lost; wait until there is another one."""
    before = len(asked(media))
    peer_of(media).end("the other side is gone")
    await until(lambda: len(asked(media)) > before)


# Several remotes.


async def test_the_first_that_has_the_stream_is_taken() -> None:
    async with live() as (node, media):
        media.servers.refusals = {A: MISSING, B: GatewayTimeout("b: nobody there")}
        configured(node, A, B, C)
        await until(lambda: asked(media) == ["a", "b", "c"])
        await connect(node, peer_of(media))
        info = only(node)
        assert info.cascade.source_url == C
        assert info.sources == (A, B, C)
        assert info.is_configured
        assert not info.is_on_demand
        # Each is to say that nobody publishes there, so that the next one has its turn.
        assert {remote.may_wait for remote in media.servers.asked} == {False}


async def test_one_alone_may_let_us_wait() -> None:
    async with live() as (node, media):
        configured(node, A)
        await until(lambda: media.servers.asked)
        assert media.servers.asked[0].may_wait
        assert only(node).sources == ()


async def test_when_all_have_failed_it_begins_with_the_first_again() -> None:
    async with live() as (node, media):
        media.servers.refusals = {A: MISSING, B: MISSING}
        configured(node, A, B)
        await until(lambda: len(asked(media)) >= 6)
        assert asked(media)[:6] == list("ababab")
        assert only(node).error == "there answered 404"
        media.servers.refusals.clear()
        await until(lambda: peer_of(media).state.value == "connecting")
        await connect(node, peer_of(media))
        assert only(node).attempts == 0


async def test_what_has_lasted_and_is_lost_goes_to_the_others_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wish, "STABLE", 0.0)
    async with live() as (node, media):
        configured(node, A, B, C)
        for _ in range(3):
            await until(lambda: media.relays["cam"].peers)
            await connect(node, peer_of(media))
            await ends(media)
        # The first, unless it is the one that has just failed.
        assert asked(media) == list("abab")


async def test_a_server_that_says_nothing_is_not_waited_for_where_there_are_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wish, "ANSWER", 0.01)
    async with live() as (node, media):
        media.servers.deaf = {A}
        configured(node, A, B)
        await until(lambda: asked(media) == ["a", "b"])
        assert only(node).error == "http://a/whep/cam: no answer within 0.01 s"
        await connect(node, peer_of(media))
    async with live() as (node, media):
        media.servers.deaf = {A}
        configured(node, A)
        await asyncio.sleep(0.03)
        assert asked(media) == ["a"]
        assert only(node).state is CascadeState.CONNECTING


async def test_what_is_lost_at_once_uses_up_its_turn() -> None:
    async with live() as (node, media):
        configured(node, A, B)
        await until(lambda: asked(media))
        for _ in range(3):
            await connect(node, peer_of(media))
            await ends(media)
        assert asked(media) == list("abab")


@pytest.mark.parametrize("has_others", [True, False])
async def test_a_source_without_media_is_lost_where_there_are_others(
    has_others: bool,
) -> None:
    async with live() as (node, media):
        configured(node, *((A, B) if has_others else (A,)))
        await until(lambda: media.relays["cam"].peers)
        first = peer_of(media)
        # Not before it is connected: that has a time of its own.
        first.media_silence = wish.NO_MEDIA
        await asyncio.sleep(0.01)
        assert not first.left
        await connect(node, first)
        if has_others:
            await until(lambda: asked(media) == ["a", "b"])
            assert first.left
            assert only(node).error == "no media came for 5 s"
        else:
            await asyncio.sleep(0.02)
            assert not first.left


async def test_of_several_that_want_to_be_left_alone_the_shortest_wish_is_heeded() -> (
    None
):
    async with live() as (node, media):
        busy = BadGateway("busy", 503, retry_after=600)
        media.servers.refusals = {A: busy, B: MISSING}
        configured(node, A, B)
        await until(lambda: len(asked(media)) > 4)
    async with live() as (node, media):
        media.servers.refusals = {A: busy, B: busy}
        configured(node, A, B)
        await state(node, CascadeState.WAITING)
        await asyncio.sleep(0.03)
        assert asked(media) == ["a", "b"]
        # Unless there is another network.
        node.retry_cascades()
        await until(lambda: len(asked(media)) == 4)


# Of the configuration.


async def test_a_configured_cascade_needs_no_success_and_cannot_be_deleted() -> None:
    async with live() as (node, media):
        media.servers.refusals = {A: MISSING}
        configured(node, A)
        info = await state(node, CascadeState.WAITING)
        with pytest.raises(CascadeConfigured, match=r"\[stream.cam\]"):
            await node.end_cascade("cam", info.id)
        assert only(node).id == info.id
        media.servers.refusals.clear()
        await until(lambda: peer_of(media).state.value == "connecting")
        await connect(node, peer_of(media))


async def test_only_a_stream_that_is_there_can_have_one() -> None:
    async with live() as (node, _):
        with pytest.raises(StreamNotFound):
            node.configure_cascade("cam", Role.PUBLISH, (Remote.parse(A),))


async def test_a_target_waits_for_a_publisher_and_is_asked_for_nothing_before() -> None:
    async with live() as (node, media):
        configured(node, TARGET, role=Role.SUBSCRIBE)
        info = await state(node, CascadeState.WAITING)
        assert (info.error, info.attempts) == ("nobody publishes", 0)
        await asyncio.sleep(0.01)
        assert media.servers.asked == []
        await node.publish("cam", "an offer")
        media.relays["cam"].peers[-1].connect()
        await until(lambda: media.servers.urls == [TARGET])
        await connect(node, peer_of(media))
        assert only(node).cascade.target_url == TARGET


async def test_a_target_is_pushed_to_when_it_is_known_later_what_is_published() -> None:
    async with live() as (node, media):
        configured(node, TARGET, role=Role.SUBSCRIBE)
        await node.publish("cam", "an offer")
        publisher = media.relays["cam"].peers[-1]
        publisher.relay = None
        publisher.connect()
        await asyncio.sleep(0.01)
        assert media.servers.asked == []
        # Nobody is told of this.
        publisher.relay = media.relays["cam"]
        publisher.connect()
        await until(lambda: media.servers.urls == [TARGET])


# On demand.


async def test_without_a_viewer_nothing_is_asked_for() -> None:
    async with live() as (node, media):
        configured(node, A, close_after=10)
        await settle()
        info = only(node)
        assert (info.state, info.error) == (CascadeState.IDLE, "")
        assert info.is_on_demand
        await node.publish("other", "an offer")
        await settle()
        assert media.servers.asked == []


async def test_it_begins_with_a_viewer_and_ends_after_the_last() -> None:
    async with live() as (node, media):
        configured(node, A, close_after=0.05)
        first = await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        await connect(node, peer_of(media))
        second = await node.subscribe("cam", "an offer")
        await node.end_session("cam", first.session)
        await asyncio.sleep(0.1)
        assert only(node).state is CascadeState.CONNECTED
        await node.end_session("cam", second.session)
        await settle()
        assert only(node).state is CascadeState.CONNECTED
        info = await state(node, CascadeState.IDLE)
        assert (info.error, info.attempts, info.session) == ("", 0, None)
        assert peer_of_pull(media).left
        # And again.
        await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a", "a"])


def peer_of_pull(media: FakeMedia) -> FakeRemotePeer:
    """The latest peer at another server."""
    return next(
        peer
        for peer in reversed(media.relays["cam"].peers)
        if isinstance(peer, FakeRemotePeer)
    )


async def test_who_returns_in_time_finds_it_going_on() -> None:
    async with live() as (node, media):
        configured(node, A, close_after=0.05)
        viewer = await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        await connect(node, peer_of(media))
        await node.end_session("cam", viewer.session)
        await asyncio.sleep(0.01)
        await node.subscribe("cam", "an offer")
        await asyncio.sleep(0.1)
        assert only(node).state is CascadeState.CONNECTED
        assert asked(media) == ["a"]


async def test_who_leaves_before_it_plays_takes_it_along() -> None:
    async with live() as (node, media):
        configured(node, A, close_after=600)
        media.servers.may_answer.clear()
        viewer = await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        await node.end_session("cam", viewer.session)
        await state(node, CascadeState.IDLE)
        assert peer_of_pull(media).left


async def test_who_leaves_while_it_waits_takes_it_along() -> None:
    async with live() as (node, media):
        configured(node, A, close_after=600)
        media.servers.refusals = {A: BadGateway("busy", 503, retry_after=600)}
        viewer = await node.subscribe("cam", "an offer")
        await state(node, CascadeState.WAITING)
        await node.end_session("cam", viewer.session)
        await state(node, CascadeState.IDLE)
        # The next viewer does not pay for that.
        media.servers.refusals.clear()
        await node.subscribe("cam", "an offer")
        await state(node, CascadeState.CONNECTING)


async def test_what_is_lost_when_nobody_watches_is_not_looked_for() -> None:
    async with live() as (node, media):
        configured(node, A, close_after=600)
        viewer = await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        await connect(node, peer_of(media))
        await node.end_session("cam", viewer.session)
        await settle()
        assert only(node).state is CascadeState.CONNECTED
        peer_of_pull(media).end("the other side is gone")
        await state(node, CascadeState.IDLE)
        assert asked(media) == ["a"]


async def test_who_comes_while_it_says_goodbye_has_it_anew() -> None:
    async with live() as (node, media):
        configured(node, A, close_after=0.001)
        viewer = await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        pull = peer_of(media)
        await connect(node, pull)
        pull.may_leave.clear()
        await node.end_session("cam", viewer.session)
        await until(lambda: not media.relays["cam"].codecs)
        await node.subscribe("cam", "an offer")
        refused = asyncio.create_task(node.subscribe("cam", "an offer", may_wait=False))
        await settle()
        assert not refused.done()
        pull.may_leave.set()
        await until(lambda: asked(media) == ["a", "a"])
        await refused
        assert only(node).state is CascadeState.CONNECTING


async def test_a_push_is_no_viewer() -> None:
    async with live() as (node, media):
        configured(node, A, close_after=0.001)
        configured(node, TARGET, role=Role.SUBSCRIBE)
        viewer = await node.subscribe("cam", "an offer")
        await until(lambda: asked(media)[:1] == ["a"])
        peer_of_pull(media).connect()
        await until(lambda: media.servers.urls == [A, TARGET])
        await node.end_session("cam", viewer.session)
        await until(lambda: node.cascades()[0].state is CascadeState.IDLE)


REFUSING = StreamPolicy(refuse_waiting=True)


@pytest.mark.parametrize("policy", [REFUSING, StreamPolicy()])
async def test_who_may_not_wait_is_told_whether_it_is_there(
    policy: StreamPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wish, "MEMORY", 0.0)
    async with live() as (node, media):
        configured(node, A, B, close_after=600, policy=policy)
        media.servers.refusals = {A: MISSING, B: MISSING}
        with pytest.raises(NotPublished):
            await node.subscribe("cam", "an offer", may_wait=False)
        await state(node, CascadeState.IDLE)
        assert asked(media) == ["a", "b"]
        del media.servers.refusals[B]
        answered = await node.subscribe("cam", "an offer", may_wait=False)
        assert asked(media) == ["a", "b", "a", "b"]
        viewers = only_stream(node).subscribe.sessions
        assert answered.session in [viewer.id for viewer in viewers]


async def test_who_does_not_want_to_wait_forbids_it_to_the_source() -> None:
    async with live() as (node, media):
        configured(node, A, close_after=600)
        await node.subscribe("cam", "an offer", may_wait=False)
        assert [remote.may_wait for remote in media.servers.asked] == [False]


async def test_a_source_that_lets_us_wait_has_nothing_for_who_will_not() -> None:
    async with live() as (node, media):
        configured(node, A, close_after=600)
        await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        assert media.servers.asked[0].may_wait
        pull = peer_of(media)
        asking = asyncio.create_task(node.subscribe("cam", "an offer", may_wait=False))
        await settle()
        assert not asking.done()
        # It is connected, and nothing is known to come.
        pull.relay = None
        pull.connect()
        with pytest.raises(NotPublished):
            await asking
        with pytest.raises(NotPublished):
            await node.subscribe("cam", "an offer", may_wait=False)
        media.relays["cam"].codecs = {"audio": OPUS}
        await node.subscribe("cam", "an offer", may_wait=False)


async def test_who_asks_for_what_just_failed_is_told_so_at_once() -> None:
    async with live() as (node, media):
        configured(node, A, close_after=600)
        busy = BadGateway("busy", 503, retry_after=600)
        media.servers.refusals = {A: busy}
        await node.subscribe("cam", "an offer")
        await state(node, CascadeState.WAITING)
        with pytest.raises(NotPublished):
            await node.subscribe("cam", "an offer", may_wait=False)
        assert asked(media) == ["a"]


async def test_who_asks_later_makes_it_try_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wish, "MEMORY", 0.0)
    async with live() as (node, media):
        configured(node, A, close_after=600)
        media.servers.refusals = {A: BadGateway("busy", 503, retry_after=600)}
        await node.subscribe("cam", "an offer")
        await state(node, CascadeState.WAITING)
        media.servers.refusals.clear()
        await node.subscribe("cam", "an offer", may_wait=False)
        assert asked(media) == ["a", "a"]


async def test_nobody_waits_for_an_answer_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seekers, "PATIENCE", 0.01)
    async with live() as (node, media):
        configured(node, A, close_after=600)
        media.servers.may_answer.clear()
        with pytest.raises(NotPublished):
            await node.subscribe("cam", "an offer", may_wait=False)
        # What was begun for this one alone is given up.
        await state(node, CascadeState.IDLE)


async def test_a_publisher_who_comes_is_an_answer_too() -> None:
    async with live() as (node, media):
        configured(node, A, close_after=600)
        media.servers.refusals = {A: BadGateway("busy", 503, retry_after=600)}
        await node.subscribe("cam", "an offer")
        await state(node, CascadeState.WAITING)
        await node.publish("cam", "an offer")
        media.servers.may_answer.clear()
        media.relays["cam"].peers[-1].connect()
        await until(lambda: media.relays["cam"].codecs)
        await node.subscribe("cam", "an offer", may_wait=False)


async def test_the_end_of_the_node_answers_those_who_ask() -> None:
    async with live() as (node, media):
        configured(node, A, close_after=600)
        media.servers.may_answer.clear()
        asking = asyncio.create_task(node.subscribe("cam", "an offer", may_wait=False))
        await until(lambda: asked(media) == ["a"])
        node.refuse_work()
        with pytest.raises(ShuttingDown):
            await asking


async def test_the_end_of_the_node_ends_wishes_in_every_state() -> None:
    async with live(Policy()) as (node, media):
        for name, close_after in (("idle", 1.0), ("closing", 0.0), ("waiting", None)):
            node.provision(name, StreamPolicy())
            remote = Remote.parse(f"http://{name}/whep")
            node.configure_cascade(name, Role.PUBLISH, (remote,), close_after)
        media.servers.refusals = {"http://waiting/whep": MISSING}
        viewer = await node.subscribe("closing", "an offer")
        await until(lambda: "http://closing/whep" in media.servers.urls)
        await node.end_session("closing", viewer.session)
        # Its task has not begun yet.
        node.provision("new", StreamPolicy())
        node.configure_cascade("new", Role.PUBLISH, (Remote.parse(A),))
    assert node.cascades() == []
    assert all(p.left for r in media.relays.values() for p in r.peers if p.entered)
    assert all(relay.closed for relay in media.relays.values())
    assert StreamName("new") not in [stream.name for stream in node.streams()]
