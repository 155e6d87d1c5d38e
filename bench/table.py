"""What the figures are called, and the Markdown table of several runs of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        key: in the results of its work.
        title: for people.
        form: how a value is written; `{}` takes it.
        has_ratio: whether ours beside a peer's is worth a quotient.
    """

    key: str
    title: str
    form: str = "{:.1f}"
    has_ratio: bool = False


#: By work, by target, the values of each run by key.
Results = Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]

_FORWARDING = (
    Figure("cpu_us", "server CPU per forwarded packet, µs", "{:.2f}", has_ratio=True),
    Figure("delivered", "delivered", "{:.3%}"),
    Figure("p50_ms", "latency p50, ms", "{:.2f}", has_ratio=True),
    Figure("p99_ms", "latency p99, ms", "{:.2f}", has_ratio=True),
    Figure("rate", "forwarded packets a second", "{:,.0f}"),
    Figure("server_share", "server CPU, share of its core", "{:.0%}"),
    Figure("load_share", "load generator's CPU, share of its core", "{:.0%}"),
)
_DELAYS = (
    Figure("hop_p50_ms", "added by one hop, median, ms", "{:.2f}"),
    Figure("hop_p99_ms", "the same, p99, ms", "{:.2f}"),
    Figure("two_p50_ms", "added by two hops, median, ms", "{:.2f}"),
    Figure("two_p99_ms", "the same, p99, ms", "{:.2f}"),
    Figure("compared", "packets that all three viewers had", "{:.3%}"),
)
_EDGE = (
    Figure("edge_us", "CPU per forwarded packet, it pulls, µs", "{:.2f}"),
    Figure("own_us", "the same, a node that has the publisher, µs", "{:.2f}"),
    Figure("ratio", "ratio of the two, taken in turn", "{:.2f}"),
    Figure("edge_delivered", "delivered, it pulls", "{:.3%}"),
    Figure("own_delivered", "delivered, it has the publisher", "{:.3%}"),
    Figure("edge_p50_ms", "latency p50 from the publisher, it pulls, ms", "{:.2f}"),
    Figure("own_p50_ms", "the same, it has the publisher, ms", "{:.2f}"),
)
_MEMORY = Figure("memory_kb", "memory a viewer, kB", "{:.0f}", has_ratio=True)

FIGURES: Mapping[str, Sequence[Figure]] = {
    "1x200": (*_FORWARDING, _MEMORY),
    "1x400": (*_FORWARDING, _MEMORY),
    "50x1": _FORWARDING,
    "bare": (
        Figure("plain_us", "packets apart, µs a packet", "{:.2f}"),
        Figure("gso_us", "frames in segmented messages, µs a packet", "{:.2f}"),
    ),
    "blocked": (
        Figure("gap_free_ms", "largest gap at a viewer, loop free, ms"),
        Figure("gap_blocked_ms", "the same, loop blocked 300 ms a second, ms"),
        Figure("gap_publisher_ms", "largest gap of the publisher itself then, ms"),
        Figure("gap_growth_ms", "growth beyond the publisher's own, ms"),
        Figure("p99_blocked_ms", "latency p99, loop blocked, ms", "{:.2f}"),
    ),
    "joins": (
        Figure("joins_per_s", "joins a second", "{:.0f}"),
        Figure("join_server_share", "server CPU meanwhile, share", "{:.0%}"),
        Figure("join_load_share", "load generator's CPU meanwhile, share", "{:.0%}"),
        Figure("watchers_lost", "packets that the watchers lost", "{:.0f}"),
        Figure("watchers_gap_ms", "largest gap at a watcher, ms"),
        Figure("watchers_p99_ms", "latency p99 at watchers, ms", "{:.2f}"),
    ),
    "loss": (
        Figure("viewer_back", "lost to a viewer, back within 200 ms", "{:.2%}"),
        Figure("publisher_back", "lost by the publisher, the same", "{:.2%}"),
    ),
    "freezes": (
        Figure("viewer_freezes", "freezes, viewer's path loses", "{:.0f}"),
        Figure("viewer_freezes_clear", "beside it, none lost", "{:.0f}"),
        Figure("publisher_freezes", "freezes, publisher's path loses", "{:.0f}"),
        Figure("publisher_freezes_clear", "beside it, none lost", "{:.0f}"),
    ),
    "pull": _DELAYS,
    "push": _DELAYS,
    "edge": _EDGE,
    "edges": _EDGE,
    "pulled": (
        Figure(
            "answer_ms", "POST of a pull until it is answered, median, ms", "{:.0f}"
        ),
        Figure(
            "media_ms",
            "POST to first packet at a viewer who waits, median, ms",
            "{:.0f}",
        ),
        Figure("media_worst_ms", "the same, worst, ms", "{:.0f}"),
        Figure(
            "edge_ms",
            "POST to first packet, first viewer of an edge, median, ms",
            "{:.0f}",
        ),
        Figure("edge_worst_ms", "the same, worst, ms", "{:.0f}"),
        Figure("origin_ms", "POST to first packet at its origin, median, ms", "{:.0f}"),
        Figure("origin_worst_ms", "the same, worst, ms", "{:.0f}"),
    ),
    "threads": (
        Figure("rate_1", "packets sent a second by one thread", "{:,.0f}"),
        Figure("rate_2", "by two threads", "{:,.0f}"),
        Figure("gain", "two threads to one", "{:.2f}"),
        Figure("missed_2", "what the second thread had no time for", "{:.1%}"),
    ),
    "deaf": (
        Figure("first_packet_ms", "POST to first packet, median, ms", "{:.0f}"),
        Figure("first_frame_ms", "POST to first whole key frame, median, ms", "{:.0f}"),
        Figure("first_frame_worst_ms", "the same, worst, ms", "{:.0f}"),
    ),
    "chromium": (
        Figure(
            "painted_ms",
            "POST to first painted frame, median, ms",
            "{:.0f}",
            has_ratio=True,
        ),
        Figure("painted_worst_ms", "the same, worst, ms", "{:.0f}"),
        Figure(
            "behind", "frames behind an earlier viewer 1 s after the POST", "{:.0f}"
        ),
        Figure("behind_worst", "the same, worst", "{:.0f}"),
        Figure("freezes", "freezes of these viewers", "{:.0f}"),
        Figure("plis", "key frames that they asked for", "{:.0f}"),
        Figure("dropped", "frames that they dropped", "{:.0f}"),
    ),
}

