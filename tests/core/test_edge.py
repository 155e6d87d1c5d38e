"""Edge mode: streams that are fetched because somebody watches."""

from __future__ import annotations

import asyncio

import pytest

from live777py.aio.backoff import Backoff
from live777py.core import cascades, edge, rounds, wish
from live777py.core.edge import Edge, Failure, Origin
from live777py.core.live import Live, Policy
from live777py.core.model import CascadeState
from live777py.core.stream import StreamPolicy
from live777py.errors import (
    AtCapacity,
    BadGateway,
    GatewayTimeout,
    InvalidOffer,
    InvalidRemote,
    LiveError,
    Loop,
    NotAtOrigin,
    NotPublished,
    ShuttingDown,
    StreamNotFound,
)
from tests.core.fakes import FakeMedia, FakePeer, caught, settle
from tests.core.wishing import connect, live, only, only_stream, peer_of, until

pytestmark = pytest.mark.usefixtures("quick")

A, B = "http://a", "http://b"
MISSING = BadGateway("there answered 404", 404)
SILENT = GatewayTimeout("nobody there")
REFUSING = Policy(stream=StreamPolicy(refuse_waiting=True))


def refuse(
    media: FakeMedia, origin: str, error: Exception, stream: str = "cam"
) -> None:
    """Have an origin refuse a stream."""
    media.servers.refusals[f"{origin}/whep/{stream}"] = error


def told(node: Live) -> list[str]:
    """The types of the node's events from now on."""
    types: list[str] = []
    node.events.listen(lambda event: types.append(event.type.value))
    return types


def asked(media: FakeMedia) -> list[str]:
    """The origins that were asked, in this order."""
    return [url.removeprefix("http://").partition("/")[0] for url in media.servers.urls]


# Where a stream is.


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [
        ("http://o:7777", "cam", "http://o:7777/whep/cam"),
        ("https://o/live/", "cam", "https://o/live/whep/cam"),
        ("wheps://o", "a b/c", "https://o/whep/a%20b%2Fc"),
        ("http://o/{stream}/whep", "Küche?", "http://o/K%C3%BCche%3F/whep"),
        ("http://o/x?s={stream}", "a&b=%c", "http://o/x?s=a%26b%3D%25c"),
        ("http://o/whep", "{stream}", "http://o/whep/whep/%7Bstream%7D"),
    ],
)
def test_a_name_becomes_part_of_a_url(url: str, name: str, expected: str) -> None:
    assert Origin(url).remote(name).url == expected


def test_the_edges_own_token_goes_along_and_is_not_shown() -> None:
    remote = Origin("http://o/{stream}?k=hidden", "Bearer secret").remote("cam")
    assert remote.token == "secret"
    assert remote.shown == "http://o/cam"
    assert Origin("whep://secret@o").remote("cam").token == "secret"
    assert "hidden" not in repr([remote, Origin("http://o?hidden", "hidden")])


def test_an_origin_that_is_none_is_no_edge() -> None:
    with pytest.raises(InvalidRemote):
        Edge([Origin("ftp://o")], 1.0)


@pytest.mark.parametrize(
    "url", ["http://{stream}", "http://{stream}.o/whep?x", "whep://{stream}@o/whep"]
)
def test_viewers_do_not_choose_the_server(url: str) -> None:
    with pytest.raises(InvalidRemote, match="before its path"):
        Edge([Origin(url, "secret")], 1.0)


async def test_an_origin_that_did_not_answer_is_asked_after_the_others() -> None:
    origins = Edge([Origin(A), Origin(B)], 1.0)
    first, second = origins.remotes("cam")
    assert origins.order((first, second)) == [first, second]
    origins.failed(first, SILENT)
    # Whatever the stream.
    others = origins.remotes("other")
    assert origins.order(others) == [others[1], others[0]]
    origins.failed(second, SILENT)
    assert origins.order(others) == list(others)
    origins.failed(first, MISSING)
    assert origins.order(others) == list(others)
    origins.failed(first, SILENT)
    origins.answered(second)
    assert origins.order(others) == [others[1], others[0]]


async def test_an_origin_is_avoided_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edge, "AVOIDED", 0.0)
    origins = Edge([Origin(A), Origin(B)], 1.0)
    remotes = origins.remotes("cam")
    origins.failed(remotes[0], SILENT)
    assert origins.order(remotes) == list(remotes)


