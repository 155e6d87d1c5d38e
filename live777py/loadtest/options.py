"""What a load test is asked to do, and how that is written; pure."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from live777py.notation import parse_duration, with_suffix

#: Bounds on what one process drives.
MAX_STREAMS = 1000
MAX_VIEWERS = 5000
MAX_SECONDS = 24 * 3600.0

#: Joins that may be under way at once, when they are not spread in time.
CONCURRENT_JOINS = 16


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure that `--require` may bound.

    Attributes:
        name: as it is written.
        meaning: one line for the help.
        unit: "" for counts, "share" for 0 to 1, "s" for durations.
    """

    name: str
    meaning: str
    unit: str = ""


METRICS = {
    metric.name: metric
    for metric in (
        Metric("connected", "viewers that connected, of those wanted", "share"),
        Metric("joins_per_second", "viewers that connected per second of joining"),
        Metric("join_p50", "from POST to the end of the DTLS handshake", "s"),
        Metric("join_p99", "the same, 99th percentile", "s"),
        Metric("first_packet_p50", "from POST to the first media packet", "s"),
        Metric("first_packet_p99", "the same, 99th percentile", "s"),
        Metric("first_key_frame_p50", "from POST to a whole key frame", "s"),
        Metric("first_key_frame_p99", "the same, 99th percentile", "s"),
        Metric("delivered", "packets received, of those sent for viewers", "share"),
        Metric("worst_delivered", "the same, of the worst viewer", "share"),
        Metric("latency_p50", "from the send of a frame's end to its arrival", "s"),
        Metric("latency_p99", "the same, 99th percentile", "s"),
        Metric("jitter_p50", "RFC 3550 jitter of the viewers, median", "s"),
        Metric("jitter_p99", "the same, 99th percentile", "s"),
        Metric("recovered_200ms", "dropped by --loss, back within 200 ms", "share"),
        Metric("recovered_1s", "dropped by --loss, back within a second", "share"),
        Metric("cpu", "cores that --pid was busy with"),
        Metric("cpu_per_packet", "CPU of --pid per packet at viewers", "s"),
        Metric("memory", "resident bytes of --pid at the end"),
        Metric("bits_per_second", "received by all viewers together"),
    )
}

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_BOUND = re.compile(r"\s*([a-z0-9_]+)\s*(>=|<=|>|<)\s*([^\s=<>]\S*)\s*")


@dataclass(frozen=True, slots=True)
class Bound:
    """What `--require` asks of one metric."""

    metric: str
    comparison: str
    limit: float
    text: str

    def holds(self, value: float | None) -> bool:
        """Whether a measured value is within the bound; one that is missing is not."""
        return value is not None and _OPERATORS[self.comparison](value, self.limit)


@dataclass(frozen=True, slots=True)
class Options:
    """One load test.

    Attributes:
        whip: where to publish; None to watch streams that others publish.
        whep: where to watch; None to publish only.
        publishers: how many streams.
        viewers: how many viewers, spread over the streams.
        seconds: of measuring, after the last viewer has joined.
        rate: viewers that begin to join per second; None for as fast as possible.
        media: a file to publish instead of the synthetic stream.
        loss: share of received packets that viewers drop and ask for again.
        seed: of the losses.
        token: bearer token for both sides.
        pid: of the server, when it runs on this machine.
        timeout: seconds that one join may take.
    """

    whip: str | None = None
    whep: str | None = None
    publishers: int = 1
    viewers: int = 1
    seconds: float = 10.0
    rate: float | None = 20.0
    media: Path | None = None
    loss: float = 0.0
    seed: int = 1
    token: str | None = None
    pid: int | None = None
    timeout: float = 15.0

    def __repr__(self) -> str:
        return (
            f"Options(whip={self.whip!r}, whep={self.whep!r}, "
            f"publishers={self.publishers}, viewers={self.viewers})"
        )


def url_of(template: str, number: int, count: int) -> str:
    """The URL of stream `number`, from 1, of `count`.

    `{n}` stands for the number; without it more than one stream get "-1", "-2" … appended to
    the path.
    """
    if "{n}" in template:
        return template.replace("{n}", str(number))
    if count == 1:
        return template
    return with_suffix(template, str(number))


def parse_share(text: str) -> float:
    """A share of one: "5%" or "0.05"."""
    value = _number(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= value < 1:
        raise ValueError(f'"{text}" is not a share: write "5%" or 0.05')
    return value


def parse_rate(text: str) -> float | None:
    """Joins per second: "10/s", "10", or "max" for as fast as possible."""
    if text == "max":
        return None
    value = _number(text.removesuffix("/s"))
    if not 0 < value < math.inf:
        raise ValueError(f'"{text}" is not a rate: write "10/s" or "max"')
    return value


def parse_seconds(text: str) -> float:
    """A time to measure: "20s", "2m"."""
    seconds = parse_duration(text)
    if not 0.1 <= seconds <= MAX_SECONDS:
        raise ValueError(f'"{text}" is not between 100ms and 24h')
    return seconds


def parse_bound(text: str) -> Bound:
    """A bound such as "delivered>=0.999", "latency_p99<50ms" or "delivered>=99.9%"."""
    match = _BOUND.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a bound: write delivered>=0.999')
    metric = METRICS.get(match[1])
    if metric is None:
        raise ValueError(
            f'there is no metric "{match[1]}": choose from {", ".join(METRICS)}'
        )
    limit = match[3]
    if metric.unit == "s":
        value = _time(limit)
    elif limit.endswith("%"):
        value = _number(limit[:-1]) / 100
    else:
        value = _number(limit)
    if not math.isfinite(value):
        raise ValueError(f'"{limit}" is not a number')
    return Bound(metric.name, match[2], value, "".join(match.groups()))


def _time(text: str) -> float:
    # The common notation begins at milliseconds; CPU per packet is told in microseconds.
    for suffix in ("us", "µs"):
        if text.endswith(suffix):
            return _number(text.removesuffix(suffix)) / 1e6
    return parse_duration(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'"{text}" is not a number') from None
