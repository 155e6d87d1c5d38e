"""`python -m bench`: what forwarding one stream to many viewers costs here."""

from __future__ import annotations

import argparse
import asyncio
import json
import platform

from bench.forwarding import Result, measure, quantile


def main() -> None:
    """Read arguments, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument(
        "--deaf",
        action="store_true",
        help="publish as OBS does: without key frames on request",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not Markdown")
    options = parser.parse_args()
    result = asyncio.run(
        measure(options.viewers, options.seconds, is_deaf=options.deaf)
    )
    print(as_json(result) if options.json else as_markdown(result))


def as_json(result: Result) -> str:
    """The figures for a machine."""
    return json.dumps(
        {
            "viewers": result.viewers,
            "seconds": result.seconds,
            "published": result.published,
            "forwarded": result.forwarded,
            "forwarded_per_second": result.packets_per_second,
            "delivered": result.delivered,
            "server_cpu_us_per_packet": result.microseconds_per_packet,
            "server_cpu_share": _share(result.server_cpu, result.seconds),
            "load_cpu_share": result.load_cpu / result.seconds,
            "joins_per_second": result.joins_per_second,
            "first_packet_median": quantile(result.first_packet, 0.5),
            "first_packet_p99": quantile(result.first_packet, 0.99),
            "first_frame_median": quantile(result.first_frame, 0.5),
            "first_frame_p99": quantile(result.first_frame, 0.99),
            "memory_per_viewer": result.memory_per_viewer,
        },
        indent=2,
    )


def as_markdown(result: Result) -> str:
    """The figures for a person."""
    published = result.published / result.seconds
    rows = [
        ("forwarded packets a second", f"{result.packets_per_second:,.0f}"),
        ("delivered", f"{result.delivered:.4%}"),
        (
            "server CPU per forwarded packet",
            _unit(result.microseconds_per_packet, "µs"),
        ),
        ("server CPU", _percent(_share(result.server_cpu, result.seconds))),
        ("joins a second", f"{result.joins_per_second:.1f}"),
        ("time to first packet, median / p99", _times(result.first_packet)),
        ("time to first frame, median / p99", _times(result.first_frame)),
        ("memory a viewer", _kilobytes(result.memory_per_viewer)),
        ("CPU of the load generator", _percent(result.load_cpu / result.seconds)),
    ]
    lines = [
        (
            f"{result.viewers} viewers of one stream ({published:.0f} packets a second), "
            f"{result.seconds:.1f} s on loopback, Python {platform.python_version()}, "
            f"{platform.machine()}"
        ),
        "",
        "| Figure | Value |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in rows),
    ]
    if result.load_cpu > 0.9 * result.seconds:
        lines += [
            "",
            "The load generator was short of CPU: losses and times may be its own.",
        ]
    return "\n".join(lines)


def _share(cpu: float | None, seconds: float) -> float | None:
    return None if cpu is None else cpu / seconds


def _unit(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.2f} {unit}"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%} of a core"


def _times(values: tuple[float, ...]) -> str:
    median, worst = quantile(values, 0.5), quantile(values, 0.99)
    return f"{median * 1000:.0f} / {worst * 1000:.0f} ms"


def _kilobytes(size: float | None) -> str:
    return "unknown" if size is None else f"{size / 1000:.0f} kB"


if __name__ == "__main__":
    main()