async def test_failures_are_remembered_for_a_while_and_not_without_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(edge, "MAX_FAILURES", 2)
    origins = Edge([Origin(A)], 1.0)
    now = asyncio.get_running_loop().time()
    failure = Failure(NotAtOrigin("x"), "a answered 404", now)
    for name in ("a", "b", "a", "c"):
        origins.remember(name, failure)
    assert origins.recall("b", 60) is None
    assert origins.recall("a", 60) is origins.recall("c", 60) is failure
    assert origins.recall("a", 0) is None
    assert origins.recall("a", 60) is None


# Viewers who may wait.


async def test_viewers_share_one_pull_that_ends_after_the_last_of_them() -> None:
    async with live(None, A, close_after=0.05) as (node, media):
        viewers = await asyncio.gather(
            *(node.subscribe("cam", "an offer") for _ in range(5))
        )
        await until(lambda: asked(media) == ["a"])
        # One origin plays the moment that the stream is published there.
        assert media.servers.asked[0].may_wait
        await connect(node, peer_of(media))
        info = only(node)
        assert info.cascade.source_url == "http://a/whep/cam"
        assert info.is_on_demand
        assert not info.is_configured
        for viewer in viewers:
            await node.end_session("cam", viewer.session)
        await settle()
        assert only(node).state is CascadeState.CONNECTED
        await until(lambda: not node.streams())
        assert node.cascades() == []
        assert asked(media) == ["a"]
        assert media.relays["cam"].closed


async def test_a_strange_name_leaves_nothing_at_once_when_its_viewer_leaves() -> None:
    policy = Policy(stream=StreamPolicy(delete_unpublished=600, delete_unwatched=600))
    async with live(policy, A, close_after=600) as (node, media):
        viewer = await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        # The origin lets us wait: nothing is known to come.
        peer_of(media).relay = None
        await connect(node, peer_of(media))
        await node.end_session("cam", viewer.session)
        await until(lambda: not node.streams())
        refuse(media, A, MISSING)
        viewer = await node.subscribe("cam", "an offer")
        await until(lambda: only(node).state is CascadeState.WAITING)
        await node.end_session("cam", viewer.session)
        await until(lambda: not node.streams())
        assert node.cascades() == []


async def test_a_viewer_that_leaves_during_the_first_attempt_ends_it() -> None:
    async with live(None, A, close_after=600) as (node, media):
        media.servers.may_answer.clear()
        viewer = await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        await node.end_session("cam", viewer.session)
        await until(lambda: not node.streams())
        assert all(peer.left for peer in media.relays["cam"].peers)


async def test_a_viewer_whose_offer_is_bad_leaves_nothing() -> None:
    for policy in (Policy(), REFUSING):
        async with live(policy, A, close_after=600) as (node, media):
            relays = media.relays
            media.servers.may_answer.clear()
            viewing = asyncio.create_task(node.subscribe("cam", "an offer"))
            await until(lambda relays=relays: "cam" in relays)  # type: ignore[misc]
            relays["cam"].error = InvalidOffer("no")
            media.servers.may_answer.set()
            if policy is REFUSING:
                with pytest.raises(LiveError):
                    await viewing
            else:
                await node.end_session("cam", (await viewing).session)
            await until(lambda node=node: not node.streams())  # type: ignore[misc]


@pytest.mark.parametrize("policy", [REFUSING, Policy(), Policy(create_on_watch=False)])
async def test_nobody_is_asked_for_a_viewer_whose_offer_cannot_be_used(
    policy: Policy,
) -> None:
    async with live(policy, A) as (node, media):
        events = told(node)
        media.bad_offers.add("a bad offer")
        with pytest.raises(InvalidOffer):
            await node.subscribe("cam", "a bad offer")
        assert (node.streams(), node.cascades()) == ([], [])
    assert (events, asked(media)) == ([], [])


async def test_a_stream_is_told_of_once_an_origin_has_it() -> None:
    async with live(REFUSING, A, B) as (node, media):
        events = told(node)
        for origin in (A, B):
            refuse(media, origin, MISSING)
        storm = (caught(node.subscribe("cam", "an offer")) for _ in range(5))
        assert {type(error) for error in await asyncio.gather(*storm)} == {NotAtOrigin}
        await until(lambda: not node.streams())
        assert not events
        refuse(media, A, MISSING, "other")
        viewer = await node.subscribe("other", "an offer")
        assert events == ["streamUp"]
        # The first was to be one at A, the last is the viewer's.
        media.relays["other"].peers[1].connect()
        await until(lambda: "publishUp" in events)
        await node.end_session("other", viewer.session)
        await until(lambda: not node.streams())
        assert events[1:] == [
            "publishUp",
            "sessionFailed",
            "publishDown",
            "streamDown",
        ]


