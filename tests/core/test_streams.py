"""How streams of a node come, are told of and end; with peers that do what the test says."""

from __future__ import annotations

import asyncio

import pytest

from live777py.core.events import Event, EventType
from live777py.core.live import Live, Policy
from live777py.core.model import (
    MediaCounters,
    StreamName,
    Traffic,
)
from live777py.core.stream import Stream, StreamPolicy
from live777py.errors import (
    AtCapacity,
    InvalidName,
    StreamExists,
    StreamNotFound,
    StreamProvisioned,
)
from tests.core.fakes import OPUS, FakeMedia, settle
from tests.core.wishing import connected_publisher


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


async def test_a_stream_ends_with_its_last_session() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        viewer = await live.subscribe("cam", "v")
        media.relays["cam"].peers[0].connect()
        await live.end_session("cam", viewer.session)
        assert live.streams() == []
        assert media.relays["cam"].closed


async def test_streams_are_created_only_as_the_policy_says() -> None:
    policy = Policy(create_on_publish=False, create_on_watch=False)
    async with Live(FakeMedia(), policy) as live:
        with pytest.raises(StreamNotFound):
            await live.publish("cam", "p")
        with pytest.raises(StreamNotFound):
            await live.subscribe("cam", "v")


async def test_a_stream_that_may_have_no_viewers_is_not_left_behind() -> None:
    media = FakeMedia()
    async with Live(media, Policy(stream=StreamPolicy(max_viewers=0))) as live:
        with pytest.raises(AtCapacity):
            await live.subscribe("cam", "v")
        assert live.streams() == []
        assert media.relays["cam"].closed


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


async def test_the_life_of_a_stream_is_told_in_events() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        told: list[str] = []
        live.events.listen(lambda event: told.append(event.type.value))
        publisher = await live.publish("cam", "p")
        viewer = await live.subscribe("cam", "v")
        for peer in media.relays["cam"].peers:
            peer.connect()
        await settle()
        await live.end_session("cam", viewer.session)
        await live.end_session("cam", publisher.session)
    assert told == [
        "streamUp",
        "publishUp",
        "subscribeUp",
        "subscribeDown",
        "publishDown",
        "streamDown",
    ]


async def test_events_say_who_is_left_and_why_something_ended() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        events: list[Event] = []
        live.events.listen(events.append)
        answered = await live.subscribe("cam", "v")
        media.relays["cam"].peers[0].connect()
        await settle()
        assert events[-1].viewers == 1
        await live.end_session("cam", answered.session)
    down = next(e for e in events if e.type is EventType.SUBSCRIBE_DOWN)
    assert (down.viewers, down.session) == (0, answered.session)
    assert (down.reason, down.cause) == ("ended by its client (DELETE)", "deleted")
    assert [e.number for e in events] == list(range(1, len(events) + 1))


async def test_what_has_passed_on_a_side_never_decreases() -> None:
    media = FakeMedia()
    async with Live(media, Policy(list_ended=0)) as live:
        await live.publish("cam", "p")
        for _ in range(2):
            viewer = await live.subscribe("cam", "v")
            media.relays["cam"].peers[-1].traffic = Traffic(100, 2, bitrate=800)
            assert live.stream("cam").subscribe.traffic.bitrate == 800
            await live.end_session("cam", viewer.session)
        assert live.stream("cam").subscribe.traffic == Traffic(200, 4)


async def test_a_created_stream_stays_until_it_is_deleted() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        live.create_stream("cam")
        with pytest.raises(StreamExists):
            live.create_stream("cam")
        publisher = await live.publish("cam", "p")
        await live.end_session("cam", publisher.session)
        assert [s.name for s in live.streams()] == ["cam"]
        await live.delete_stream("cam")
        assert live.streams() == []
        assert media.relays["cam"].closed
        with pytest.raises(StreamNotFound):
            await live.delete_stream("cam")


async def test_deleting_a_stream_ends_its_sessions_and_frees_its_name() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        await live.publish("cam", "p")
        await live.subscribe("cam", "v")
        relay = media.relays["cam"]
        await live.delete_stream("cam")
        assert relay.closed
        assert all(peer.left for peer in relay.peers)
        await live.publish("cam", "p")
        assert media.relays["cam"] is not relay


async def test_a_deletion_is_told_before_the_ends_of_the_sessions() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        await connected_publisher(live, media)
        events: list[Event] = []
        live.events.listen(events.append)
        await live.delete_stream("cam")
        # Its name is free at once: whatever comes later could be about the next one.
        assert [e.type.value for e in events] == ["streamDown", "publishDown"]


async def test_a_provisioned_stream_can_be_neither_created_nor_deleted() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        live.provision("cam", StreamPolicy(max_viewers=1))
        assert live.stream("cam").is_provisioned
        with pytest.raises(StreamProvisioned):
            live.create_stream("cam")
        with pytest.raises(StreamProvisioned):
            await live.delete_stream("cam")
        await live.subscribe("cam", "v")
        with pytest.raises(AtCapacity):
            await live.subscribe("cam", "v")


