"""A result as rows of text, for the terminal and the page alike; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from live777py.loadtest.options import METRICS
from live777py.loadtest.result import Check, Result

#: What stands where nothing was measured.
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and rows of a name and its value."""

    title: str
    rows: tuple[tuple[str, str], ...]


def sections(result: Result) -> tuple[Section, ...]:
    """All that is worth telling of a result."""
    return tuple(s for s in _sections(result) if s.rows)


def _sections(result: Result) -> Iterator[Section]:
    metrics = result.metrics
    if result.publishers:
        yield Section(
            "Published",
            (
                ("media", result.media or NOTHING),
                ("streams", f"{result.publishers_connected} of {result.publishers}"),
                ("key frames asked for", f"{result.key_frames_asked:,}"),
                ("packets asked for again", f"{result.retransmitted:,}"),
            ),
        )
    if not result.viewers:
        return
    connected = f"{result.viewers_connected:,} of {result.viewers:,} viewers"
    if not result.viewers_connected:
        yield Section("Joining", (("connected", connected),))
        return
    yield Section(
        "Joining",
        (
            ("connected", connected),
            ("joins per second", number(metrics["joins_per_second"])),
            ("POST to connected", _pair(metrics, "join")),
            ("POST to first packet", _pair(metrics, "first_packet")),
            ("POST to first key frame", _pair(metrics, "first_key_frame")),
        ),
    )
    yield Section(
        "Delivery",
        (
            ("delivered", share(metrics["delivered"])),
            ("worst viewer", share(metrics["worst_delivered"])),
            ("packets missing", f"{result.packets_lost:,}"),
            ("latency", _pair(metrics, "latency")),
            ("jitter", _pair(metrics, "jitter")),
            ("received", _rate(result)),
            ("payloads compared", _compared(result)),
        ),
    )
    if result.dropped:
        yield Section(
            "Recovery",
            (
                ("packets dropped by --loss", f"{result.dropped:,}"),
                ("back within 200 ms", share(metrics["recovered_200ms"])),
                ("back within 1 s", share(metrics["recovered_1s"])),
            ),
        )
    if metrics["cpu"] is not None:
        yield Section(
            "Server process",
            (
                ("CPU", f"{metrics['cpu']:.2f} cores"),
                ("CPU per packet", duration(metrics["cpu_per_packet"])),
                ("memory", f"{(metrics['memory'] or 0) / 1e6:.0f} MB"),
            ),
        )
    yield Section(
        "This tool",
        (
            ("measured", f"{result.seconds:.1f} s"),
            ("CPU", f"{result.own_cpu:.2f} cores"),
            ("datagrams not read in time", f"{result.own_drops:,}"),
            ("latest frame sent", f"{result.latest_send * 1000:.0f} ms late"),
        ),
    )


def checked(checks: Iterable[Check]) -> list[tuple[bool, str, str]]:
    """For each bound whether it held, how it was written, and what was measured."""
    return [(c.holds, c.bound.text, value(c.bound.metric, c.value)) for c in checks]


def value(metric: str, measured: float | None) -> str:
    """A metric's value as a person reads it."""
    match METRICS[metric].unit:
        case "s":
            return duration(measured)
        case "share":
            return share(measured)
        case _:
            return number(measured)


def share(measured: float | None) -> str:
    """A share as per cent; what is not all is never shown as 100 %."""
    if measured is None:
        return NOTHING
    if measured >= 1:
        return "100 %"
    return f"{min(measured * 100, 99.999):.3f} %"


def duration(seconds: float | None) -> str:
    """A time in the unit that suits it."""
    if seconds is None:
        return NOTHING
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1 or unit == "µs":
            scaled = seconds * factor
            return (
                f"{scaled:.{0 if scaled >= 100 else 1 if scaled >= 10 else 2}f} {unit}"
            )
    raise AssertionError("the last unit takes all")


def number(measured: float | None) -> str:
    """A count or a rate."""
    if measured is None:
        return NOTHING
    return f"{measured:,.0f}" if measured >= 100 else f"{measured:.3g}"


def _pair(metrics: dict[str, float | None], name: str) -> str:
    middle, high = metrics[f"{name}_p50"], metrics[f"{name}_p99"]
    if middle is None and high is None:
        return NOTHING
    return f"p50 {duration(middle)}, p99 {duration(high)}"


def _rate(result: Result) -> str:
    packets = result.packets / max(result.seconds, 1e-9)
    bits = (result.metrics["bits_per_second"] or 0.0) / 1e6
    return f"{packets:,.0f} packets/s, {bits:,.1f} Mbit/s"


def _compared(result: Result) -> str:
    if not result.payloads_compared:
        return NOTHING
    text = f"{result.payloads_compared:,}, {result.payloads_altered:,} altered"
    if result.undecryptable:
        text += f", {result.undecryptable:,} undecryptable"
    return text
