"""The command `live777py fleet`: starts nodes, tells where they are, and waits."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from live777py.errors import ConfigError
from live777py.fleet.plan import EXAMPLE, Plan
from live777py.fleet.run import Node, NodeFailed, Show, describe, parse, running

FAILED = 1
MISUSED = 2

#: What stops the fleet: also the end of the terminal, which nodes in groups of their own
#: would not notice.
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: argparse.Namespace) -> int:
    """Run a fleet; returns the exit status."""
    if arguments.example:
        print(EXAMPLE, end="")
        return 0
    try:
        return asyncio.run(_run(_plan(arguments.file), arguments))
    except ConfigError as error:
        print("\n".join(error.faults), file=sys.stderr)
        return MISUSED
    except NodeFailed as error:
        print(f"live777py fleet: {error}", file=sys.stderr)
        return FAILED


def _plan(file: Path | None) -> Plan:
    if file is None:
        return parse(EXAMPLE, "the example")
    try:
        return parse(file.read_text("utf-8-sig"), str(file))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8 text") from None


async def _run(plan: Plan, options: argparse.Namespace) -> int:
    width = max(len(node.name) for node in plan.nodes)

    def show(name: str, line: str) -> None:
        print(f"{name:<{width}} | {line}", file=sys.stderr, flush=True)

    started: list[Node] = []
    failed: list[Node] = []
    with _interrupting(started):
        try:
            async with running(plan, show=show, verbose=options.verbose) as nodes:
                started += nodes.values()
                print(_json(nodes) if options.json else _table(nodes), flush=True)
                await _watch(nodes, show, failed, at_first=options.exit_on_failure)
        except asyncio.CancelledError:
            return FAILED if failed else 0
    return FAILED


@contextlib.contextmanager
def _interrupting(nodes: Sequence[Node]) -> Iterator[None]:
    """The first signal cancels this task, which stops the nodes; a second one kills them."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    told = False

    def interrupted() -> None:
        nonlocal told
        if told:
            # Not left to the cancellation: a task that has one pending takes no second one.
            for node in nodes:
                node.signal(signal.SIGKILL)
        else:
            told = True
            print(
                "live777py fleet: stopping; Ctrl-C again kills what is left",
                file=sys.stderr,
                flush=True,
            )
        if task is not None:
            task.cancel()

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, interrupted)
    try:
        yield
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


async def _watch(
    nodes: Mapping[str, Node], show: Show, failed: list[Node], *, at_first: bool
) -> None:
    """Tell which nodes end by themselves; returns when all have, or the first."""
    one_has = asyncio.Event()

    async def watch(node: Node) -> None:
        await node.ended()
        failed.append(node)
        show(node.name, f"it {describe(node.status)}, by itself")
        one_has.set()

    async with asyncio.TaskGroup() as group:
        watches = [group.create_task(watch(node)) for node in nodes.values()]
        if at_first:
            await one_has.wait()
            for one in watches:
                one.cancel()


def _table(nodes: Mapping[str, Node]) -> str:
    rows = [("node", "page", "publish (WHIP)", "play (WHEP)", "pid")]
    rows += [
        (
            node.name,
            f"{node.url}/",
            f"{node.url}/whip/cam",
            f"{node.url}/whep/cam",
            str(node.pid),
        )
        for node in nodes.values()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join([*(line.rstrip() for line in lines), ""])


def _json(nodes: Mapping[str, Node]) -> str:
    listed = [
        {"name": node.name, "url": node.url, "pid": node.pid, "config": str(node.file)}
        for node in nodes.values()
    ]
    return json.dumps({"nodes": listed})
