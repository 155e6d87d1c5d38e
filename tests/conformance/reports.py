"""Reports for tests of what is done with them."""

from __future__ import annotations

from live777py.conformance.bench import Bench
from live777py.conformance.model import Check, Failed, Finding, Level, Outcome, Report


async def nothing(_bench: Bench) -> str:
    return ""


def report(must: str = "pass", should: str = "pass", practice: str = "pass") -> Report:
    """A report of three checks of WHIP, of which the second is one of WHEP, too."""
    checks = (
        Check(1, "the first [bold]", Level.MUST, {"whip": "4.2"}, nothing),
        Check(2, "the second", Level.SHOULD, {"whip": "5", "whep": "6"}, nothing),
        Check(3, "the third", Level.PRACTICE, {"whip": "–"}, nothing),
    )
    findings = {
        check.number: {"whip": _finding(outcome)}
        for check, outcome in zip(checks, (must, should, practice), strict=True)
    }
    return Report(
        checks,
        findings,  # type: ignore[arg-type]
        whip="http://h/whip/cam",
        whep="http://h/whep/cam",
        server="a server",
        seconds=1.25,
        requests=7,
    )


def _finding(outcome: str) -> Finding:
    if outcome == "fail":
        return Finding.of_failure(Failed("GET /x", "500", "204", "mend it [1]"))
    return Finding(Outcome(outcome), f"because of {outcome}")
