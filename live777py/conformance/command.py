"""The command `live777py conformance`: makes the checks, shows them, and judges."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal

from rich.console import Console
from rich.live import Live
from rich.text import Text

from live777py.conformance import arguments as given
from live777py.conformance import report
from live777py.conformance.model import Check, Report
from live777py.conformance.options import Options
from live777py.conformance.run import ServerDead, run

FAILED = 1
MISUSED = 2
INTERRUPTED = 130


def main(arguments: argparse.Namespace) -> int:
    """Make the checks; returns the exit status."""
    errors = Console(stderr=True, highlight=False)
    try:
        options = given.options(arguments)
    except ValueError as error:
        errors.print(f"live777py conformance: {error}", markup=False)
        return MISUSED
    # What the libraries have to say is in the evidence.
    logging.basicConfig(level=logging.CRITICAL)
    try:
        found = asyncio.run(_run(options, errors))
    except ServerDead as error:
        errors.print(f"live777py conformance: {error}", markup=False)
        return FAILED
    except asyncio.CancelledError:
        errors.print("live777py conformance: interrupted; its sessions are deleted")
        return INTERRUPTED
    status = FAILED if found.has_failed(strict=arguments.strict) else 0
    if arguments.json:
        print(json.dumps(report.to_json(found, status=status), indent=2))
    else:
        report.show(Console(highlight=False), found)
    return status


async def _run(options: Options, console: Console) -> Report:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    signals = (signal.SIGINT, signal.SIGTERM)
    if task is not None:
        for number in signals:
            loop.add_signal_handler(number, task.cancel)
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(done: int, total: int, check: Check) -> None:
            if console.is_terminal:
                line = f"{done} of {total}  {check.number} {check.title}"
                live.update(Text(line), refresh=True)

        try:
            return await run(options, progress=show)
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
