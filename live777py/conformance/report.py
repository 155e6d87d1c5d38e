"""A report for people, as a table, and for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from live777py.conformance.model import (
    SIDES,
    Check,
    Finding,
    Level,
    Outcome,
    Report,
    Side,
)

#: How an outcome is shown.
MARKS = {
    Outcome.PASS: ("pass", "green"),
    Outcome.FAIL: ("FAIL", "bold red"),
    Outcome.SKIP: ("skip", "yellow"),
    Outcome.NOT_APPLICABLE: ("n/a", "dim"),
}


def show(console: Console, report: Report) -> None:
    """Print a report: the table, what fails and why, what was skipped and why, a sum."""
    sides = shown_sides(report)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("check")
    table.add_column("level", no_wrap=True)
    table.add_column("section")
    for side in sides:
        table.add_column(side.upper(), no_wrap=True)
    for check in report.checks:
        found = report.findings.get(check.number, {})
        table.add_row(
            str(check.number),
            Text(check.title),
            str(check.level),
            Text(sections(check)),
            *(_mark(found.get(side)) for side in sides),
        )
    console.print(table)
    for title, style, outcomes in (
        ("Failed", "bold red", (Outcome.FAIL,)),
        ("Not checked", "bold yellow", (Outcome.SKIP,)),
    ):
        lines = list(_lines(report, outcomes))
        if lines:
            console.print(Text(f"\n{title}", style))
            for line in lines:
                console.print(Text(f"  {line}"), soft_wrap=True)
    if report.left:
        console.print(Text(f"\nSessions left: {len(report.left)}", "bold yellow"))
        first = report.left[0]
        console.print(
            Text(f"  the server refuses their DELETE, first {first}"), soft_wrap=True
        )
    console.print(Text(f"\n{summary(report)}"), soft_wrap=True)


def shown_sides(report: Report) -> list[Side]:
    """The sides that were asked for."""
    return [s for s in SIDES if (report.whip if s == "whip" else report.whep)]


def sections(check: Check) -> str:
    """Where a rule stands, W for RFC 9725 and P for the draft of WHEP."""
    named = [
        section
        if not section[:1].isdigit()
        else f"{'W' if side == 'whip' else 'P'}{section}"
        for side, section in check.sections.items()
    ]
    return ", ".join(dict.fromkeys(named))


def summary(report: Report) -> str:
    """One line: how many of what."""
    musts = len(report.failures(Level.MUST))
    shoulds = len(report.failures(Level.SHOULD))
    others = len(report.failures()) - musts - shoulds
    return (
        f"{report.count(Outcome.PASS)} passed; failed: {musts} MUST, {shoulds} SHOULD, "
        f"{others} others; {report.count(Outcome.NOT_APPLICABLE)} not applicable, "
        f"{report.count(Outcome.SKIP)} not checked "
        f"({report.requests} requests in {report.seconds:.0f} s)"
    )


def to_json(report: Report, *, status: int) -> dict[str, Any]:
    """The object that `--json` prints; `docs/reference/conformance.md` names the keys.

    Args:
        report: what was found.
        status: with which the command exits.
    """
    return {
        "whip": report.whip,
        "whep": report.whep,
        "server": report.server,
        "seconds": round(report.seconds, 1),
        "requests": report.requests,
        "exit_status": status,
        "sessions_left": list(report.left),
        "counts": {str(outcome): report.count(outcome) for outcome in Outcome},
        "checks": [
            {
                "number": check.number,
                "check": check.title,
                "level": str(check.level),
                "sections": dict(check.sections),
                "results": {
                    side: _finding(finding)
                    for side, finding in report.findings.get(check.number, {}).items()
                },
            }
            for check in report.checks
        ],
    }


def _finding(finding: Finding) -> dict[str, str]:
    parts = {"result": str(finding.outcome), "evidence": finding.evidence}
    for name in ("sent", "got", "expected", "cure"):
        value = getattr(finding, name)
        if value is not None:
            parts[name] = value
    return parts


def _mark(finding: Finding | None) -> Text:
    return Text("") if finding is None else Text(*MARKS[finding.outcome])


def _lines(report: Report, outcomes: Iterable[Outcome]) -> Iterable[str]:
    for check in report.checks:
        by_text: dict[str, list[str]] = {}
        for side, finding in report.findings.get(check.number, {}).items():
            if finding.outcome in outcomes:
                by_text.setdefault(finding.evidence, []).append(side.upper())
        for text, sides in by_text.items():
            yield f"{check.number} {check.level} {'+'.join(sides)}: {text}"
