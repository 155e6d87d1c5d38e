"""Live: the verbs, with peers that do what the test says."""

from __future__ import annotations

import asyncio
import logging

import pytest

from live777py.core.events import Event, EventType
from live777py.core.live import Live, Policy
from live777py.core.model import (
    Answered,
    MediaCounters,
    PeerState,
    StreamName,
    Traffic,
)
from live777py.core.stream import Stream, StreamPolicy
from live777py.errors import (
    AlreadyPublishing,
    AtCapacity,
    InvalidName,
    InvalidOffer,
    NoLayers,
    NotAViewer,
    NotPublished,
    SessionNotFound,
    ShuttingDown,
    StreamExists,
    StreamNotFound,
    StreamProvisioned,
    TakeoverPending,
)
from tests.core.fakes import OPUS, FakeMedia, settle


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
        async with asyncio.timeout(20):
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
        assert [s.state for s in info.publish.sessions] == [PeerState.CLOSED]
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


async def connected_publisher(live: Live, media: FakeMedia) -> Answered:
    answered = await live.publish("cam", "p")
    media.relays["cam"].peers[-1].connect()
    await settle()
    return answered


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


async def test_whoever_reads_events_is_told_of_a_shutdown_at_once() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        with live.events.subscribe() as subscription:
            live.refuse_work()
            assert live.is_closing
            assert [event async for event in subscription] == []


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


async def test_the_engines_counters_are_handed_on() -> None:
    media = FakeMedia()
    media.counted = MediaCounters(datagrams_in=7)
    async with Live(media, Policy()) as live:
        assert live.counters().datagrams_in == 7
