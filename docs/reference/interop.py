"""Writes the table of interop.md beside it, from what `python -m bench.interop --json` has written.

    PYTHONPATH=. python docs/reference/interop.py run.json

Several files are put side by side, each with other servers.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_suffix(".md")
TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)
WAYS = ("pull", "push")


def table(runs: list[dict[str, Any]]) -> str:
    """A row for each codec, two columns for each server."""
    outcomes = [outcome for run in runs for outcome in run["outcomes"]]
    peers = list(dict.fromkeys(outcome["peer"] for outcome in outcomes))
    codecs = list(dict.fromkeys(outcome["codec"] for outcome in outcomes))
    cells = {(o["codec"], o["peer"], o["direction"]): _cell(o) for o in outcomes}
    titles = [f"{peer}, {way}" for peer in peers for way in WAYS]
    lines = [
        f"| published | {' | '.join(titles)} |",
        f"| --- |{' --- |' * len(titles)}",
    ]
    for codec in codecs:
        row = [cells.get((codec, peer, way), "?") for peer in peers for way in WAYS]
        lines.append(f"| {codec} | {' | '.join(row)} |")
    made = " and ".join(dict.fromkeys(f"{r['version']} on {r['date']}" for r in runs))
    return "\n".join([*lines, "", f"Made with live777py {made}.", ""])


def _cell(outcome: dict[str, Any]) -> str:
    if not outcome["carried"]:
        return "–"
    if outcome["fault"]:
        return "**fail**"
    seconds = f"{outcome['first']:.1f} s"
    if outcome["healed"] is not None:
        seconds += f", again {outcome['healed']:.1f} s"
    return seconds


def main(arguments: list[str]) -> None:
    """Write the page anew."""
    runs = [json.loads(Path(argument).read_text("utf-8")) for argument in arguments]
    page = PAGE.read_text("utf-8")
    PAGE.write_text(TABLE.sub(lambda _: table(runs), page), "utf-8")
    print(PAGE.name)


if __name__ == "__main__":
    main(sys.argv[1:])
