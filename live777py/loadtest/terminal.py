"""A load test on the terminal: what is going on, then the tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from live777py.loadtest import rows
from live777py.loadtest.result import Check, Result
from live777py.loadtest.run import Progress


def live(progress: Progress) -> Table:
    """One line or two of what is going on."""
    table = Table.grid(padding=(0, 2))
    table.add_column(width=10, style="bold")
    table.add_column(width=22)
    table.add_column(overflow="ellipsis", no_wrap=True)
    facts = []
    if progress.joined or progress.failed:
        facts.append(f"{progress.joined:,} joined")
    if progress.failed:
        facts.append(f"{progress.failed:,} failed")
    if progress.packets_per_second:
        facts.append(f"{progress.packets_per_second:,.0f} packets/s")
    if progress.delivered is not None and progress.phase == "measuring":
        facts.append(rows.share(progress.delivered))
    table.add_row(
        progress.phase,
        ProgressBar(total=1.0, completed=progress.share, width=22),
        "  ".join(facts),
    )
    return table


def show(console: Console, result: Result, checks: Sequence[Check]) -> None:
    """Print a result."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for index, section in enumerate(rows.sections(result)):
        if index:
            table.add_row()
        table.add_row(Text(section.title, style="bold"))
        for name, value in section.rows:
            table.add_row(f"  {name}", Text(value))
    parts: list[Table | Text] = [table]
    if checks:
        parts += [Text(), Text("Required", style="bold")]
        for holds, bound, value in rows.checked(checks):
            mark = (
                Text("  ok      ", "green") if holds else Text("  FAILED  ", "bold red")
            )
            parts.append(Text.assemble(mark, f"{bound} (measured: {value})"))
    if result.errors:
        parts += [Text(), Text("Errors", style="bold red")]
        parts += [Text(f"  {count}× {text}") for text, count in result.errors.items()]
    if result.warnings:
        parts += [Text(), Text("Mind", style="bold yellow")]
        parts += [Text(f"  {warning}") for warning in result.warnings]
    if result.interrupted:
        parts += [Text(), Text("interrupted: all figures are of the time until then")]
    console.print(Group(*parts))
