"""The counters of the media engine as series."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from live777py.core.live import Live
from live777py.core.model import Delays, MediaCounters


class MediaSeries(Collector):
    """Reads the counters in the event loop (`read`), tells of them in any thread (`collect`)."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._reading = MediaCounters()
        self._told: dict[tuple[str, str], int] = {}

    def read(self) -> None:
        """Take the numbers that `collect` tells until the next reading."""
        self._reading = self._live.counters()

    def collect(self) -> Iterator[Metric]:
        """The series of the latest reading."""
        reading = self._reading
        yield self._counter(
            "live777_datagrams",
            "Datagrams received of any kind; packets of media sent.",
            "direction",
            {"in": reading.datagrams_in, "out": reading.packets_out},
        )
        yield self._counter(
            "live777_datagram_bytes",
            "Their bytes, encryption and retransmissions among them.",
            "direction",
            {"in": reading.bytes_in, "out": reading.bytes_out},
        )
        yield self._counter(
            "live777_packets_dropped",
            "Datagrams and packets that went no further.",
            "reason",
            reading.dropped,
        )
        yield self._counter(
            "live777_packets_retransmitted",
            "Lost packets that publishers (in) and we (out) sent again.",
            "direction",
            {"in": reading.restored, "out": reading.retransmitted},
        )
        yield self._counter(
            "live777_packets_not_retransmitted",
            "Lost packets that viewers asked for again and did not get.",
            "reason",
            reading.not_retransmitted,
        )
        yield self._counter(
            "live777_frames_dropped",
            "Frames of which a viewer that could not keep up was not sent the rest.",
            "",
            {"": reading.frames_dropped},
        )
        yield self._counter(
            "live777_key_frame_requests",
            "Requests for a key frame from viewers (in) and to publishers (out).",
            "direction",
            {"in": reading.key_frames_wanted, "out": reading.key_frames_requested},
        )
        yield _histogram(reading.forwarding)

    def _counter(
        self, name: str, text: str, label: str, values: Mapping[str, int]
    ) -> Metric:
        family = CounterMetricFamily(name, text, labels=[label] if label else [])
        for key, value in values.items():
            # What the kernel refused is taken out of the counts again, and a counter that falls
            # is taken for one that began anew.
            value = self._told[name, key] = max(value, self._told.get((name, key), 0))
            family.add_metric([key] if label else [], value)
        return family


def _histogram(delays: Delays) -> Metric:
    bounds = [*map(str, delays.bounds), "+Inf"]
    counts = itertools.accumulate(delays.counts)
    return HistogramMetricFamily(
        "live777_forwarding_delay_seconds",
        "From the kernel's receiving of a batch's newest datagram to its sending.",
        buckets=list(zip(bounds, counts, strict=True)),
        sum_value=delays.total,
    )
