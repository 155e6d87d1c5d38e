"""`python -m bench`: what forwarding costs on this machine, and beside what peers take.

A peer is any WHIP and WHEP server that runs on this machine already:
`--peer NAME PID WHIP WHEP [TOKEN]`, where `{n}` in an URL or token stands for a stream's number.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from bench import chromium, hops, loss, work
from bench.load import Result
from bench.process import choose_cores
from bench.table import TITLES, markdown
from bench.target import Ours, Peer, Target

#: Seconds that one measurement may take before it counts as failed.
STUCK = 90.0
#: Seconds for all measurements of one server: on a busy machine there are fewer runs.
LIMIT = 900.0

MEASUREMENTS: Mapping[str, Callable[[Target], Awaitable[Result]]] = {
    "1x200": partial(work.fan_out, viewers=200),
    "1x400": partial(work.fan_out, viewers=400),
    "50x1": partial(work.many_streams, streams=50),
    "blocked": work.blocked,
    "joins": work.joins,
    "deaf": work.deaf,
    "chromium": chromium.joins,
    "loss": loss.recovered,
    "freezes": loss.freezes,
    "pull": partial(hops.delay, direction="pull"),
    "push": partial(hops.delay, direction="push"),
    "edge": partial(hops.edge, viewers=200),
    # Longer: few packets are too little for a clock of hundredths of a second.
    "edges": partial(hops.edge, viewers=20, streams=20, seconds=6.0),
    "pulled": hops.pulled,
    "bare": lambda target: work.bare(200),
    "threads": lambda target: work.threads(200),
}
#: Parts that can be asked for by name.
SECTIONS: Mapping[str, Sequence[str]] = {
    "hops": ("pull", "push", "edge", "edges", "pulled")
}
#: Are measured once and not at every server: what they need only ours has, or none.
ALONE = ("bare", "threads", *SECTIONS["hops"])
QUICK = ("1x200", "bare")


def main() -> int:
    """Read arguments, measure, print.

    Returns:
        The exit status: 1 if a measurement failed.
    """
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "section", nargs="?", choices=SECTIONS, help="measure this part alone"
    )
    parser.add_argument("--only", nargs="+", choices=TITLES, metavar="NAME")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--limit", type=float, default=LIMIT, help="seconds for each server in all"
    )
    parser.add_argument("--quick", action="store_true", help="one run of the core")
    parser.add_argument("--json", type=Path, help="write every run's figures here")
    parser.add_argument(
        "--peer", nargs="+", action="append", default=[], metavar="NAME PID WHIP WHEP"
    )
    options = parser.parse_args()
    targets: list[Target] = [Ours()]
    for values in options.peer:
        if len(values) not in (4, 5):
            parser.error("--peer takes NAME PID WHIP WHEP [TOKEN]")
        name, pid, whip, whep, *token = values
        targets.append(Peer(name, whip, whep, int(pid), *token))
    chosen = options.only or (QUICK if options.quick else tuple(TITLES))
    if options.section:
        chosen = SECTIONS[options.section]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    bench = Bench(targets)
    runs = 1 if options.quick else options.runs
    asyncio.run(bench.run(chosen, runs, options.limit * len(targets)))
    print(heading(), "", bench.table(), sep="\n")
    for name, sentence in bench.missing.items():
        print(f"{name} is left out: {sentence}", file=sys.stderr)
    for fault in bench.faults:
        print(fault, file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(bench.results, indent=2))
    return 1 if bench.faults else 0


class Bench:
    """Runs measurements in turn, each of ours beside each peer's, so that all meet the noise.

    Attributes:
        results: by work and target, the figures of each run.
        faults: a line for each measurement that failed.
        missing: by work that is left out, what to install for it.
    """

    def __init__(self, targets: list[Target]) -> None:
        self.results: dict[str, dict[str, list[Result]]] = {}
        self.faults: list[str] = []
        self.missing: dict[str, str] = {}
        self._targets = targets

    async def run(self, names: Sequence[str], runs: int, limit: float) -> None:
        """Measure everything so many times, and begin nothing after `limit` seconds."""
        ends = time.monotonic() + limit
        for number in range(runs):
            for name in names:
                if name in self.missing:
                    continue
                targets = self._targets[:1] if name in ALONE else self._targets
                for target in targets:
                    if time.monotonic() > ends:
                        self.faults.append(f"no time for {name} in run {number + 1}")
                        return
                    await self._take(name, target, number)
                    if name in self.missing:
                        break

    def table(self) -> str:
        """The medians."""
        return markdown(self.results, [target.name for target in self._targets])

    async def _take(self, name: str, target: Target, number: int) -> None:
        runs = self.results.setdefault(name, {}).setdefault(target.name, [])
        began = time.monotonic()
        try:
            async with asyncio.timeout(STUCK):
                runs.append(await MEASUREMENTS[name](target))
            outcome = f"{time.monotonic() - began:.0f} s"
        except chromium.Missing as error:
            del self.results[name]
            self.missing[name] = outcome = str(error)
        except Exception as error:
            # A peer may fail in any way, and the others are still worth measuring.
            self.faults.append(f"{name} of {target.name}: {error!r}")
            outcome = repr(error)
        print(f"run {number + 1}: {name} of {target.name}: {outcome}", file=sys.stderr)


def heading() -> str:
    """Where this was measured."""
    server, load = choose_cores()
    pinning = (
        "no cores of their own"
        if server is None
        else f"server on core {server}, load on core {load}"
    )
    return (
        f"{platform.system()} {platform.release()}, {platform.machine()}, Python "
        f"{platform.python_version()}, {pinning}; medians (smallest to largest)."
    )


if __name__ == "__main__":
    sys.exit(main())
