"""Sessions of a node: their places, lives and ends; with peers that do what the test says."""

from __future__ import annotations

import asyncio
import logging

import pytest

from live777py.core.events import Event, EventType
from live777py.core.live import Live, Policy
from live777py.core.model import (
    PeerState,
    StreamName,
    Traffic,
)
from live777py.core.stream import StreamPolicy
from live777py.errors import (
    AlreadyPublishing,
    AtCapacity,
    NoLayers,
    NotAViewer,
    SessionNotFound,
    TakeoverPending,
)
from tests.core.fakes import FakeMedia, settle
from tests.core.wishing import connected_publisher


async def test_a_session_that_never_connects_ends_by_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    media = FakeMedia()
    async with Live(media, Policy(connect_timeout=0.01)) as live:
        await live.publish("cam", "p")
        async with asyncio.timeout(20):
            while live.streams():  # noqa: ASYNC110 - nobody is told of the end
                await asyncio.sleep(0.001)
        assert media.relays["cam"].peers[0].left
    assert "not connected within 0.01 s" in caplog.text


async def test_ending_a_session_waits_until_its_peer_has_left() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        answered = await live.publish("cam", "p")
        await live.end_session("cam", answered.session)
        assert media.relays["cam"].peers[0].left


async def test_an_ended_session_is_not_found_again() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        answered = await live.publish("cam", "p")
        await live.end_session("cam", answered.session)
        with pytest.raises(SessionNotFound):
            await live.end_session("cam", answered.session)


async def test_a_session_is_not_found_under_another_stream() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        answered = await live.publish("cam", "p")
        await live.publish("other", "p")
        with pytest.raises(SessionNotFound):
            await live.end_session("other", answered.session)


async def test_a_peer_that_goes_ends_its_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        await live.publish("cam", "p")
        peer = media.relays["cam"].peers[0]
        peer.connect()
        await settle()
        peer.end("close_notify")
        await settle()
        assert live.streams() == []
    assert "publish session begins" in caplog.text
    assert "publish session ends after 0.0 s: close_notify" in caplog.text


async def test_a_full_stream_refuses_viewers_but_not_its_publisher() -> None:
    async with Live(FakeMedia(), Policy(stream=StreamPolicy(max_viewers=1))) as live:
        await live.subscribe("cam", "v")
        with pytest.raises(AtCapacity, match="each_stream_max_sub"):
            await live.subscribe("cam", "v")
        await live.publish("cam", "p")


async def test_a_full_server_refuses_sessions() -> None:
    async with Live(FakeMedia(), Policy(max_sessions=1)) as live:
        await live.publish("cam", "p")
        with pytest.raises(AtCapacity, match="max_sessions"):
            await live.publish("other", "p")
        assert [info.name for info in live.streams()] == ["cam"]


async def test_a_fault_in_one_session_costs_only_that_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        media.error = RuntimeError("a bug")
        with pytest.raises(RuntimeError):
            await live.publish("cam", "p")
        media.error = None
        await live.publish("cam", "p")
        assert [info.name for info in live.streams()] == ["cam"]


async def test_a_session_that_never_connects_is_told_as_failed() -> None:
    async with Live(FakeMedia(), Policy(connect_timeout=0.01)) as live:
        events: list[Event] = []
        live.events.listen(events.append)
        answered = await live.publish("cam", "p")
        await live._sessions[answered.session].ended.wait()
    failed = next(e for e in events if e.type is EventType.SESSION_FAILED)
    assert failed.cause == "ice_timeout"


async def test_ended_sessions_stay_listed_for_a_while() -> None:
    async with Live(FakeMedia(), Policy(list_ended=60)) as live:
        await live.publish("cam", "p")
        viewer = await live.subscribe("cam", "v")
        await live.end_session("cam", viewer.session)
        (listed,) = live.stream("cam").subscribe.sessions
        assert listed.id == viewer.session
        assert listed.state is PeerState.CLOSED
        assert listed.left_at >= listed.created_at
        with pytest.raises(SessionNotFound):
            live.session("cam", viewer.session)


async def test_ended_sessions_are_forgotten_in_the_end() -> None:
    async with Live(FakeMedia(), Policy(list_ended=0)) as live:
        await live.publish("cam", "p")
        viewer = await live.subscribe("cam", "v")
        await live.end_session("cam", viewer.session)
        assert live.stream("cam").subscribe.sessions == ()


async def test_a_silent_publisher_makes_room_once_another_is_connected() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        first = await connected_publisher(live, media)
        old = media.relays["cam"].peers[0]
        old.silence = 1.9
        with pytest.raises(AlreadyPublishing):
            await live.publish("cam", "p")
        old.silence = 2.0
        second = await live.publish("cam", "p")
        # Both are listed; the first keeps its place until the second can really publish.
        assert len(live.stream("cam").publish.sessions) == 2
        assert not old.left
        with pytest.raises(TakeoverPending):
            await live.publish("cam", "p")
        media.relays["cam"].peers[1].connect()
        await settle()
        assert old.left
        with pytest.raises(SessionNotFound):
            live.session("cam", first.session)
        assert live.session("cam", second.session)


