from __future__ import annotations

import asyncio
import logging

import pytest

from live777py.aio.backoff import Backoff
from live777py.core import cascades, rounds, seekers, wish
from live777py.core.live import Live, Policy
from live777py.core.model import Cascade, CascadeState, PeerState, Role, Traffic
from live777py.core.remote import Remote
from live777py.core.stream import StreamPolicy
from live777py.errors import (
    AlreadyPublishing,
    AtCapacity,
    BadGateway,
    CascadeNotFound,
    InvalidRemote,
    LiveError,
    Loop,
    NotPublished,
    PullExists,
    ShuttingDown,
    StreamNotFound,
)
from tests.core.fakes import settle
from tests.core.storms import Storm
from tests.core.wishing import connect, live, only, only_stream, peer_of, until

SOURCE = "whep://secret@there/whep/cam"
TARGET = "http://there/whip/cam"


pytestmark = pytest.mark.usefixtures("quick")


async def test_a_pull_is_a_publisher_and_a_push_a_viewer() -> None:
    async with live() as (node, media):
        pulled = await node.cascade("cam", source=SOURCE, token="Bearer hidden")
        assert pulled.state is CascadeState.CONNECTING
        assert peer_of(media).remote.token == "hidden"
        [session] = only_stream(node).publish.sessions
        there = "http://there/session/x"
        assert session.cascade == Cascade("http://there/whep/cam", "", there)
        assert pulled.cascade == session.cascade
        assert pulled.session == session.id
        await connect(node, peer_of(media))
        pushed = await node.cascade("cam", target=TARGET)
        [session] = only_stream(node).subscribe.sessions
        assert session.cascade == Cascade("", "http://there/whip/cam", there)
        assert [c.id for c in node.cascades("cam")] == [pulled.id, pushed.id]
        assert node.cascades("other") == []
        assert node.cascade_info("cam", pushed.id).id == pushed.id


async def test_a_lost_pull_is_tried_again_and_its_viewers_stay() -> None:
    async with live() as (node, media):
        info = await node.cascade("cam", source=SOURCE)
        await connect(node, peer_of(media))
        viewer = await node.subscribe("cam", "an offer")
        first = media.relays["cam"].peers[0]
        first.end("the other side is gone")
        await until(lambda: len(media.relays["cam"].peers) == 3)
        again = peer_of(media)
        await until(lambda: again.state.value == "connecting")
        assert only(node).error == "the other side is gone"
        assert only(node).id == info.id
        await connect(node, again)
        assert only(node).attempts == 0
        assert [s.id for s in only_stream(node).subscribe.sessions] == [viewer.session]
        assert len(node.streams()) == 1


async def test_what_the_other_server_does_not_take_is_shown_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with live() as (node, media):
        media.servers.warnings = ("there sends no audio",)
        info = await node.cascade("cam", source=SOURCE)
        assert info.warnings == ("there sends no audio",)
        await connect(node, peer_of(media))
        assert only(node).warnings == ("there sends no audio",)
        media.servers.warnings = ("there sends no audio", "there sends no video")
        peer_of(media).end("lost")
        await until(lambda: len(only(node).warnings) == 2)
        media.servers.warnings = ()
        again = peer_of(media)
        again.end("lost")
        await until(lambda: peer_of(media) is not again)
        await until(lambda: peer_of(media).state is PeerState.CONNECTING)
        assert only(node).warnings == ()
    logged = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [line.rpartition("] ")[2] for line in logged] == [
        "there sends no audio",
        "there sends no video",
    ]


async def test_a_server_that_has_another_fault_each_time_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wish, "MAX_WARNED", 3)
    async with live() as (node, media):
        media.servers.warnings = ("0", "1")
        await node.cascade("cam", source=SOURCE)
        for number in range(2, 10, 2):
            media.servers.warnings = (str(number), str(number + 1))
            peer_of(media).end("lost")
            await until(lambda: only(node).warnings == media.servers.warnings)
    logged = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(logged) == 3


async def test_what_is_refused_later_is_tried_again_until_it_is_accepted() -> None:
    async with live() as (node, media):
        await node.cascade("cam", source=SOURCE)
        await connect(node, peer_of(media))
        relay = media.relays["cam"]
        relay.error = BadGateway("there answered 401", 401)
        relay.peers[0].end("lost")
        await until(lambda: only(node).error == "there answered 401")
        await until(lambda: len(relay.peers) > 4)
        # Nobody publishes and nobody watches, but the wish keeps the stream.
        assert only_stream(node).name == "cam"
        relay.error = None
        await until(lambda: peer_of(media).state.value == "connecting")
        await connect(node, peer_of(media))


