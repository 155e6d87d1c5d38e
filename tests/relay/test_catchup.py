from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from live777py.protocol.codecs import Format
from live777py.relay import catchup
from live777py.relay.seam import ViewerId

from .support import Endpoint, Rig, Rtp, rig, rtp

pytestmark = pytest.mark.usefixtures("lane")

SPS, IDR, SLICE = b"\x67\x42\xe0\x1f", b"\x65idr", b"\x41slice "


def _send_all(
    r: Rig, publisher: Endpoint, numbers: range, *, keys: tuple[int, ...] = (0,)
) -> None:
    """Packets without gaps, each a frame."""
    for n in numbers:
        payload = IDR if n in keys else SLICE + b"%d" % n
        publisher.publish(rtp(n, 3000 * n, payload))
        if n % 16 == 15:
            r.turn()
    r.turn()


def _watched_from_the_start(
    r: Rig, *, payload_type: int = 100, timestamp_offset: int = 0
) -> tuple[Endpoint, Endpoint, ViewerId]:
    """A publisher that has sent nothing yet, and its one viewer."""
    publisher, track, _ = r.stream(0, Format.H264)
    endpoint = r.endpoint()
    viewer = r.watch(
        endpoint,
        track,
        payload_type=payload_type,
        timestamp_offset=timestamp_offset,
        catch_up=True,
    )
    return publisher, endpoint, viewer