async def test_a_stream_is_told_of_once_somebody_publishes_what_is_being_sought() -> (
    None
):
    async with live(REFUSING, A) as (node, media):
        events = told(node)
        media.servers.may_answer.clear()
        seeking = asyncio.create_task(caught(node.subscribe("cam", "an offer")))
        await until(lambda: asked(media))
        assert not events
        await node.publish("cam", "an offer")
        assert events == ["streamUp"]
        media.servers.may_answer.set()
        await seeking


async def test_viewers_who_wait_are_tried_for_until_the_stream_is_there() -> None:
    async with live(None, A, B) as (node, media):
        refuse(media, A, MISSING)
        refuse(media, B, MISSING)
        await node.subscribe("cam", "an offer")
        await until(lambda: len(asked(media)) >= 4)
        assert asked(media)[:4] == ["a", "b", "a", "b"]
        # Of several none may keep us.
        assert {remote.may_wait for remote in media.servers.asked} == {False}
        del media.servers.refusals["http://b/whep/cam"]
        await until(lambda: peer_of(media).state.value == "connecting")
        await connect(node, peer_of(media))
        assert only(node).cascade.source_url == "http://b/whep/cam"


async def test_those_who_wait_are_tried_for_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bounds: dict[str, float] = {}

    def made(**given: float) -> Backoff:
        bounds.update(given)
        return Backoff(60, 60)

    monkeypatch.setattr(rounds, "Backoff", made)
    async with live(None, A) as (node, _):
        await node.subscribe("cam", "an offer")
        assert bounds == {"most": 5}


async def test_origins_that_want_to_be_left_alone_are_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "MAX_VIEWERS_WAIT", 0.001)
    async with live(None, A) as (node, media):
        refuse(media, A, BadGateway("busy", 503, retry_after=600))
        await node.subscribe("cam", "an offer")
        await until(lambda: len(asked(media)) > 2)


async def test_a_publisher_that_moves_to_another_origin_is_found_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wish, "STABLE", 0.0)
    async with live(None, A, B) as (node, media):
        await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        await connect(node, peer_of(media))
        peer_of(media).media_silence = wish.NO_MEDIA
        await until(lambda: asked(media) == ["a", "b"])
        await connect(node, peer_of(media))


async def test_an_origin_that_says_nothing_does_not_keep_others_from_answering(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wish, "ANSWER", 0.01)
    async with live(None, A, B) as (node, media):
        media.servers.deaf = {"http://a/whep/cam", "http://a/whep/other"}
        await node.subscribe("cam", "an offer", may_wait=False)
        assert asked(media) == ["a", "b"]
        # It is known now.
        await node.subscribe("other", "an offer", may_wait=False)
        assert asked(media) == ["a", "b", "b"]


@pytest.mark.parametrize("may_wait", [True, False])
async def test_a_viewer_is_answered_when_it_is_known_what_it_will_be_sent(
    may_wait: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wish, "HOLD", 60.0)
    async with live(None, A) as (node, media):
        asking = asyncio.create_task(
            node.subscribe("cam", "an offer", may_wait=may_wait)
        )
        await until(lambda: asked(media) == ["a"])
        assert media.servers.asked[0].may_wait == may_wait
        await until(lambda: peer_of(media).state.value == "connecting")
        await settle()
        assert not asking.done()
        assert only_stream(node).subscribe.sessions == ()
        peer_of(media).connect()
        await asking


async def test_a_viewer_is_kept_waiting_for_nothing_but_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "Backoff", lambda **_: Backoff(60, 60))
    monkeypatch.setattr(wish, "HOLD", 60.0)
    async with live(None, A) as (node, media), asyncio.timeout(20):
        refuse(media, A, MISSING)
        # It is not there.
        viewer = await node.subscribe("cam", "an offer")
        await node.end_session("cam", viewer.session)
        # Nor is it here any more.
        media.servers.may_answer.clear()
        asking = asyncio.create_task(node.subscribe("other", "an offer"))
        await until(lambda: len(asked(media)) == 2)
        await node.delete_stream("other")
        await asking
    monkeypatch.setattr(wish, "HOLD", 0.02)
    async with live(None, A) as (node, media), asyncio.timeout(20):
        # It waits there, where nobody publishes.
        await node.subscribe("cam", "an offer")
        [pull, _] = media.relays["cam"].peers
        pull.relay = None
        await connect(node, pull)
        await asyncio.sleep(0.03)
        monkeypatch.setattr(wish, "GLANCE", 60.0)
        await node.subscribe("cam", "an offer")