async def test_the_other_servers_wish_to_be_left_alone_is_heeded() -> None:
    async with live() as (node, media):
        await node.cascade("cam", source=SOURCE)
        await connect(node, peer_of(media))
        relay = media.relays["cam"]
        relay.error = BadGateway("busy", 503, retry_after=600)
        relay.peers[0].end("lost")
        await until(lambda: only(node).error == "busy")
        assert only(node).state is CascadeState.WAITING
        peers = len(relay.peers)
        await asyncio.sleep(0.05)
        assert len(relay.peers) == peers
        await node.end_cascade("cam", only(node).id)
        assert node.cascades() == []


async def test_a_first_attempt_that_fails_is_its_callers_and_leaves_nothing() -> None:
    async with live() as (node, media):
        await node.publish("other", "an offer")
        media.error = BadGateway("there answered 403", 403)
        with pytest.raises(BadGateway, match="403"):
            await node.cascade("cam", source=SOURCE)
        assert node.cascades() == []
        assert [s.name for s in node.streams()] == ["other"]


async def test_a_first_attempt_that_is_ended_here_says_by_what() -> None:
    policy = Policy(stream=StreamPolicy(replace_publisher=True))
    async with live(policy) as (node, media):

        async def begin(error: type[Exception]) -> asyncio.Task[None]:
            async def attempt() -> None:
                with pytest.raises(error):
                    await node.cascade("cam", source=SOURCE)

            media.servers.may_answer.clear()
            task = asyncio.create_task(attempt())
            await until(lambda: [info.session for info in node.cascades()])
            return task

        task = await begin(StreamNotFound)
        await node.delete_stream("cam")
        await task
        task = await begin(CascadeNotFound)
        await node.end_cascade("cam", only(node).id)
        await task
        task = await begin(AlreadyPublishing)
        await node.publish("cam", "an offer")
        media.relays["cam"].peers[-1].connect()
        await task
        await node.delete_stream("cam")
        task = await begin(ShuttingDown)
        node.refuse_work()
        await task
        assert node.cascades() == []


@pytest.mark.parametrize("is_pull", [True, False])
async def test_deleting_a_cascade_ends_its_session_and_leaves_viewers(
    is_pull: bool,
) -> None:
    async with live() as (node, media):
        viewer = await node.subscribe("cam", "an offer")
        urls = {"source" if is_pull else "target": TARGET}
        info = await node.cascade("cam", **urls)
        with pytest.raises(CascadeNotFound):
            await node.end_cascade("other", info.id)
        await node.end_cascade("cam", info.id)
        assert peer_of(media).left
        with pytest.raises(CascadeNotFound):
            await node.end_cascade("cam", info.id)
        sessions = only_stream(node).subscribe.sessions
        assert [s.id for s in sessions if not s.left_at] == [viewer.session]


async def test_deleting_the_stream_ends_its_cascades() -> None:
    async with live() as (node, media):
        await node.cascade("cam", source=SOURCE)
        await node.cascade("cam", target=TARGET)
        relay = media.relays["cam"]
        await node.delete_stream("cam")
        assert node.cascades() == []
        assert node.streams() == []
        assert all(peer.left for peer in relay.peers)
        assert relay.closed


async def test_deleting_the_stream_ends_a_cascade_that_waits() -> None:
    async with live() as (node, media):
        await node.cascade("cam", source=SOURCE)
        relay = media.relays["cam"]
        relay.error = BadGateway("busy", 503, retry_after=600)
        relay.peers[0].end("lost")
        await until(lambda: only(node).error == "busy")
        await node.delete_stream("cam")
        assert node.cascades() == []
        assert relay.closed


async def test_what_passed_in_a_stream_that_was_deleted_counts_once() -> None:
    async with live() as (node, media):
        await node.cascade("cam", source=SOURCE)
        peer_of(media).traffic = Traffic(bytes=1000, packets=1)
        assert only(node).traffic.bytes == 1000
        await node.delete_stream("cam")
        assert node.tallies()[1].received.bytes == 1000


