"""The list of checks; each is a function that enters itself here with its number and its rule."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from live777py.conformance.model import SIDES, Check, Level, Run, Side

_checks: dict[int, Check] = {}


def check(
    number: int,
    title: str,
    level: Level,
    *,
    whip: str | None = None,
    whep: str | None = None,
    timeout: float = 10.0,
    slow: bool = False,
    last: bool = False,
) -> Callable[[Run], Run]:
    """Enter a function into the list.

    Args:
        number: in the list, each once.
        title: what the server does when it passes.
        level: how strongly the rule binds.
        whip: the section of RFC 9725 or another document; None if it is no rule of WHIP.
        whep: the section of draft-ietf-wish-whep-03, likewise.
        timeout: seconds that the check may take.
        slow: it mostly waits, so others may run beside it.
        last: it looks back upon what all others have seen.
    """
    sections: dict[Side, str] = {
        side: section
        for side, section in zip(SIDES, (whip, whep), strict=True)
        if section is not None
    }

    def enter(run: Run) -> Run:
        if number in _checks:
            raise ValueError(f"check {number} exists")
        _checks[number] = Check(
            number, title, level, sections, run, timeout, is_slow=slow, is_last=last
        )
        return run

    return enter


def checks() -> tuple[Check, ...]:
    """All checks, by number."""
    for name in (
        "endpoint",
        "cross_origin",
        "load",
        "answer",
        "patch",
        "lifetime",
    ):
        # Importing them is what enters them; here, since they import this module.
        importlib.import_module(f"live777py.conformance.checks.{name}")
    return tuple(_checks[number] for number in sorted(_checks))
