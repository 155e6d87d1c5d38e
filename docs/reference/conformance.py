"""Writes the table of conformance.md beside it, from the list of checks and results as JSON.

    PYTHONPATH=. python docs/reference/conformance.py live777py=own.json MediaMTX=mediamtx.json

Each argument is a column's title and a file that `live777py conformance --json` has printed.
tests/conformance/test_catalogue.py fails when a check of the list is not in the table.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from live777py.conformance.catalogue import checks
from live777py.conformance.model import SIDES
from live777py.conformance.report import sections

PAGE = Path(__file__).with_suffix(".md")
TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)
MARKS = {"pass": "pass", "fail": "**fail**", "skip": "?", "not applicable": "–"}


def table(results: dict[str, dict[str, Any]]) -> str:
    """The table, with a column for each server."""
    found = {
        title: {check["number"]: check["results"] for check in result["checks"]}
        for title, result in results.items()
    }
    lines = [
        f"| # | check | level | section | {' | '.join(results)} |",
        f"| ---: | --- | --- | --- |{' --- |' * len(results)}",
    ]
    for check in checks():
        marks = (_mark(by_number.get(check.number, {})) for by_number in found.values())
        lines.append(
            f"| {check.number} | {check.title} | {check.level} | {sections(check)} "
            f"| {' | '.join(marks)} |"
        )
    return "\n".join(lines) + "\n"


def _mark(found: dict[str, dict[str, str]]) -> str:
    marks = [MARKS[found[side]["result"]] for side in SIDES if side in found]
    return marks[0] if len(set(marks)) == 1 else " / ".join(marks)


def main(arguments: list[str]) -> None:
    """Write the page anew."""
    results = {}
    for argument in arguments:
        title, _, path = argument.partition("=")
        results[title] = json.loads(Path(path).read_text("utf-8"))
    page = PAGE.read_text("utf-8")
    PAGE.write_text(TABLE.sub(lambda _: table(results), page), "utf-8")
    print(PAGE.name)


if __name__ == "__main__":
    main(sys.argv[1:])