# Viewers who may not wait.


@pytest.mark.parametrize("policy", [REFUSING, Policy(), Policy(create_on_watch=False)])
async def test_who_may_not_wait_is_answered_when_the_origins_have_answered(
    policy: Policy,
) -> None:
    may_wait = policy.create_on_watch and policy is not REFUSING
    async with live(policy, A, B) as (node, media):
        refuse(media, A, MISSING)
        media.servers.may_answer.clear()
        asking = [
            asyncio.create_task(
                node.subscribe("cam", "an offer", may_wait=not may_wait)
            )
            for _ in range(5)
        ]
        await until(lambda: asked(media) == ["a"])
        await settle()
        assert not any(task.done() for task in asking)
        media.servers.may_answer.set()
        answered = await asyncio.gather(*asking)
        assert asked(media) == ["a", "b"]
        viewers = only_stream(node).subscribe.sessions
        assert [v.id for v in viewers] == [a.session for a in answered]


@pytest.mark.parametrize(
    ("refusals", "expected"),
    [
        ((MISSING, MISSING), NotAtOrigin),
        ((BadGateway("409", 409), SILENT), NotAtOrigin),
        ((SILENT, NotPublished("x")), GatewayTimeout),
        ((SILENT, Loop("cam")), NotAtOrigin),
        ((SILENT, SILENT), GatewayTimeout),
        ((BadGateway("there answered 401", 401), SILENT), GatewayTimeout),
    ],
)
async def test_what_no_origin_has_is_not_found(
    refusals: tuple[Exception, Exception], expected: type[LiveError]
) -> None:
    async with live(None, A, B) as (node, media):
        for origin, error in zip((A, B), refusals, strict=True):
            refuse(media, origin, error)
        storm = [node.subscribe("cam", "an offer", may_wait=False) for _ in range(5)]
        answers = await asyncio.gather(*storm, return_exceptions=True)
        assert {type(answer) for answer in answers} == {expected}
        # Where they are is nothing to viewers.
        assert "there" not in str(answers[0])
        await settle()
        assert (node.streams(), node.cascades()) == ([], [])
        # Nor are they asked by who comes right afterwards.
        with pytest.raises(expected):
            await node.subscribe("cam", "an offer", may_wait=False)
        assert len(asked(media)) == 2
        assert node.streams() == []


async def test_what_failed_a_moment_ago_is_not_asked_for_by_those_who_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounds, "Backoff", lambda **_: Backoff(60, 60))
    async with live(None, A) as (node, media):
        refuse(media, A, MISSING)
        with pytest.raises(NotAtOrigin):
            await node.subscribe("cam", "an offer", may_wait=False)
        for _ in range(3):
            viewer = await node.subscribe("cam", "an offer")
            assert only(node).state is CascadeState.WAITING
            assert only(node).error == "there answered 404"
            await node.end_session("cam", viewer.session)
            await until(lambda: not node.cascades())
        assert asked(media) == ["a"]


async def test_a_miss_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascades, "MEMORY", 0.0)
    monkeypatch.setattr(wish, "MEMORY", 0.0)
    async with live(None, A) as (node, media):
        refuse(media, A, MISSING)
        for _ in range(2):
            with pytest.raises(NotAtOrigin):
                await node.subscribe("cam", "an offer", may_wait=False)
        assert asked(media) == ["a", "a"]


async def test_what_plays_here_is_not_asked_for() -> None:
    async with live(REFUSING, A) as (node, media):
        await node.publish("cam", "an offer")
        media.relays["cam"].peers[-1].connect()
        await until(lambda: media.relays["cam"].codecs)
        await node.subscribe("cam", "an offer")
        await settle()
        assert asked(media) == []


async def test_a_publisher_who_is_about_to_come_is_not_waited_for() -> None:
    async with live(REFUSING, A) as (node, media):
        await node.publish("cam", "an offer")
        with pytest.raises(NotPublished):
            await node.subscribe("cam", "an offer")
        assert asked(media) == []


