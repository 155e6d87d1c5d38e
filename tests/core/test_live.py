"""Live: the verbs, with peers that do what the test says."""

from __future__ import annotations

import asyncio
import logging

import pytest

from live777py.core.live import Live, Policy
from live777py.core.model import (
    PeerState,
)
from live777py.core.stream import StreamPolicy
from live777py.errors import (
    AlreadyPublishing,
    InvalidOffer,
    NotPublished,
    ShuttingDown,
    StreamNotFound,
)
from tests.core.fakes import OPUS, FakeMedia, settle


async def test_a_publisher_gets_the_answer_of_its_peer() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        answered = await live.publish("cam", "offer")
        assert answered.sdp == "answer to offer"
        assert answered.version == "v1"
        assert len(answered.session) == 32


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
        assert [s.state for s in info.publish.sessions] == [PeerState.CLOSED]
        assert info.publish.left_at > 0
        assert [s.id for s in info.subscribe.sessions] == [viewer.session]
        await live.publish("cam", "p")
        assert not relay.closed
        assert media.relays == {"cam": relay}


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


async def test_by_policy_viewers_do_not_wait() -> None:
    media = FakeMedia()
    policy = Policy(stream=StreamPolicy(refuse_waiting=True))
    async with Live(media, policy) as live:
        with pytest.raises(NotPublished):
            await live.subscribe("cam", "v")
        assert live.streams() == []
        await live.publish("cam", "p")
        with pytest.raises(NotPublished, match="nobody publishes stream 'cam'"):
            await live.subscribe("cam", "v")
        media.relays["cam"].codecs = {"audio": OPUS}
        await live.subscribe("cam", "v")


async def test_no_viewer_waits_for_a_name_that_watching_does_not_create() -> None:
    policy = Policy(create_on_watch=False, stream=StreamPolicy(refuse_waiting=True))
    async with Live(FakeMedia(), policy) as live:
        with pytest.raises(StreamNotFound):
            await live.subscribe("cam", "v")


async def test_whoever_reads_events_is_told_of_a_shutdown_at_once() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        with live.events.subscribe() as subscription:
            live.refuse_work()
            assert live.is_closing
            assert [event async for event in subscription] == []
