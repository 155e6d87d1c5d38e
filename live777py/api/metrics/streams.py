"""Streams and their traffic as series."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from live777py.core.live import Live
from live777py.core.model import NO_TALLY, NO_TRAFFIC, StreamName, Tally, Traffic

#: Streams that have series of their own; the others have theirs together.
MAX_NAMED = 1_000

#: The label of the series that those others share: no stream has this name.
OTHERS = ""

DIRECTION = ("direction",)
STREAM = ("stream",)
BOTH = ("stream", "direction")


@dataclass(slots=True)
class _Kept:
    """What is remembered of a stream from one reading to the next."""

    created_at: int
    is_named: bool
    tally: Tally = NO_TALLY


@dataclass(frozen=True, slots=True)
class _Reading:
    together: Tally = NO_TALLY
    named: dict[StreamName, Tally] = field(default_factory=dict)
    unnamed: int = 0
    others: Tally = NO_TALLY


class StreamSeries(Collector):
    """Reads all streams in the event loop (`read`), tells of them in any thread (`collect`).

    A stream keeps what it has got, a name or none, for as long as it lives: moved from one
    series to the other it would make the one fall.
    """

    def __init__(self, live: Live, max_named: int = MAX_NAMED) -> None:
        self._live = live
        self._max_named = max_named
        self._kept: dict[StreamName, _Kept] = {}
        self._together = NO_TALLY
        #: What has passed in streams without a name, also in those that are no more.
        self._others = (NO_TRAFFIC, NO_TRAFFIC)
        self._reading = _Reading()

    def read(self) -> None:
        """Take the numbers that `collect` tells until the next reading."""
        each, together = self._live.tallies()
        self._together = _risen(self._together, together)
        self._kept = {
            name: kept
            for name, kept in self._kept.items()
            if name in each and each[name].created_at == kept.created_at
        }
        named: dict[StreamName, Tally] = {}
        unnamed = []
        free = self._max_named - sum(kept.is_named for kept in self._kept.values())
        for name, tally in each.items():
            kept = self._kept.get(name)
            if kept is None:
                kept = self._kept[name] = _Kept(tally.created_at, free > 0)
                free -= kept.is_named
            before, kept.tally = kept.tally, _risen(kept.tally, tally)
            if kept.is_named:
                named[name] = kept.tally
                continue
            unnamed.append(kept.tally)
            received, sent = self._others
            self._others = (
                received + _passed(before.received, kept.tally.received),
                sent + _passed(before.sent, kept.tally.sent),
            )
        received, sent = self._others
        others = replace(sum(unnamed, NO_TALLY), received=received, sent=sent)
        self._reading = _Reading(self._together, named, len(unnamed), others)

    def collect(self) -> Iterator[Metric]:
        """The series of the latest reading."""
        reading = self._reading
        yield from _node(reading)
        yield from _each({**reading.named, StreamName(OTHERS): reading.others})


def _node(reading: _Reading) -> Iterator[Metric]:
    together = reading.together
    yield GaugeMetricFamily("live777_stream", "Streams.", together.streams)
    yield GaugeMetricFamily("live777_publish", "Publishers.", together.publishers)
    yield GaugeMetricFamily("live777_subscribe", "Viewers.", together.viewers)
    yield GaugeMetricFamily(
        "live777_reforward", "Streams pushed to other servers.", together.pushes
    )
    yield GaugeMetricFamily(
        "live777_streams_unnamed",
        f'Streams whose series are summed up under stream="{OTHERS}".',
        reading.unnamed,
    )
    sides = (("in", together.received), ("out", together.sent))
    octets = CounterMetricFamily(
        "live777_rtp_bytes",
        "RTP headers and payloads, without encryption and retransmissions.",
        labels=DIRECTION,
    )
    packets = CounterMetricFamily(
        "live777_rtp_packets", "RTP packets, likewise.", labels=DIRECTION
    )
    lost = CounterMetricFamily(
        "live777_rtp_lost", "RTP packets that never arrived.", labels=DIRECTION
    )
    for direction, traffic in sides:
        octets.add_metric([direction], traffic.bytes)
        packets.add_metric([direction], traffic.packets)
        lost.add_metric([direction], traffic.lost)
    yield from (octets, packets, lost)


def _each(tallies: dict[StreamName, Tally]) -> Iterator[Metric]:
    publishers = GaugeMetricFamily(
        "live777_stream_publishers", "Publishers of a stream.", labels=STREAM
    )
    viewers = GaugeMetricFamily(
        "live777_stream_viewers", "Viewers of a stream.", labels=STREAM
    )
    octets = CounterMetricFamily(
        "live777_stream_bytes", "As live777_rtp_bytes_total, of a stream.", labels=BOTH
    )
    packets = CounterMetricFamily(
        "live777_stream_packets",
        "As live777_rtp_packets_total, of a stream.",
        labels=BOTH,
    )
    lost = CounterMetricFamily(
        "live777_stream_lost", "As live777_rtp_lost_total, of a stream.", labels=BOTH
    )
    for name, tally in tallies.items():
        publishers.add_metric([name], tally.publishers)
        viewers.add_metric([name], tally.viewers)
        for direction, traffic in (("in", tally.received), ("out", tally.sent)):
            octets.add_metric([name, direction], traffic.bytes)
            packets.add_metric([name, direction], traffic.packets)
            lost.add_metric([name, direction], traffic.lost)
    yield from (publishers, viewers, octets, packets, lost)


def _risen(before: Tally, now: Tally) -> Tally:
    """What is told of a tally: viewers may take back what they reported as lost."""
    if now.sent.lost >= before.sent.lost:
        return now
    return replace(now, sent=replace(now.sent, lost=before.sent.lost))


def _passed(before: Traffic, now: Traffic) -> Traffic:
    return Traffic(
        bytes=now.bytes - before.bytes,
        packets=now.packets - before.packets,
        lost=now.lost - before.lost,
    )
