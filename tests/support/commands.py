"""The command lines that Markdown pages show, as a shell would take them apart."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]


def shown(page: str, program: str) -> list[list[str]]:
    """The arguments of every command of this name in the code blocks of a page.

    A command begins its line and goes on over lines that end in a backslash. What has an
    ellipsis in it is left out: it shows a part of a command.
    """
    text = (ROOT / page).read_text("utf-8")
    joined = re.sub(r"\\\n\s*", "", text)
    lines = re.findall(rf"^\s*{re.escape(program)} .*$", joined, re.MULTILINE)
    return [shlex.split(line)[1:] for line in lines if "…" not in line]


def after(option: str, arguments: list[str]) -> str:
    """The value behind an option."""
    return arguments[arguments.index(option) + 1]