async def test_what_contradicts_itself_is_refused() -> None:
    async with live() as (node, _):
        for urls in ({}, {"source": SOURCE, "target": TARGET}, {"source": "ftp://x"}):
            with pytest.raises(InvalidRemote):
                await node.cascade("cam", **urls)
        with pytest.raises(StreamNotFound):
            await node.cascade("cam", target=TARGET)
        await node.publish("cam", "an offer")
        with pytest.raises(AlreadyPublishing):
            await node.cascade("cam", source=SOURCE)
        await node.cascade("pulled", source=SOURCE)
        with pytest.raises(PullExists):
            await node.cascade("pulled", source=SOURCE)
        with pytest.raises(AlreadyPublishing):
            await node.publish("pulled", "an offer")
        node.refuse_work()
        with pytest.raises(ShuttingDown):
            await node.cascade("new", source=SOURCE)


async def test_a_pull_takes_nobodys_place_by_any_policy() -> None:
    policy = Policy(stream=StreamPolicy(replace_publisher=True))
    async with live(policy) as (node, media):
        await node.cascade("cam", source=SOURCE)
        await connect(node, peer_of(media))
        other = await node.publish("cam", "an offer")
        media.relays["cam"].peers[-1].connect()
        await until(lambda: "publisher" in only(node).error)
        # Tried several times, it is refused while the other publishes.
        await until(lambda: "already has a publisher" in only(node).error)
        await node.end_session("cam", other.session)
        await until(lambda: only(node).state is CascadeState.CONNECTING)


async def test_a_pull_is_tried_at_once_when_another_publisher_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = Policy(stream=StreamPolicy(replace_publisher=True))
    async with live(policy) as (node, media):
        await node.cascade("cam", source=SOURCE)
        await connect(node, peer_of(media))
        other = await node.publish("cam", "an offer")
        monkeypatch.setattr(Backoff, "next", lambda _: 600)
        media.relays["cam"].peers[-1].connect()
        await until(lambda: "another publisher" in only(node).error)
        node.retry_cascades()
        await until(lambda: "already has a publisher" in only(node).error)
        await node.end_session("cam", other.session)
        await until(lambda: only(node).state is CascadeState.CONNECTING)


async def test_a_stream_that_waits_for_its_source_does_not_expire() -> None:
    policy = Policy(stream=StreamPolicy(delete_unpublished=0.02))
    async with live(policy) as (node, media):
        await node.cascade("cam", source=SOURCE)
        relay = media.relays["cam"]
        relay.error = BadGateway("busy", 503, retry_after=600)
        relay.peers[0].end("lost")
        await until(lambda: only(node).error == "busy")
        await asyncio.sleep(0.06)
        assert only(node).state is CascadeState.WAITING


async def test_a_push_is_tried_at_once_when_a_publisher_returns() -> None:
    async with live() as (node, media):
        await node.cascade("cam", source=SOURCE)
        await connect(node, peer_of(media))
        pull, push = only(node), await node.cascade("cam", target=TARGET)
        relay = media.relays["cam"]
        relay.error = BadGateway("busy", 503, retry_after=600)
        relay.peers[1].end("lost")
        await until(lambda: node.cascade_info("cam", push.id).error == "busy")
        await node.end_cascade("cam", pull.id)
        relay.error = None
        await node.publish("cam", "an offer")
        relay.peers[-1].connect()
        await until(
            lambda: node.cascade_info("cam", push.id).state is CascadeState.CONNECTING
        )


@pytest.mark.parametrize(("steady", "begins"), [(0.0, True), (60.0, False)])
async def test_a_push_of_something_else_begins_anew_at_once_if_the_last_one_has_lasted(
    monkeypatch: pytest.MonkeyPatch, steady: float, begins: bool
) -> None:
    monkeypatch.setattr(rounds, "Backoff", lambda **_: Backoff(600, 600))
    monkeypatch.setattr(wish, "STEADY", steady)
    async with live() as (node, media):
        await node.publish("cam", "an offer")
        relay = media.relays["cam"]
        relay.peers[0].connect()
        await node.cascade("cam", target=TARGET)
        first = peer_of(media)
        await connect(node, first)
        first.end("the stream is now VP9", "codec_changed")
        if begins:
            await until(lambda: peer_of(media) is not first)
            await connect(node, peer_of(media))
        else:
            await until(lambda: only(node).state is CascadeState.WAITING)
            await settle()
            assert peer_of(media) is first


async def test_a_push_waits_for_a_publisher_who_is_about_to_show_what_it_sends() -> (
    None
):
    async with live() as (node, media):
        await node.publish("cam", "an offer")
        pushing = asyncio.create_task(node.cascade("cam", target=TARGET))
        await until(lambda: len(node.cascades()) == 1)
        await settle()
        relay = media.relays["cam"]
        assert len(relay.peers) == 1
        relay.peers[0].connect()
        assert (await pushing).cascade.target_url == TARGET
        assert len(relay.peers) == 2


