"""Who is refused and who is told, over nodes without media."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from live777py.aio.backoff import Backoff
from live777py.core import cascades, lineage, rounds
from live777py.core.lineage import MAX_HOPS, Node
from live777py.core.live import Live, Policy
from live777py.core.model import SessionInfo
from live777py.core.seekers import PATIENCE
from live777py.core.stream import StreamPolicy
from live777py.errors import Loop, NotFound, TooManyHops
from tests.core.fakes import FakeMedia, FakeRemotePeer, caught
from tests.core.network import STRANGER, Network, network


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "Backoff", lambda **_: Backoff(0.002, 0.016, 0.9))
    monkeypatch.setattr(cascades, "LOOK", 0.001)
    monkeypatch.setattr(cascades, "SOON", 0.001)
    # Nothing plays here.
    monkeypatch.setattr(cascades, "SHOWN_WITHIN", 0.0)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - the fakes tell nobody
            await asyncio.sleep(0.001)


async def comes_by(net: Network, node: str, words: str) -> None:
    """Wait until a node's stream has come that way."""

    async def does() -> bool:
        return await net.path(node) == words

    await until(does)


KEY = b"a"
THERE = Node("there").entry("cam")
FAR = lineage.encode((Node("far").entry("cam"),))


@asynccontextmanager
async def live() -> AsyncIterator[tuple[Live, FakeMedia]]:
    """A node named a, and its media."""
    media = FakeMedia()
    async with Live(media, Policy(), Node("a", KEY)) as node:
        yield node, media


def remote(media: FakeMedia) -> FakeRemotePeer:
    """The last that was opened."""
    peer = media.relays["cam"].peers[-1]
    assert isinstance(peer, FakeRemotePeer)
    return peer


def living(node: Live) -> list[SessionInfo]:
    """Viewers that have not ended."""
    return [s for s in node.stream("cam").subscribe.sessions if not s.left_at]


