"""The command `live777py loadtest`: runs a test, shows it, and judges it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.live import Live

from live777py.loadtest import arguments as given
from live777py.loadtest import page, terminal
from live777py.loadtest.options import Options
from live777py.loadtest.result import Result
from live777py.loadtest.run import Progress, run
from live777py.media.clip import UnusableMedia

FAILED = 1
MISUSED = 2
INTERRUPTED = 130

#: Times a second that the line on the terminal is drawn anew.
_REFRESH = 4


def main(arguments: argparse.Namespace) -> int:
    """Run a load test; returns the exit status."""
    errors = Console(stderr=True)
    try:
        options = given.options(arguments)
        if options.media is not None and not options.media.is_file():
            raise ValueError(f"{options.media} is not a file")
        if arguments.html is not None and not arguments.html.parent.is_dir():
            raise ValueError(f"{arguments.html.parent} is not a folder")
    except ValueError as error:
        errors.print(f"live777py loadtest: {error}", markup=False, highlight=False)
        return MISUSED
    # What the libraries have to say of single peers is in the result.
    logging.basicConfig(level=logging.CRITICAL)
    try:
        result = asyncio.run(_run(options, errors))
    except UnusableMedia as error:
        errors.print(f"live777py loadtest: {error}", markup=False, highlight=False)
        return MISUSED
    return _tell(arguments, options, result)


async def _run(options: Options, console: Console) -> Result:
    stop = asyncio.Event()
    with (
        _interrupting(stop),
        Live(
            terminal.live(Progress("preparing", 0.0)),
            console=console,
            auto_refresh=False,
            transient=True,
        ) as live,
    ):
        loop = asyncio.get_running_loop()
        next_time = 0.0

        def show(progress: Progress) -> None:
            nonlocal next_time
            if console.is_terminal and loop.time() >= next_time:
                next_time = loop.time() + 1 / _REFRESH
                live.update(terminal.live(progress), refresh=True)

        return await run(options, progress=show, stop=stop)


@contextlib.contextmanager
def _interrupting(stop: asyncio.Event) -> Iterator[None]:
    """The first Ctrl-C ends the test, its sessions deleted; a second one the program."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def interrupted() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)

    for number in signals:
        loop.add_signal_handler(number, interrupted)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _tell(arguments: argparse.Namespace, options: Options, result: Result) -> int:
    checks = result.check(given.bounds(arguments))
    if arguments.json:
        print(json.dumps(result.to_json(checks), indent=2))
    else:
        terminal.show(Console(highlight=False), result, checks)
    if arguments.html is not None:
        when = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
        text = page.render(options, result, checks, when=when)
        try:
            Path(arguments.html).write_text(text, "utf-8")
        except OSError as error:
            print(f"{arguments.html}: {error.strerror}", file=sys.stderr)
            return FAILED
    if result.interrupted:
        return INTERRUPTED
    if result.has_failed or not all(check.holds for check in checks):
        return FAILED
    return 0