def _numbers(packets: list[Rtp]) -> list[int]:
    """Which frames these are, by their timestamps."""
    return [p.timestamp // 3000 for p in packets]


def _is_continuous(packets: list[Rtp], first: int = 1) -> bool:
    return [p.sequence for p in packets] == [
        *range(first, first + len(packets)),
    ]


def test_a_new_viewer_gets_everything_since_the_key_frame_in_order() -> None:
    with rig() as r:
        publisher, track, (early,) = r.stream(1, Format.H264)
        _send_all(r, publisher, range(100), keys=(0, 30))
        endpoint = r.endpoint()
        viewer = r.watch(endpoint, track, first_sequence=77, catch_up=True)
        r.catch_up()
        got = endpoint.packets()
        assert _numbers(got) == list(range(30, 100))
        assert _is_continuous(got, 77)
        stats = r.plane.viewer_stats(viewer)
        assert (stats.first_sequence, stats.last_sequence) == (77, 146)
        assert (stats.packets, r["caught_up"]) == (70, 1)
        _send_all(r, publisher, range(100, 110))
        assert _numbers(endpoint.packets(10)) == list(range(100, 110))
        assert _numbers(early.packets()) == list(range(110))


@pytest.mark.parametrize("length", [1, 5, 100])
def test_who_loses_the_first_packet_gets_it_none_the_less(length: int) -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send_all(r, publisher, range(length))
        plain, rtx = r.endpoint(), r.endpoint()
        r.watch(plain, track, catch_up=True)
        r.watch(rtx, track, rtx_payload_type=101, rtx_ssrc=5, catch_up=True)
        r.catch_up()
        datagrams = plain.datagrams()
        assert len(datagrams) == length + 1
        assert datagrams.count(datagrams[0]) == 2
        again = [p for p in rtx.packets() if p.ssrc == 5]
        assert [p.payload for p in again] == [b"\0\1" + IDR]
        assert r["retransmitted"] == 2


def test_parameter_sets_come_before_the_picture() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        publisher.publish(rtp(9, 27_000, SLICE))
        for n, payload in enumerate((b"\x09\xf0", SPS, b"\x68pps", IDR)):
            publisher.publish(rtp(10 + n, 30_000, payload))
        publisher.publish(rtp(14, 33_000, SLICE))
        endpoint = r.endpoint()
        r.turn()
        r.watch(endpoint, track, catch_up=True)
        r.catch_up()
        kinds = [p.payload[0] & 31 for p in endpoint.packets(5)]
        assert kinds == [9, 7, 8, 5, 1]


def test_live_packets_are_appended_to_the_burst() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send_all(r, publisher, range(100))
        endpoint = r.endpoint()
        r.watch(endpoint, track, catch_up=True)
        number = 100
        engine = r.sending.engine[0]
        stepped = 0
        while not r["caught_up"]:
            # One for each step of the burst, as a fast stream would have it.
            if engine.caught_up_at != stepped:
                publisher.publish(rtp(number, 3000 * number, SLICE))
                number += 1
            stepped = engine.caught_up_at
            r.plane.turn(1)
        for n in range(number, number + 5):
            publisher.publish(rtp(n, 3000 * n, SLICE))
        r.turn()
        got = endpoint.packets()
        assert _numbers(got) == list(range(number + 5))
        assert _is_continuous(got)


def test_a_late_packet_reaches_a_viewer_whose_burst_has_passed_it() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send_all(r, publisher, range(3))
        _send_all(r, publisher, range(4, 60))
        endpoint = r.endpoint()
        r.watch(endpoint, track, catch_up=True)
        r.plane.turn()
        assert r.sending.engine[0].catching == 1
        publisher.publish(rtp(3, 9000, SLICE))
        r.catch_up()
        got = endpoint.packets()
        assert sorted(_numbers(got)) == list(range(60))
        assert sorted(p.sequence for p in got) == list(range(1, 61))


def test_a_step_is_bounded_for_each_viewer_and_for_all() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send_all(r, publisher, range(200))
        endpoints = [r.endpoint() for _ in range(30)]
        for number, endpoint in enumerate(endpoints):
            r.watch(endpoint, track, ssrc=number + 1, catch_up=True)
        engine = r.sending.engine[0]
        r.plane.turn()
        sent = [r["packets_out"]]
        while engine.catching:
            r.plane.turn(1)
            sent.append(r["packets_out"])
        most = catchup.ALL_PACKETS * catchup.MAX_STEPS
        steps = [after - before for before, after in itertools.pairwise([0, *sent])]
        # The first packet comes once more to each.
        assert max(steps) <= most + 1
        assert sum(steps) == 30 * 201
        for endpoint in endpoints:
            got = endpoint.packets()
            assert _numbers(got) == list(range(200))
            assert _is_continuous(got)


def test_viewers_advance_side_by_side() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send_all(r, publisher, range(200))
        endpoints = [r.endpoint() for _ in range(30)]
        viewers = [
            r.watch(endpoint, track, ssrc=number + 1, catch_up=True)
            for number, endpoint in enumerate(endpoints)
        ]
        rows = r.plane._state.viewers
        served = dict.fromkeys(viewers, 0)
        sent = dict.fromkeys(viewers, 0)
        while max(sent.values()) < 200:
            r.plane.turn(1)
            for viewer in viewers:
                packets = int(rows[viewer].packets)
                served[viewer] += packets > sent[viewer]
                sent[viewer] = packets
            # How far one goes at a time is a matter of the time that has passed.
            assert max(served.values()) - min(served.values()) <= 1


def test_a_watcher_is_served_before_the_bursts() -> None:
    with rig() as r:
        publisher, track, (watcher,) = r.stream(1, Format.H264)
        _send_all(r, publisher, range(200))
        watcher.datagrams()
        for number in range(20):
            r.watch(r.endpoint(), track, ssrc=number + 1, catch_up=True)
        r.plane.turn()
        while r.sending.engine[0].catching:
            publisher.publish(rtp(200 + r["receive_calls"], 3000, SLICE))
            before = r["packets_in"]
            r.plane.turn(1)
            if r["packets_in"] > before:
                assert len(watcher.datagrams()) == 1


def test_without_a_group_a_viewer_begins_with_the_next_packet() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send_all(r, publisher, range(1, 20))
        endpoint = r.endpoint()
        r.watch(endpoint, track, first_sequence=9, catch_up=True)
        r.catch_up()
        _send_all(r, publisher, range(20, 22))
        got = endpoint.packets()
        assert _numbers(got) == [20, 21]
        assert _is_continuous(got, 9)
        assert r["caught_up"] == 0


def test_who_does_not_want_the_past_does_not_get_it() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send_all(r, publisher, range(5))
        endpoint = r.endpoint()
        r.watch(endpoint, track)
        r.catch_up()
        assert endpoint.datagrams() == []


def test_audio_begins_at_the_live_edge() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.OPAQUE)
        _send_all(r, publisher, range(5))
        endpoint = r.endpoint()
        r.watch(endpoint, track, catch_up=True)
        r.catch_up()
        _send_all(r, publisher, range(5, 7))
        assert _numbers(endpoint.packets()) == [5, 6]