async def test_without_origins_nothing_is_waited_for() -> None:
    async with live() as (node, _):
        with pytest.raises(NotPublished):
            await node.subscribe("cam", "an offer", may_wait=False)
        assert node.streams() == []
        await node.subscribe("cam", "an offer")
        with pytest.raises(NotPublished):
            await node.subscribe("cam", "an offer", may_wait=False)
    async with live(Policy(create_on_watch=False)) as (node, _):
        with pytest.raises(StreamNotFound):
            await node.subscribe("cam", "an offer", may_wait=False)


async def test_a_full_node_says_so() -> None:
    async with live(Policy(max_sessions=1), A) as (node, media):
        await node.subscribe("other", "an offer")
        with pytest.raises(AtCapacity):
            await node.subscribe("cam", "an offer", may_wait=False)
        assert [stream.name for stream in node.streams()] == ["other"]
        assert asked(media) == []


async def test_deleting_the_stream_answers_who_asks_for_it() -> None:
    async with live(None, A) as (node, media):
        media.servers.may_answer.clear()
        asking = asyncio.create_task(node.subscribe("cam", "an offer", may_wait=False))
        await until(lambda: asked(media) == ["a"])
        await node.delete_stream("cam")
        with pytest.raises(NotPublished):
            await asking
        assert (node.streams(), node.cascades()) == ([], [])


# Others who feed the stream.


async def published(node: Live, media: FakeMedia) -> FakePeer:
    """A publisher who came to the edge itself."""
    await node.publish("cam", "an offer")
    return media.relays["cam"].peers[-1]


async def test_a_publisher_of_the_edge_takes_the_place_of_the_pull() -> None:
    async with live(None, A) as (node, media):
        viewer = await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        pull = peer_of(media)
        await connect(node, pull)
        publisher = await published(node, media)
        assert not pull.left
        publisher.connect()
        await until(lambda: pull.left)
        await until(lambda: not node.cascades())
        assert [s.id for s in only_stream(node).subscribe.sessions] == [viewer.session]
        # And gives it back: its viewers are still there.
        publisher.end("the other side is gone")
        await until(lambda: asked(media) == ["a", "a"])
        await connect(node, peer_of(media))


async def test_a_publisher_of_the_edge_who_never_connects_takes_nothing() -> None:
    async with live(None, A) as (node, media):
        await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        await connect(node, peer_of(media))
        publisher = await published(node, media)
        publisher.end("not connected")
        await until(lambda: publisher.left)
        assert only(node).state is CascadeState.CONNECTED


async def test_a_publisher_who_comes_while_the_pull_waits_ends_it() -> None:
    async with live(None, A) as (node, media):
        refuse(media, A, MISSING)
        await node.subscribe("cam", "an offer")
        await until(lambda: only(node).state is CascadeState.WAITING)
        publisher = await published(node, media)
        await until(lambda: not node.cascades())
        # As if it had never come.
        publisher.end("not connected")
        await until(lambda: node.cascades())


async def test_viewers_of_a_publisher_who_leaves_the_edge_are_fetched_for() -> None:
    async with live(None, A) as (node, media):
        publisher = await published(node, media)
        publisher.connect()
        await node.subscribe("cam", "an offer")
        assert node.cascades() == []
        publisher.end("the other side is gone")
        await until(lambda: asked(media) == ["a"])


async def test_a_pull_that_was_asked_for_goes_first() -> None:
    async with live(None, A, close_after=600) as (node, media):
        await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        fetched = only(node)
        await connect(node, peer_of(media))
        info = await node.cascade("cam", source="http://x/whep/cam")
        assert only(node).id == info.id != fetched.id
        assert asked(media) == ["a", "x"]
        # Without it, there are still viewers.
        await node.end_cascade("cam", info.id)
        await until(lambda: asked(media) == ["a", "x", "a"])
        assert only(node).is_on_demand


async def test_a_pull_that_was_asked_for_and_fails_changes_nothing_for_long() -> None:
    async with live(None, A) as (node, media):
        await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        media.servers.refusals = {"http://x/whep/cam": MISSING}
        with pytest.raises(BadGateway):
            await node.cascade("cam", source="http://x/whep/cam")
        await until(lambda: asked(media) == ["a", "x", "a"])


async def test_a_stream_with_a_pull_of_its_own_is_not_asked_for() -> None:
    async with live(None, A) as (node, media):
        await node.cascade("cam", source="http://x/whep/cam")
        await node.subscribe("cam", "an offer")
        await settle()
        assert asked(media) == ["x"]