async def test_one_that_is_still_connecting_is_alive() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        await live.publish("cam", "p")
        media.relays["cam"].peers[0].silence = 10
        with pytest.raises(AlreadyPublishing):
            await live.publish("cam", "p")


async def test_a_successor_that_never_connects_leaves_the_first_in_its_place() -> None:
    media = FakeMedia()
    policy = Policy(stream=StreamPolicy(replace_publisher=True))
    async with Live(media, policy) as live:
        first = await connected_publisher(live, media)
        second = await live.publish("cam", "p")
        await live.end_session("cam", second.session)
        living = [s for s in live.stream("cam").publish.sessions if not s.left_at]
        assert [s.id for s in living] == [first.session]


async def test_by_policy_the_newest_publisher_wins() -> None:
    media = FakeMedia()
    policy = Policy(stream=StreamPolicy(replace_publisher=True))
    async with Live(media, policy) as live:
        await connected_publisher(live, media)
        await live.publish("cam", "p")
        third = await live.publish("cam", "p")
        await settle()
        peers = media.relays["cam"].peers
        assert peers[1].left
        peers[2].connect()
        await settle()
        assert peers[0].left
        assert live.session("cam", third.session).is_connected


async def test_who_has_lost_the_place_belongs_to_the_stream_until_it_has_left() -> None:
    media = FakeMedia()
    policy = Policy(stream=StreamPolicy(replace_publisher=True))
    async with Live(media, policy) as live:
        await connected_publisher(live, media)
        relay = media.relays["cam"]
        old = relay.peers[0]
        old.traffic = Traffic(bytes=100, packets=1)
        old.may_leave.clear()
        second = await connected_publisher(live, media)
        # What has passed never decreases, whoever looks when.
        assert live.stream("cam").publish.traffic.bytes == 100
        assert live.tallies()[1].received.bytes == 100
        deleting = asyncio.ensure_future(live.delete_stream("cam"))
        await live.session("cam", second.session).ended.wait()
        await settle()
        assert not deleting.done()
        assert not relay.closed
        old.may_leave.set()
        await deleting
        assert relay.closed
        assert live.tallies()[1].received.bytes == 100


async def test_a_successor_inherits_when_the_first_goes_before() -> None:
    media = FakeMedia()
    policy = Policy(stream=StreamPolicy(replace_publisher=True))
    async with Live(media, policy) as live:
        first = await connected_publisher(live, media)
        second = await live.publish("cam", "p")
        await live.end_session("cam", first.session)
        stream = live._streams[StreamName("cam")]
        assert stream.publisher is live.session("cam", second.session)
        assert stream.info(0).publish.left_at == 0


async def test_a_viewers_kinds_can_be_muted_and_a_publishers_cannot() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        publisher = await live.publish("cam", "p")
        viewer = await live.subscribe("cam", "v")
        peer = media.relays["cam"].peers[1]
        live.mute("cam", viewer.session, "audio", muted=True)
        assert peer.muted == {"audio"}
        live.mute("cam", viewer.session, "audio", muted=False)
        assert peer.muted == set()
        with pytest.raises(NotAViewer):
            live.mute("cam", publisher.session, "audio", muted=True)


async def test_there_are_no_layers_to_choose() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        publisher = (await live.publish("cam", "p")).session
        viewer = (await live.subscribe("cam", "v")).session
        assert live.layers("cam", viewer) == live.layers("cam", publisher) == ()
        with pytest.raises(NoLayers):
            live.choose_layer("cam", viewer, "q")
        with pytest.raises(NotAViewer):
            live.choose_layer("cam", publisher, None)
        for verb in (live.layers, lambda n, s: live.choose_layer(n, s, None)):
            with pytest.raises(SessionNotFound):
                verb("cam", "other")


@pytest.mark.parametrize(
    ("stage", "cause"), [("ice", "ice_timeout"), ("dtls", "dtls_timeout")]
)
async def test_who_never_connects_is_told_by_how_far_it_came(
    stage: str, cause: str
) -> None:
    media = FakeMedia()
    async with Live(media, Policy(connect_timeout=0.05)) as live:
        events: list[Event] = []
        live.events.listen(events.append)
        answered = await live.publish("cam", "p")
        media.relays["cam"].peers[0].stage = stage
        await live.session("cam", answered.session).ended.wait()
    assert [e.cause for e in events if e.type is EventType.SESSION_FAILED] == [cause]