def test_the_past_of_another_publisher_is_not_sent() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send_all(r, publisher, range(5))
        second = r.endpoint()
        r.bind(second, track, format=Format.H264)
        r.turn()
        second.publish(rtp(70, 5, SLICE, ssrc=2))
        r.turn()
        endpoint = r.endpoint()
        r.watch(endpoint, track, catch_up=True)
        r.catch_up()
        assert endpoint.datagrams() == []
        second.publish(rtp(71, 3005, IDR, ssrc=2))
        r.turn()
        later = r.endpoint()
        r.watch(later, track, catch_up=True)
        r.catch_up()
        assert [p.payload for p in later.packets()] == [IDR]


def test_a_viewer_that_is_told_its_payload_type_late_begins_with_the_group() -> None:
    with rig() as r:
        publisher, endpoint, viewer = _watched_from_the_start(r, payload_type=-1)
        _send_all(r, publisher, range(1, 3))
        _send_all(r, publisher, range(3, 9), keys=(3,))
        r.plane.set_payload_type(viewer, 102)
        r.catch_up()
        got = endpoint.packets()
        assert _numbers(got) == list(range(3, 9))
        assert {p.payload_type for p in got} == {102}


def test_another_payload_type_begins_with_the_group_and_time_goes_on() -> None:
    with rig() as r:
        publisher, endpoint, viewer = _watched_from_the_start(
            r, timestamp_offset=2**32 - 9000
        )
        r.turn()
        _send_all(r, publisher, range(6))
        r.plane.set_payload_type(viewer, 102)
        r.catch_up()
        _send_all(r, publisher, range(6, 9))
        got = endpoint.packets()
        assert [p.payload_type for p in got] == [100] * 6 + [102] * 9
        assert _is_continuous(got)
        assert [p.payload for p in got[6:12]] == [p.payload for p in got[:6]]
        steps = [
            (b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(got)
        ]
        # The first again, one tick after the last: never two frames of one timestamp.
        assert steps == [3000] * 5 + [1] + [3000] * 8
        # Sender reports follow.
        assert r.plane.viewer_stats(viewer).timestamp_offset == 5 * 3000 + 1 - 9000
        assert r.plane.viewer_stats(viewer).packets == 15


def test_the_same_payload_type_changes_nothing() -> None:
    with rig() as r:
        publisher, endpoint, viewer = _watched_from_the_start(r)
        r.turn()
        _send_all(r, publisher, range(6))
        r.plane.set_payload_type(viewer, 100, 101)
        r.catch_up()
        _send_all(r, publisher, range(6, 9))
        assert _numbers(endpoint.packets()) == list(range(9))


def test_who_leaves_in_its_burst_leaves_the_others_theirs() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send_all(r, publisher, range(100))
        endpoints = [r.endpoint() for _ in range(4)]
        viewers = [
            r.watch(endpoint, track, ssrc=number + 1, catch_up=True)
            for number, endpoint in enumerate(endpoints)
        ]
        r.plane.turn()
        r.plane.remove_viewer(viewers[0])
        r.plane.set_payload_type(viewers[1], -1)
        r.plane.remove_peer(endpoints[3].peer)
        r.catch_up()
        assert r.sending.engine[0].catching == 0
        assert _numbers(endpoints[2].packets()) == list(range(100))
        assert r["caught_up"] == 1
        # Rows are used again.
        again = r.watch(endpoints[0], track, ssrc=9, catch_up=True)
        r.catch_up()
        assert r.plane.viewer_stats(again).packets == 100


def test_a_viewer_without_a_path_does_not_keep_the_loop_awake() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send_all(r, publisher, range(9))
        endpoint = r.endpoint(with_keys=False)
        r.watch(endpoint, track, first_sequence=5, catch_up=True)
        r.catch_up()
        r.plane.set_keys(endpoint.peer, endpoint.keys)
        r.turn()
        _send_all(r, publisher, range(9, 11))
        got = endpoint.packets()
        assert _numbers(got) == [9, 10]
        assert _is_continuous(got, 5)


def test_a_paused_viewer_gets_nothing_and_then_goes_on_where_it_was() -> None:
    with rig() as r:
        publisher, endpoint, viewer = _watched_from_the_start(r)
        r.turn()
        _send_all(r, publisher, range(6))
        r.plane.pause(viewer, True)
        r.turn()
        assert _numbers(endpoint.packets()) == list(range(6))
        _send_all(r, publisher, range(6, 20))
        r.plane.retransmit(viewer, [3])
        r.turn()
        assert endpoint.datagrams() == []
        r.plane.pause(viewer, False)
        r.plane.pause(viewer, False)
        r.catch_up()
        _send_all(r, publisher, range(20, 22))
        got = endpoint.packets()
        assert _numbers(got) == list(range(6, 22))
        assert _is_continuous(got, 7)


def test_after_a_long_pause_a_viewer_begins_with_the_latest_key_frame() -> None:
    with rig() as r:
        publisher, endpoint, viewer = _watched_from_the_start(r)
        r.turn()
        _send_all(r, publisher, range(6))
        r.plane.pause(viewer, True)
        r.turn()
        _send_all(r, publisher, range(6, 40), keys=(30,))
        r.plane.pause(viewer, False)
        r.catch_up()
        got = endpoint.packets()
        assert _numbers(got) == [*range(6), *range(30, 40)]
        assert _is_continuous(got)


def test_a_pause_that_began_in_silence_ends_in_silence() -> None:
    with rig() as r:
        publisher, endpoint, viewer = _watched_from_the_start(r, payload_type=-1)
        r.plane.pause(viewer, True)
        r.turn()
        _send_all(r, publisher, range(6))
        r.plane.set_payload_type(viewer, 100)
        r.catch_up()
        assert endpoint.datagrams() == []
        r.plane.pause(viewer, False)
        r.catch_up()
        assert _numbers(endpoint.packets()) == list(range(6))


def test_a_viewer_that_the_stream_overtakes_goes_on_with_what_is_live() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send_all(r, publisher, range(200))
        endpoint = r.endpoint()
        viewer = r.watch(endpoint, track, catch_up=True)
        r.plane.turn()
        row = r.plane._state.viewers[viewer]
        assert row.cursor < catchup.LIVE
        # As if it had had no turn for long.
        engine = r.sending.engine[0]
        for n in range(200, 460):
            engine.caught_up_at = time.monotonic_ns() + 10_000_000_000
            publisher.publish(rtp(n, 3000 * n, SLICE))
            r.turn()
        engine.caught_up_at = 0
        r.catch_up()
        assert row.cursor == catchup.LIVE
        endpoint.datagrams()
        _send_all(r, publisher, range(460, 462))
        assert _numbers(endpoint.packets()) == [460, 461]


@pytest.mark.timeout(20)
async def test_in_the_event_loop_a_burst_goes_on_without_packets(lane: int) -> None:
    if lane:
        pytest.skip("the event loop is one thread")
    with rig() as r:
        publisher, track, _ = r.stream(0, Format.H264)
        _send_all(r, publisher, range(100))
        endpoint = r.endpoint()
        r.plane.start()
        r.watch(endpoint, track, catch_up=True)
        while not r["caught_up"]:  # noqa: ASYNC110 - counters tell nobody
            await asyncio.sleep(0.001)
        assert _numbers(endpoint.packets()) == list(range(100))
