"""Live: the verbs, with peers that do what the test says."""

from __future__ import annotations

import asyncio
import logging

import pytest

from live777py.core.live import Live, Policy
from live777py.core.stream import StreamPolicy
from live777py.errors import (
    AlreadyPublishing,
    AtCapacity,
    InvalidName,
    InvalidOffer,
    SessionNotFound,
    ShuttingDown,
    StreamNotFound,
)
from tests.core.fakes import OPUS, FakeMedia


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_publisher_gets_the_answer_of_its_peer() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        answered = await live.publish("cam", "offer")
        assert answered.sdp == "answer to offer"
        assert answered.version == "v1"
        assert len(answered.session) == 32


async def test_a_stream_lists_its_publisher_viewers_and_codecs() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        publisher = await live.publish("cam", "p")
        first = await live.subscribe("cam", "v")
        second = await live.subscribe("cam", "v")
        media.relays["cam"].codecs = {"audio": OPUS}
        (info,) = live.streams()
        assert [s.id for s in info.publish.sessions] == [publisher.session]
        assert [s.id for s in info.subscribe.sessions] == [
            first.session,
            second.session,
        ]
        assert info.publish.left_at == info.subscribe.left_at == 0
        assert info.codecs == (OPUS,)


async def test_a_second_publisher_is_refused_and_the_first_stays() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        first = await live.publish("cam", "p")
        with pytest.raises(AlreadyPublishing, match="'cam' already has a publisher"):
            await live.publish("cam", "p")
        (info,) = live.streams()
        assert [s.id for s in info.publish.sessions] == [first.session]


async def test_of_two_publishers_at_once_one_wins() -> None:
    async with Live(FakeMedia(), Policy()) as live, asyncio.TaskGroup() as group:

        async def publish() -> bool:
            try:
                await live.publish("cam", "p")
            except AlreadyPublishing:
                return False
            return True

        both = [group.create_task(publish()) for _ in range(2)]
        await asyncio.wait(both)
        assert sorted(task.result() for task in both) == [False, True]


async def test_a_bad_offer_is_the_callers_error_and_leaves_nothing() -> None:
    media = FakeMedia()
    media.error = InvalidOffer("no")
    async with Live(media, Policy()) as live:
        with pytest.raises(InvalidOffer):
            await live.publish("cam", "p")
        assert live.streams() == []
        assert media.relays["cam"].closed
        assert media.relays["cam"].peers[0].left


async def test_a_bad_offer_leaves_an_existing_stream_alone() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        await live.publish("cam", "p")
        media.relays["cam"].error = InvalidOffer("no")
        with pytest.raises(InvalidOffer):
            await live.subscribe("cam", "v")
        (info,) = live.streams()
        assert info.subscribe.sessions == ()
        assert info.subscribe.left_at >= info.created_at


async def test_a_session_that_never_connects_ends_by_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    media = FakeMedia()
    async with Live(media, Policy(connect_timeout=0.01)) as live:
        await live.publish("cam", "p")
        async with asyncio.timeout(5):
            while live.streams():  # noqa: ASYNC110 - nobody is told of the end
                await asyncio.sleep(0.001)
        assert media.relays["cam"].peers[0].left
    assert "not connected within 0.01 s" in caplog.text


async def test_viewers_stay_when_the_publisher_goes_and_meet_the_next_one() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        publisher = await live.publish("cam", "p")
        viewer = await live.subscribe("cam", "v")
        relay = media.relays["cam"]
        for peer in relay.peers:
            peer.connect()
        await live.end_session("cam", publisher.session)
        (info,) = live.streams()
        assert info.publish.sessions == ()
        assert info.publish.left_at > 0
        assert [s.id for s in info.subscribe.sessions] == [viewer.session]
        await live.publish("cam", "p")
        assert not relay.closed
        assert media.relays == {"cam": relay}


async def test_a_stream_ends_with_its_last_session() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        viewer = await live.subscribe("cam", "v")
        media.relays["cam"].peers[0].connect()
        await live.end_session("cam", viewer.session)
        assert live.streams() == []
        assert media.relays["cam"].closed


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


async def test_streams_are_created_only_as_the_policy_says() -> None:
    policy = Policy(create_on_publish=False, create_on_watch=False)
    async with Live(FakeMedia(), policy) as live:
        with pytest.raises(StreamNotFound):
            await live.publish("cam", "p")
        with pytest.raises(StreamNotFound):
            await live.subscribe("cam", "v")


async def test_a_full_stream_refuses_viewers_but_not_its_publisher() -> None:
    async with Live(FakeMedia(), Policy(stream=StreamPolicy(max_viewers=1))) as live:
        await live.subscribe("cam", "v")
        with pytest.raises(AtCapacity, match="each_stream_max_sub"):
            await live.subscribe("cam", "v")
        await live.publish("cam", "p")


async def test_a_stream_that_may_have_no_viewers_is_not_left_behind() -> None:
    media = FakeMedia()
    async with Live(media, Policy(stream=StreamPolicy(max_viewers=0))) as live:
        with pytest.raises(AtCapacity):
            await live.subscribe("cam", "v")
        assert live.streams() == []
        assert media.relays["cam"].closed


async def test_a_full_server_refuses_sessions() -> None:
    async with Live(FakeMedia(), Policy(max_sessions=1)) as live:
        await live.publish("cam", "p")
        with pytest.raises(AtCapacity, match="max_sessions"):
            await live.publish("other", "p")
        assert [info.name for info in live.streams()] == ["cam"]


async def test_an_engine_without_room_refuses_streams() -> None:
    media = FakeMedia()
    media.full = True
    async with Live(media, Policy()) as live:
        with pytest.raises(AtCapacity, match="no track left"):
            await live.publish("cam", "p")
        assert live.streams() == []


async def test_a_bad_name_is_refused() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        with pytest.raises(InvalidName):
            await live.publish("", "p")


async def test_shutting_down_refuses_work_and_lets_every_peer_leave(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        await live.publish("cam", "p")
        await live.subscribe("cam", "v")
        media.relays["cam"].peers[0].connect()
        await settle()
        live.refuse_work()
        with pytest.raises(ShuttingDown):
            await live.publish("other", "p")
    assert all(peer.left for peer in media.relays["cam"].peers)
    assert media.relays["cam"].closed
    assert live.streams() == []
    assert caplog.text.count("the server is shutting down") == 2


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
