"""Streams and their traffic as series."""

from __future__ import annotations

from live777py.api.metrics.streams import StreamSeries
from live777py.core.live import Live, Policy
from live777py.core.model import Cascade, Traffic
from tests.api.metrics.support import Samples, key, samples
from tests.core.fakes import FakeMedia


def read(series: StreamSeries) -> Samples:
    series.read()
    return samples(series.collect())


async def test_a_node_without_streams_has_all_its_series() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        got = read(StreamSeries(live))
    for name in ("stream", "publish", "subscribe", "reforward", "streams_unnamed"):
        assert got[key(f"live777_{name}")] == 0
    for direction in ("in", "out"):
        assert got[key("live777_rtp_bytes_total", direction=direction)] == 0


async def test_streams_are_counted_alone_and_together() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        await live.publish("cam", "p")
        await live.subscribe("cam", "v")
        answered = await live.subscribe("cam", "v")
        live.session("cam", answered.session).cascade = Cascade(target_url="https://x")
        await live.subscribe("idle", "v")
        publisher, *viewers = media.relays["cam"].peers
        publisher.traffic = Traffic(100, 10, lost=1)
        for viewer in viewers:
            viewer.traffic = Traffic(50, 5, lost=2)
        got = read(StreamSeries(live))
    assert got[key("live777_stream")] == 2
    assert got[key("live777_publish")] == 1
    assert got[key("live777_subscribe")] == 3
    assert got[key("live777_reforward")] == 1
    assert got[key("live777_stream_publishers", stream="cam")] == 1
    assert got[key("live777_stream_viewers", stream="cam")] == 2
    assert got[key("live777_stream_viewers", stream="idle")] == 1
    for direction, values in (("in", (100, 10, 1)), ("out", (100, 10, 4))):
        for what, value in zip(("bytes", "packets", "lost"), values, strict=True):
            assert got[key(f"live777_rtp_{what}_total", direction=direction)] == value
            name = f"live777_stream_{what}_total"
            assert got[key(name, stream="cam", direction=direction)] == value


async def test_beyond_the_bound_streams_are_summed_up_and_keep_their_place() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        series = StreamSeries(live, max_named=1)
        sessions = {}
        for name in ("z", "b", "c"):
            sessions[name] = (await live.publish(name, "p")).session
            media.relays[name].peers[0].traffic = Traffic(10, 1)
        got = read(series)
        others = key("live777_stream_bytes_total", stream="", direction="in")
        assert got[key("live777_stream_publishers", stream="z")] == 1
        assert got[key("live777_stream_publishers", stream="")] == 2
        assert key("live777_stream_publishers", stream="b") not in got
        assert got[key("live777_streams_unnamed")] == 2
        assert got[others] == 20
        # The first one's place is free, but what has none stays without: its counts would move.
        await live.end_session("z", sessions["z"])
        await live.end_session("b", sessions["b"])
        got = read(series)
        assert got[key("live777_streams_unnamed")] == 1
        assert got[others] == 20
        await live.publish("new", "p")
        got = read(series)
        assert got[key("live777_stream_publishers", stream="new")] == 1
        assert got[key("live777_stream_publishers", stream="")] == 1
        # A stream that comes again counts anew, and the sum goes on.
        await live.publish("b", "p")
        media.relays["b"].peers[0].traffic = Traffic(5, 1)
        media.relays["c"].peers[0].traffic = Traffic(11, 2)
        assert read(series)[others] == 26


async def test_what_a_viewer_takes_back_of_its_losses_does_not_make_a_counter_fall() -> (
    None
):
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        series = StreamSeries(live)
        await live.subscribe("cam", "v")
        (viewer,) = media.relays["cam"].peers
        for lost, told in ((5, 5), (3, 5), (6, 6)):
            viewer.traffic = Traffic(lost=lost)
            got = read(series)
            assert got[key("live777_rtp_lost_total", direction="out")] == told
            name = "live777_stream_lost_total"
            assert got[key(name, stream="cam", direction="out")] == told


async def test_a_stream_that_ends_before_it_is_told_of_does_no_harm() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        series = StreamSeries(live)
        session = (await live.publish("cam", "p")).session
        series.read()
        telling = series.collect()
        next(telling)
        await live.end_session("cam", session)
        assert key("live777_stream_viewers", stream="cam") in samples(telling)
