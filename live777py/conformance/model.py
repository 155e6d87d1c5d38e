"""What a check is, and what it finds; pure."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from live777py.conformance.bench import Bench

Side = Literal["whip", "whep"]
SIDES: tuple[Side, ...] = ("whip", "whep")

#: Numbers of the checks: those of the list that `docs/reference/conformance.md` shows.
LAST = 71


class Level(enum.StrEnum):
    """How strongly a rule binds."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"
    #: A rule of HTTP itself.
    HTTP = "HTTP"
    #: What clients in the field need, though no document says it.
    PRACTICE = "practice"


class Outcome(enum.StrEnum):
    """What came out of one check."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "fail"
    SKIP = "skip"
    NOT_APPLICABLE = "not applicable"


class Failed(Exception):
    """The server does not do what the rule says.

    Attributes:
        sent: what was sent, in words.
        got: what came back.
        expected: what should have.
        cure: what the server should do.
    """

    def __init__(self, sent: str, got: str, expected: str, cure: str) -> None:
        super().__init__(f"{sent}: got {got}, expected {expected}; {cure}")
        self.sent = sent
        self.got = got
        self.expected = expected
        self.cure = cure


class NotApplicable(Exception):
    """The rule is about something that this server does not do, and need not do."""


class Skipped(Exception):
    """The check could not be made; the message says why."""


Run = Callable[["Bench"], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list.

    Attributes:
        number: in the list.
        title: what the server does when it passes.
        level: how strongly the rule binds.
        sections: by side, where the rule stands; the check is made of these sides only.
        run: makes the check; returns what was seen when it passes, raises otherwise.
        timeout: seconds that it may take.
        is_slow: whether it mostly waits, so that others may run beside it.
        is_last: whether it looks back upon all others.
    """

    number: int
    title: str
    level: Level
    sections: Mapping[Side, str]
    run: Run
    timeout: float = 10.0
    is_slow: bool = False
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found on one side.

    Attributes:
        outcome: pass, fail, skip or not applicable.
        evidence: one sentence.
        sent, got, expected, cure: of a failure, the parts of that sentence.
    """

    outcome: Outcome
    evidence: str
    sent: str | None = None
    got: str | None = None
    expected: str | None = None
    cure: str | None = None

    @classmethod
    def of_failure(cls, failure: Failed) -> Finding:
        """The finding that a failed check makes."""
        return cls(
            Outcome.FAIL,
            str(failure),
            failure.sent,
            failure.got,
            failure.expected,
            failure.cure,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What a whole run has found.

    Attributes:
        checks: the list, by number.
        findings: by number, then by side.
        whip, whep: the URLs that were asked.
        server: what the server calls itself.
        seconds: that the run took.
        requests: that were sent.
        left: sessions whose DELETE failed.
    """

    checks: tuple[Check, ...]
    findings: Mapping[int, Mapping[Side, Finding]]
    whip: str | None = None
    whep: str | None = None
    server: str | None = None
    seconds: float = 0.0
    requests: int = 0
    left: tuple[str, ...] = field(default=())

    def failures(self, *levels: Level) -> list[tuple[Check, Side, Finding]]:
        """What fails, of the given levels or of all."""
        return [
            (check, side, finding)
            for check in self.checks
            if not levels or check.level in levels
            for side, finding in self.findings.get(check.number, {}).items()
            if finding.outcome is Outcome.FAIL
        ]

    def count(self, outcome: Outcome) -> int:
        """How many checks came out so, each side on its own."""
        return sum(
            finding.outcome is outcome
            for sides in self.findings.values()
            for finding in sides.values()
        )

    def has_failed(self, *, strict: bool = False) -> bool:
        """Whether a MUST fails; strictly, also whether a SHOULD does."""
        levels = (Level.MUST, Level.SHOULD) if strict else (Level.MUST,)
        return bool(self.failures(*levels))