async def test_deleting_a_fetched_cascade_lasts_as_long_as_nobody_watches() -> None:
    async with live(None, A) as (node, media):
        await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        await node.end_cascade("cam", only(node).id)
        await until(lambda: asked(media) == ["a", "a"])


async def test_what_viewers_want_takes_no_room_from_what_the_operator_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cascades, "MAX_CASCADES", 1)
    async with live(None, A) as (node, _):
        for name in ("cam", "other", "third"):
            await node.subscribe(name, "an offer")
        await node.cascade("mine", source="http://x/whep/cam")
        with pytest.raises(AtCapacity):
            await node.cascade("more", source="http://x/whep/cam")
        assert len(node.cascades()) == 4


async def test_a_stream_that_was_made_by_hand_is_fetched_and_stays() -> None:
    async with live(REFUSING, A) as (node, media):
        node.create_stream("cam")
        viewer = await node.subscribe("cam", "an offer")
        assert asked(media) == ["a"]
        await node.end_session("cam", viewer.session)
        await until(lambda: not node.cascades())
        assert only_stream(node).name == "cam"


# The end of the node.


async def test_nothing_is_fetched_any_more_when_the_node_is_about_to_stop() -> None:
    async with live(None, A) as (node, media):
        publisher = await published(node, media)
        publisher.connect()
        await node.subscribe("cam", "an offer")
        asking = asyncio.create_task(
            node.subscribe("other", "an offer", may_wait=False)
        )
        media.servers.may_answer.clear()
        await until(lambda: asked(media) == ["a"])
        node.refuse_work()
        with pytest.raises(ShuttingDown):
            await asking
        publisher.end("the other side is gone")
        await until(lambda: publisher.left)
        await until(lambda: not node.cascades())
        assert asked(media) == ["a"]
    assert all(relay.closed for relay in media.relays.values())


@pytest.mark.parametrize("moment", ["asked", "connecting", "connected", "waiting"])
async def test_the_end_of_the_node_is_the_end_of_what_was_fetched(moment: str) -> None:
    async with live(None, A, close_after=600) as (node, media):
        if moment == "waiting":
            refuse(media, A, MISSING)
        if moment == "asked":
            media.servers.may_answer.clear()
        await node.subscribe("cam", "an offer")
        await until(lambda: asked(media) == ["a"])
        await settle()
        if moment == "connected":
            await connect(node, peer_of(media))
    assert (node.streams(), node.cascades()) == ([], [])
    assert all(peer.left for peer in media.relays["cam"].peers)
    assert media.relays["cam"].closed


async def test_coming_and_going_in_any_order_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cascades, "MEMORY", 0.0)
    monkeypatch.setattr(wish, "MEMORY", 0.0)
    async with live(None, A, B, close_after=0.0005) as (node, media):

        async def come_and_go(number: int) -> None:
            for turn in range(12):
                await asyncio.sleep((number * 7 + turn * 5) % 11 / 5000)
                try:
                    answered = await node.subscribe(
                        "cam", "an offer", may_wait=bool((number + turn) % 3)
                    )
                except (NotAtOrigin, NotPublished):
                    continue
                await asyncio.sleep((number + turn) % 4 / 4000)
                await node.end_session("cam", answered.session)

        async def serve() -> None:
            while True:
                for relay in media.relays.values():
                    for peer in relay.peers:
                        if peer.state.value == "connecting":
                            peer.connect()
                await asyncio.sleep(0.0007)

        async def flap() -> None:
            while True:
                refuse(media, A, MISSING)
                await asyncio.sleep(0.003)
                refuse(media, B, MISSING)
                await asyncio.sleep(0.002)
                media.servers.refusals.clear()
                await asyncio.sleep(0.004)

        helpers = [asyncio.create_task(serve()), asyncio.create_task(flap())]
        async with asyncio.timeout(20):
            await asyncio.gather(*(come_and_go(number) for number in range(12)))
        await until(lambda: not node.streams())
        assert node.cascades() == []
        for helper in helpers:
            helper.cancel()
        await asyncio.wait(helpers)
    assert all(relay.closed for relay in media.relays.values())


async def test_a_stream_that_is_deleted_before_the_answer_does_not_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wish, "HOLD", 5.0)
    async with live(REFUSING, A) as (node, media):
        watching = asyncio.create_task(node.subscribe("cam", "an offer"))
        await until(lambda: asked(media))
        await settle()
        await node.delete_stream("cam")
        with pytest.raises(NotPublished):
            await watching
        assert node.streams() == []
        assert asked(media) == ["a"]
