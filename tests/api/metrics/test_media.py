"""The counters of the media engine as series."""

from __future__ import annotations

from live777py.api.metrics.media import MediaSeries
from live777py.core.live import Live, Policy
from live777py.core.model import Delays, MediaCounters
from tests.api.metrics.support import Samples, key, samples
from tests.core.fakes import FakeMedia


def read(media: FakeMedia, series: MediaSeries, counted: MediaCounters) -> Samples:
    media.counted = counted
    series.read()
    return samples(series.collect())


async def test_each_counter_has_a_series() -> None:
    media = FakeMedia()
    counted = MediaCounters(
        datagrams_in=1,
        bytes_in=2,
        packets_out=3,
        bytes_out=4,
        restored=5,
        retransmitted=6,
        dropped={"forged": 7},
        not_retransmitted={"gone": 8},
        frames_dropped=9,
        key_frames_requested=10,
        key_frames_wanted=11,
        forwarding=Delays((0.5, 1.0), (1, 2, 3), 12.5),
    )
    async with Live(media, Policy()) as live:
        got = read(media, MediaSeries(live), counted)
    delay = "live777_forwarding_delay_seconds"
    assert got == {
        key("live777_datagrams_total", direction="in"): 1,
        key("live777_datagrams_total", direction="out"): 3,
        key("live777_datagram_bytes_total", direction="in"): 2,
        key("live777_datagram_bytes_total", direction="out"): 4,
        key("live777_packets_dropped_total", reason="forged"): 7,
        key("live777_packets_retransmitted_total", direction="in"): 5,
        key("live777_packets_retransmitted_total", direction="out"): 6,
        key("live777_packets_not_retransmitted_total", reason="gone"): 8,
        key("live777_frames_dropped_total"): 9,
        key("live777_key_frame_requests_total", direction="in"): 11,
        key("live777_key_frame_requests_total", direction="out"): 10,
        key(f"{delay}_bucket", le="0.5"): 1,
        key(f"{delay}_bucket", le="1.0"): 3,
        key(f"{delay}_bucket", le="+Inf"): 6,
        key(f"{delay}_count"): 6,
        key(f"{delay}_sum"): 12.5,
    }


async def test_no_counter_falls() -> None:
    media = FakeMedia()
    async with Live(media, Policy()) as live:
        series = MediaSeries(live)
        for count, told in ((5, 5), (4, 5), (6, 6)):
            got = read(media, series, MediaCounters(packets_out=count))
            assert got[key("live777_datagrams_total", direction="out")] == told