TITLES: Mapping[str, str] = {
    "1x200": "1 stream × 200 viewers",
    "1x400": "1 stream × 400 viewers",
    "50x1": "50 streams × 1 viewer",
    "bare": "bare `sendmmsg`, 200 sockets",
    "blocked": "event loop blocked, 20 viewers",
    "joins": "200 joins, 100 watching",
    "loss": "5 % lost at random, round trip 20 ms",
    "freezes": "the same in Chromium, 300 frames",
    "pull": "three nodes, each pulls from the one before",
    "push": "three nodes, each pushes to the next",
    "edge": "1 stream × 200 viewers, pulled and not",
    "edges": "20 streams × 1 viewer, pulled and not",
    "pulled": "10 pulls, one after the other",
    "threads": "saturated by injection, 200 viewers",
    "deaf": "publisher deaf to PLI, 2 s between key frames",
    "chromium": "the same publisher, 10 joins in Chromium",
}


def markdown(results: Results, targets: Sequence[str]) -> str:
    """Medians, with the smallest and largest value of the runs in brackets."""
    others = targets[1:]
    heads = ["Work", "Figure", *targets, *(f"ratio to {name}" for name in others)]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for work, by_target in results.items():
        for figure in FIGURES[work]:
            cells = [_cell(figure, by_target.get(target, ())) for target in targets]
            ratios = [_ratio(figure, by_target, targets[0], name) for name in others]
            lines.append(_row([TITLES[work], figure.title, *cells, *ratios]))
    lines += _by_bare(results, targets)
    return "\n".join(lines)


def _by_bare(results: Results, targets: Sequence[str]) -> list[str]:
    """What a packet costs in units of the bare loop's, for each form of that."""
    spent = {
        target: _values(_FORWARDING[0], runs)
        for target, runs in results.get("1x200", {}).items()
    }
    lines = []
    for figure in FIGURES["bare"]:
        # The loop has nothing to do with any server: it stands with the first.
        bare = _values(figure, results.get("bare", {}).get(targets[0], ()))
        if not bare:
            continue
        cells = [
            f"{statistics.median(spent[target]) / statistics.median(bare):.2f}"
            if spent.get(target)
            else "–"
            for target in targets
        ]
        form = figure.title.removesuffix(", µs a packet")
        title = f"CPU per packet by that of bare `sendmmsg`, {form}"
        blanks = [""] * (len(targets) - 1)
        lines.append(_row([TITLES["1x200"], title, *cells, *blanks]))
    return lines


def _values(figure: Figure, runs: Sequence[Mapping[str, float]]) -> list[float]:
    return [run[figure.key] for run in runs if figure.key in run]


def _cell(figure: Figure, runs: Sequence[Mapping[str, float]]) -> str:
    values = _values(figure, runs)
    if not values:
        return "–"
    median = figure.form.format(statistics.median(values))
    if len(values) == 1:
        return median
    low, high = figure.form.format(min(values)), figure.form.format(max(values))
    return median if low == high else f"{median} ({low} to {high})"


def _ratio(
    figure: Figure,
    by_target: Mapping[str, Sequence[Mapping[str, float]]],
    ours: str,
    other: str,
) -> str:
    left = _values(figure, by_target.get(ours, ()))
    right = _values(figure, by_target.get(other, ()))
    if not (figure.has_ratio and left and right) or not statistics.median(right):
        return ""
    return f"{statistics.median(left) / statistics.median(right):.2f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