def is_true(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    """For `until`."""

    async def ask() -> bool:
        return condition()

    return ask


def in_words(names: str) -> str:
    return " → ".join(f"{name}/cam" for name in names)


def rings() -> list[tuple[str, tuple[int, ...], str]]:
    """All rings of up to four nodes, in every order of making them, in every direction."""
    return [
        (names, order, "".join(verbs))
        for names in ("ab", "abc", "abcd")
        for order in itertools.permutations(range(len(names)))
        for verbs in itertools.product("<>", repeat=len(names))
    ]


@pytest.mark.parametrize("names", ["ab", "abc", "abcd"])
async def test_whatever_would_close_a_ring_is_refused(names: str) -> None:
    for _, order, verbs in (ring for ring in rings() if ring[0] == names):
        async with network(names) as net:
            for live in net.lives.values():
                live.create_stream("cam")
            fed: dict[str, str] = {}
            for place in order[:-1]:
                await connect(net, names, place, verbs[place])
                source, to = ends(names, place)
                fed[to] = source
                for node in names:
                    await comes_by(net, node, in_words(way(node, fed)))
            source, to = ends(names, order[-1])
            with pytest.raises(Loop) as caught:
                await connect(net, names, order[-1], verbs[order[-1]])
            assert caught.value.path == in_words(way(source, fed) + to)
            assert caught.value.path.startswith(f"{to}/cam")
            assert sum(len(live.cascades()) for live in net.lives.values()) == len(fed)


def ends(names: str, place: int) -> tuple[str, str]:
    """From whom to whom a part of a ring leads."""
    return names[place], names[(place + 1) % len(names)]


async def connect(net: Network, names: str, place: int, verb: str) -> None:
    source, to = ends(names, place)
    if verb == "<":
        await net.pull(to, source)
    else:
        await net.push(source, to)


def way(node: str, fed: dict[str, str]) -> str:
    """Through whom a node's media comes."""
    return (way(fed[node], fed) if node in fed else "") + node


@pytest.mark.parametrize("names", ["ab", "abc", "abcd"])
async def test_of_pulls_in_a_ring_at_the_same_time_one_ends(names: str) -> None:
    async with network(names) as net:
        net.gate.clear()
        begun = [
            asyncio.ensure_future(net.pull(*reversed(ends(names, place))))
            for place in range(len(names))
        ]
        await asyncio.sleep(0.01)
        # All are on their way; none is refused, for nobody is fed by anybody yet.
        net.gate.set()
        await asyncio.gather(*begun)

        def is_resolved() -> bool:
            """All but one are connected, and that one knows why not."""
            states = [net.state(name) for name in names]
            lost = [error for state, error in states if state != "connected"]
            return len(lost) == 1 and "feed itself" in lost[0]

        # What is still on its way may end another; then it stays, however often one tries again.
        in_a_row = 0
        async with asyncio.timeout(20):
            while in_a_row < 20:
                await asyncio.sleep(0.002)
                in_a_row = in_a_row + 1 if is_resolved() else 0


async def test_those_downstream_are_told_when_the_source_changes() -> None:
    async with network("abcdx") as net:
        for live in net.lives.values():
            live.create_stream("cam")
        await net.pull("c", "b")
        await net.push("c", "d")
        await comes_by(net, "d", in_words("bcd"))
        await net.pull("b", "a")
        await comes_by(net, "d", in_words("abcd"))
        [pull] = net.lives["b"].cascades()
        await net.lives["b"].end_cascade("cam", pull.id)
        await comes_by(net, "d", in_words("bcd"))
        await net.push("x", "b")
        await comes_by(net, "d", in_words("xbcd"))
        # The loop is known over all of them.
        with pytest.raises(Loop, match=in_words("xbcdx")):
            await net.pull("x", "d")


async def test_a_publishers_own_push_is_refused_for_the_loop_not_for_its_place() -> (
    None
):
    async with network("abc") as net:
        await net.lives["a"].publish("cam", "an offer")
        await net.pull("b", "a")
        await net.pull("c", "b")
        with pytest.raises(Loop, match=in_words("abca")):
            await net.push("c", "a")


async def test_a_session_that_is_told_of_a_loop_ends_and_is_tried_again() -> None:
    async with live() as (node, media):
        await node.cascade("cam", source="http://there/whep/cam")
        own = lineage.parse(remote(media).remote.via)
        assert lineage.in_words(own) == "a/cam"
        remote(media).end("lost")
        relay = media.relays["cam"]
        relay.path = (THERE,)
        await until(is_true(lambda: len(relay.peers) == 2))
        peer = remote(media)
        await until(is_true(lambda: peer.heard is not None))
        assert peer.heard is not None
        peer.connect()
        peer.heard((STRANGER, THERE))
        peer.heard((STRANGER, *own, THERE))
        await until(is_true(lambda: len(relay.peers) > 2))
        [info] = node.cascades()
        assert info.error.endswith("feed itself: a/cam → there/cam → a/cam")


async def test_an_answer_may_show_the_loop() -> None:
    async with live() as (node, media):
        own = lineage.Node("a", KEY).entry("cam")
        media.path = (own, THERE)
        with pytest.raises(Loop, match="a/cam → there/cam → a/cam"):
            await node.cascade("cam", source="http://there/whep/cam")
        assert remote(media).left
        assert node.cascades() == []


async def test_streams_of_one_node_may_feed_one_another() -> None:
    async with network("a") as net:
        node = net.lives["a"]
        await node.publish("web-0", "an offer")
        await node.cascade("pull", source="http://a/whep/web-0")
        await node.cascade("web-0", target="http://a/whip/push")
        assert await net.path("a", "pull") == "a/web-0 → a/pull"
        assert await net.path("a", "push") == "a/web-0 → a/push"
        await node.cascade("ring", source="http://a/whep/push")
        ring = "a/web-0 → a/push → a/ring"
        assert await net.path("a", "ring") == ring
        with pytest.raises(Loop, match="a/push → a/ring → a/push"):
            await node.cascade("ring", target="http://a/whip/push")
        with pytest.raises(Loop, match="a/x → a/x"):
            await node.cascade("x", source="http://a/whep/x")


async def test_there_are_no_more_hops_than_may_be() -> None:
    names = [chr(ord("a") + number) for number in range(MAX_HOPS + 1)]
    async with network("".join(names)) as net:
        for source, to in itertools.pairwise(names[:-1]):
            await net.pull(to, source)
        with pytest.raises(TooManyHops):
            await net.pull(names[-1], names[-2])
        with pytest.raises(TooManyHops):
            await net.push(names[-2], names[-1])
        # Viewers are no hops.
        await net.lives[names[-2]].subscribe("cam", "an offer")


async def test_who_is_no_node_is_neither_told_nor_believed() -> None:
    async with live() as (node, media):
        await node.publish("cam", "an offer")
        await node.subscribe("cam", "an offer")
        answered = await node.subscribe("cam", "an offer", "nonsense")
        assert answered.via == ""
        publisher, *viewers = media.relays["cam"].peers
        assert publisher.heard is None
        assert all(viewer.told == [] for viewer in viewers)


async def test_who_says_to_be_a_node_that_it_is_not_only_refuses_itself() -> None:
    async with live() as (node, media):
        viewer = await node.subscribe("cam", "an offer")
        pushed = lineage.encode((STRANGER, THERE))
        await node.publish("cam", "an offer", pushed)
        publisher = media.relays["cam"].peers[-1]
        publisher.connect()
        seen = lineage.parse((await node.subscribe("cam", "x", FAR)).via)
        assert lineage.in_words(seen) == "stranger/cam → there/cam → a/cam"
        for role in (node.publish, node.subscribe):
            with pytest.raises(Loop):
                await role("cam", "an offer", lineage.encode(seen))
        # It says that its media comes from here: that is its own end, nobody else's.
        assert publisher.heard is not None
        publisher.heard(seen)
        await until(is_true(lambda: publisher.left))
        assert [s.id for s in living(node) if s.id == viewer.session]
        assert lineage.in_words(media.relays["cam"].peers[2].told[-1]) == "a/cam"


#: Nobody waits: viewers are to be told.
REFUSE = Policy(stream=StreamPolicy(refuse_waiting=True))


@pytest.mark.parametrize("policy", [REFUSE, Policy()], ids=["refuse", "wait"])
@pytest.mark.parametrize("names", ["ab", "abc", "abcd"])
async def test_edges_in_a_ring_do_not_wait_for_one_another(
    names: str, policy: Policy
) -> None:
    origins = {name: names[place - 1] for place, name in enumerate(names)}
    async with network(names, policy, **origins) as net:
        for name in names:
            # All at once would be told after a while.
            async with asyncio.timeout(PATIENCE / 2):
                with pytest.raises(NotFound):
                    await net.lives[name].subscribe("cam", "x", may_wait=False)
        await until(is_true(net.is_empty))


async def test_edges_in_a_ring_find_what_one_of_them_has() -> None:
    origins = {"a": "c", "b": "a", "c": "bo"}
    async with network("abco", REFUSE, **origins) as net:
        await net.publish("o")
        for name, way in (("a", "oca"), ("b", "ocab"), ("c", "oc")):
            viewer = await net.lives[name].subscribe("cam", "an offer")
            assert await net.path(name) == in_words(way)
            await net.lives[name].end_session("cam", viewer.session)


async def test_a_ring_of_edges_whose_viewers_wait_settles() -> None:
    async with network("ab", a="b", b="a") as net:
        viewers = {
            name: await net.lives[name].subscribe("cam", "an offer") for name in "ab"
        }

        async def is_settled() -> bool:
            """One has the other for its source, and that one knows that it is none."""
            states = sorted(net.state(name)[0] for name in "ab")
            errors = [net.state(name)[1] for name in "ab"]
            return states == ["connected", "waiting"] and any(
                "feed itself" in error for error in errors
            )

        await until(is_settled)
        for name, viewer in viewers.items():
            await net.lives[name].end_session("cam", viewer.session)
        await until(is_true(net.is_empty))


async def test_who_claims_to_be_the_origin_keeps_nobody_from_it() -> None:
    async with network("ao", REFUSE, a="o") as net:
        await net.publish("o")
        seen = await net.lives["o"].subscribe("cam", "an offer", FAR)
        net.gate.clear()
        liar = asyncio.ensure_future(
            caught(net.lives["a"].subscribe("cam", "x", seen.via))
        )
        viewer = asyncio.ensure_future(net.lives["a"].subscribe("cam", "an offer"))
        await asyncio.sleep(0.01)
        net.gate.set()
        assert isinstance(await liar, Loop)
        assert (await viewer).sdp
        assert await net.path("a") == in_words("oa")
