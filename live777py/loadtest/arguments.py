"""The options of `live777py loadtest`; light enough to be read at every start."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from live777py.loadtest.options import (
    MAX_STREAMS,
    MAX_VIEWERS,
    METRICS,
    Bound,
    Options,
    parse_bound,
    parse_rate,
    parse_seconds,
    parse_share,
)
from live777py.notation import parse_token, parse_url

T = TypeVar("T")

PURPOSE = "publish to and watch any WHIP/WHEP server, and measure it"

_DESCRIPTION = """\
Publishes streams by WHIP and watches them by WHEP, with real ICE, DTLS and SRTP, and tells
how fast viewers join, what arrives, and how late. Any server will do."""

_EXAMPLES = """\
examples:
  live777py loadtest --whip http://127.0.0.1:7777/whip/cam \\
                     --whep http://127.0.0.1:7777/whep/cam -n 200 -t 20s
  live777py loadtest --whip 'https://a.example/whip/{n}' --whep 'https://b.example/whep/{n}' \\
                     -p 3 -n 60 --require 'delivered>=99.9%' --require 'latency_p99<100ms'

Exit status: 0; 1 when a bound does not hold or nobody could connect; 2 when it was called
wrongly; 130 when it was interrupted (sessions are deleted, what was measured is shown)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of the load test."""
    metrics = "\n".join(
        f"  {metric.name:<20} {metric.meaning}"
        + {"share": " (0.999 or 99.9%)", "s": " (50ms, 3us)", "": ""}[metric.unit]
        for metric in METRICS.values()
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = _DESCRIPTION
    parser.epilog = f"metrics for --require:\n{metrics}\n\n{_EXAMPLES}"
    add = parser.add_argument
    add(
        "--whip",
        metavar="URL",
        type=_of(parse_url),
        help="publish here; with -p above 1 the URL contains {n}, which becomes 1, 2, …, or "
        "its path gets -1, -2, … appended; without --whip others publish",
    )
    add(
        "--whep",
        metavar="URL",
        type=_of(parse_url),
        help="watch here; numbered as --whip is; viewers are spread over the streams",
    )
    add(
        "-p",
        "--publishers",
        metavar="N",
        type=_count(1, MAX_STREAMS),
        default=1,
        help="streams (default 1)",
    )
    add(
        "-n",
        "--viewers",
        metavar="N",
        type=_count(0, MAX_VIEWERS),
        default=None,
        help="viewers (default 10 with --whep)",
    )
    add(
        "-t",
        "--time",
        metavar="TIME",
        type=_of(parse_seconds),
        default=10.0,
        help="how long to measure, once all have joined (default 10s)",
    )
    add(
        "--rate",
        metavar="RATE",
        type=_of(parse_rate),
        default=20.0,
        help='viewers that join per second, or "max" (default 20/s)',
    )
    add(
        "--media",
        metavar="FILE",
        type=Path,
        help="publish this file in a loop (H.264 without B-frames, VP8, Opus), up to its first "
        "minute; by default synthetic H.264 of 2.5 Mbit/s",
    )
    add(
        "--loss",
        metavar="SHARE",
        type=_of(parse_share),
        default=0.0,
        help="let viewers drop this share of what arrives, such as 5%%, ask for it again by "
        "NACK, and count what comes",
    )
    add(
        "--seed",
        metavar="N",
        type=_count(0, 2**31),
        default=1,
        help="of the losses (default 1)",
    )
    add(
        "--token",
        metavar="TOKEN",
        type=_of(parse_token),
        help="bearer token for all requests",
    )
    add(
        "--pid",
        metavar="PID",
        type=_count(1, 2**31),
        help="process of the server, to tell its CPU and memory",
    )
    add(
        "--timeout",
        metavar="TIME",
        type=_of(parse_seconds),
        default=15.0,
        help="for each join (default 15s)",
    )
    add(
        "--require",
        metavar="BOUND",
        type=_of(parse_bound),
        action="append",
        default=[],
        help="fail unless this holds, such as 'delivered>=99.9%%'; repeatable",
    )
    add("--json", action="store_true", help="print one JSON object instead of tables")
    add("--html", metavar="FILE", type=Path, help="also write a page with the result")


def options(arguments: argparse.Namespace) -> Options:
    """What the parsed arguments ask for.

    Raises:
        ValueError: they do not go together; the message says why.
    """
    whip, whep = arguments.whip, arguments.whep
    if whip is None and whep is None:
        raise ValueError("say where: --whip URL, --whep URL or both")
    viewers = arguments.viewers
    if viewers is None:
        viewers = 10 if whep else 0
    if viewers and whep is None:
        raise ValueError("-n needs --whep: where shall they watch?")
    if not viewers and whip is None:
        raise ValueError("there is nothing to do: let somebody watch (-n), or --whip")
    return Options(
        whip=whip,
        whep=whep if viewers else None,
        publishers=arguments.publishers,
        viewers=viewers,
        seconds=arguments.time,
        rate=arguments.rate,
        media=arguments.media,
        loss=arguments.loss,
        seed=arguments.seed,
        token=arguments.token,
        pid=arguments.pid,
        timeout=arguments.timeout,
    )


def bounds(arguments: argparse.Namespace) -> list[Bound]:
    """What `--require` asks for."""
    return list(arguments.require)


def _of(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A type for argparse that shows the reason of a ValueError."""

    def read(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def _count(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(
                f'"{text}" is not a number from {low} to {high}'
            )
        return int(text)

    return read