async def test_a_stream_ends_when_its_publisher_has_been_gone_for_so_long() -> None:
    media = FakeMedia()
    policy = Policy(stream=StreamPolicy(delete_unpublished=0.02))
    async with Live(media, policy) as live:
        publisher = await live.publish("cam", "p")
        viewer = await live.subscribe("cam", "v")
        ended = live.session("cam", viewer.session).ended
        await live.end_session("cam", publisher.session)
        # Not at once: a publisher that returns in time finds its viewers.
        assert live.stream("cam").publish.left_at > 0
        async with asyncio.timeout(20):
            await ended.wait()
        assert live.streams() == []


async def test_a_publisher_that_returns_in_time_keeps_the_stream() -> None:
    policy = Policy(stream=StreamPolicy(delete_unpublished=60))
    async with Live(FakeMedia(), policy) as live:
        publisher = await live.publish("cam", "p")
        await live.end_session("cam", publisher.session)
        stream = live._streams[StreamName("cam")]
        assert stream.deadline is not None
        await live.publish("cam", "p")
        assert stream.deadline is None
        assert stream.timer is None


async def test_a_stream_that_nobody_watches_ends_with_its_publisher() -> None:
    policy = Policy(stream=StreamPolicy(delete_unwatched=0.02))
    async with Live(FakeMedia(), policy) as live:
        publisher = await live.publish("cam", "p")
        ended = live.session("cam", publisher.session).ended
        async with asyncio.timeout(20):
            await ended.wait()
        assert live.streams() == []


async def test_a_provisioned_stream_only_loses_its_sessions_when_its_time_is_over() -> (
    None
):
    async with Live(FakeMedia(), Policy()) as live:
        live.provision("cam", StreamPolicy(delete_unwatched=0.02))
        publisher = await live.publish("cam", "p")
        ended = live.session("cam", publisher.session).ended
        async with asyncio.timeout(20):
            await ended.wait()
        assert [s.name for s in live.streams()] == ["cam"]


def long_after(stream: Stream) -> None:
    """Let a minute have passed since both sides of a stream became empty."""
    for side in (stream._published, stream._watched):
        if side.empty_since is not None:
            side.empty_since -= 60


async def test_a_publisher_of_a_provisioned_stream_has_the_whole_time_to_be_watched() -> (
    None
):
    async with Live(FakeMedia(), Policy()) as live:
        live.provision("cam", StreamPolicy(delete_unwatched=30))
        stream = live._streams[StreamName("cam")]
        assert stream.deadline is None
        for _ in range(2):
            long_after(stream)
            publisher = await live.publish("cam", "p")
            assert stream.deadline is not None
            assert stream.deadline > asyncio.get_running_loop().time()
            await live.end_session("cam", publisher.session)
        assert stream.timer is None


async def test_a_viewer_of_a_provisioned_stream_pays_for_no_publisher_of_long_ago() -> (
    None
):
    async with Live(FakeMedia(), Policy()) as live:
        live.provision("cam", StreamPolicy(delete_unpublished=0.02))
        stream = live._streams[StreamName("cam")]
        publisher = await live.publish("cam", "p")
        viewer = await live.subscribe("cam", "v")
        ended = live.session("cam", viewer.session).ended
        await live.end_session("cam", publisher.session)
        async with asyncio.timeout(20):
            await ended.wait()
        long_after(stream)
        await live.subscribe("cam", "v")
        assert stream.deadline is None


async def test_streams_that_stay_are_closed_with_the_node() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        live.create_stream("cam")
    assert media.relays["cam"].closed


async def test_the_tallies_have_every_stream_the_oldest_first() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        for name in ("b", "a"):
            await live.publish(name, "p")
            await live.subscribe(name, "v")
        publisher, viewer = media.relays["a"].peers
        publisher.traffic, viewer.traffic = Traffic(10, 1), Traffic(20, 2, lost=3)
        each, together = live.tallies()
        assert list(each) == ["b", "a"]
        tally = each[StreamName("a")]
        assert (tally.publishers, tally.viewers, tally.streams) == (1, 1, 1)
        assert (tally.received, tally.sent) == (Traffic(10, 1), Traffic(20, 2, lost=3))
        assert (together.streams, together.publishers, together.viewers) == (2, 2, 2)


async def test_what_has_passed_in_a_stream_is_still_counted_when_it_is_no_more() -> (
    None
):
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        await live.publish("cam", "p")
        await live.subscribe("cam", "v")
        for peer in media.relays["cam"].peers:
            peer.traffic = Traffic(10, 1)
        counted = [live.tallies()[1].sent.bytes]
        deleting = asyncio.ensure_future(live.delete_stream("cam"))
        # One step at a time: whenever somebody looks, nothing is missing or counted twice.
        while not deleting.done():
            await asyncio.sleep(0)
            counted.append(live.tallies()[1].sent.bytes)
        each, together = live.tallies()
        assert not each
        assert (together.streams, together.publishers, together.viewers) == (0, 0, 0)
        assert (together.received, together.sent) == (Traffic(10, 1), Traffic(10, 1))
    assert set(counted) == {10}


async def test_the_engines_counters_are_handed_on() -> None:
    media = FakeMedia()
    media.counted = MediaCounters(datagrams_in=7)
    async with Live(media, Policy()) as live:
        assert live.counters().datagrams_in == 7