async def test_a_push_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascades, "SHOWN_WITHIN", 0.02)
    async with live() as (node, media):
        await node.publish("cam", "an offer")
        media.relays["cam"].error = NotPublished("cam")
        with pytest.raises(NotPublished):
            await node.cascade("cam", target=TARGET)
        assert node.cascades() == []


async def test_a_push_that_waits_ends_with_its_stream() -> None:
    async with live() as (node, _):
        await node.publish("cam", "an offer")
        pushing = asyncio.create_task(node.cascade("cam", target=TARGET))
        await until(lambda: len(node.cascades()) == 1)
        await settle()
        await node.delete_stream("cam")
        with pytest.raises(StreamNotFound):
            await pushing
        assert node.cascades() == []


async def test_a_push_may_end_other_viewers() -> None:
    async with live(Policy(push_ends_viewers=True)) as (node, _):
        viewer = await node.subscribe("cam", "an offer")
        await node.cascade("cam", target=TARGET)
        await until(lambda: viewer.session not in _living(node))
        assert len(_living(node)) == 1


def _living(node: Live) -> list[str]:
    return [s.id for s in only_stream(node).subscribe.sessions if not s.left_at]


@pytest.mark.parametrize("is_pull", [True, False])
async def test_a_cascade_onto_its_own_stream_is_refused(is_pull: bool) -> None:
    async with live() as (node, media):
        await node.subscribe("cam", "an offer")
        await node.cascade("cam", **{"source" if is_pull else "target": TARGET})
        via = peer_of(media).remote.via
        calls = (node.publish, node.subscribe)
        for call in calls:
            with pytest.raises(Loop):
                await call("cam", "an offer", via)
        # Between two streams of a node it is none.
        await node.subscribe("other", "an offer", via)
    async with live() as (another, _):
        await another.subscribe("cam", "an offer", via)


async def test_a_wish_outlives_what_nobody_expected() -> None:
    async with live() as (node, media):
        await node.cascade("cam", source=SOURCE)
        await connect(node, peer_of(media))
        relay = media.relays["cam"]
        relay.error = OSError("too many open files")
        relay.peers[0].end("lost")
        await until(lambda: only(node).error == "internal error")
        relay.error = None
        await until(lambda: peer_of(media).state.value == "connecting")


async def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascades, "MAX_CASCADES", 1)
    async with live() as (node, _):
        # Nobody could delete what the configuration has: it takes no room.
        node.provision("configured", StreamPolicy())
        node.configure_cascade("configured", Role.PUBLISH, (Remote.parse(SOURCE),))
        made = await node.cascade("cam", source=SOURCE)
        with pytest.raises(AtCapacity, match="1 cascades"):
            await node.cascade("other", source=SOURCE)
        assert {info.stream for info in node.cascades()} == {"configured", "cam"}
        await node.end_cascade("cam", made.id)
        await node.cascade("other", source=SOURCE)


async def test_leaving_ends_cascades_whatever_they_do() -> None:
    async with live() as (node, media):
        await node.cascade("a", source=SOURCE)
        await node.cascade("b", source=SOURCE)
        relay = media.relays["b"]
        relay.error = BadGateway("busy", 503, retry_after=600)
        relay.peers[0].end("lost")
        await until(lambda: any(c.error == "busy" for c in node.cascades()))
    assert node.cascades() == []
    assert all(p.left for r in media.relays.values() for p in r.peers)


async def test_a_full_server_is_no_reason_to_give_up() -> None:
    async with live(Policy(max_sessions=1)) as (node, media):
        await node.cascade("cam", source=SOURCE)
        with pytest.raises(LiveError, match="max_sessions"):
            await node.cascade("other", source=SOURCE)
        peer_of(media).end("lost")
        await until(lambda: len(media.relays["cam"].peers) == 2)
        assert [s.name for s in node.streams()] == ["cam"]


@pytest.mark.parametrize("seed", range(16))
async def test_whatever_happens_in_whatever_order_leaves_nothing(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = (0.0, 0.002)[seed % 2]
    monkeypatch.setattr(cascades, "MEMORY", memory)
    monkeypatch.setattr(wish, "MEMORY", memory)
    monkeypatch.setattr(wish, "STABLE", (0.0, 0.003, 10.0)[seed % 3])
    monkeypatch.setattr(seekers, "PATIENCE", (0.003, 1.0)[seed // 2 % 2])
    async with asyncio.timeout(30):
        await Storm(seed).run()
