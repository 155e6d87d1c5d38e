"""What every check is tested with: what the fake server is to offer, and its faults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import pytest

from live777py.conformance.model import Outcome, Side
from tests.conformance.fake import finding_of

BOTH: tuple[Side, ...] = ("whip", "whep")


@dataclass(frozen=True)
class Case:
    """One check, the sides that it is made of, and the faults that it is for."""

    number: int
    faults: tuple[str, ...]
    wants: tuple[str, ...] = ()
    sides: tuple[Side, ...] = BOTH


Test = Callable[..., Awaitable[None]]


def both_tests(cases: Iterable[Case]) -> tuple[Test, Test]:
    """Two tests: every check passes at a good server, and finds each of its faults."""
    checks = [(case, side) for case in cases for side in case.sides]

    @pytest.mark.parametrize(
        ("number", "side", "wants"),
        [(case.number, side, case.wants) for case, side in checks],
    )
    async def passes(number: int, side: Side, wants: tuple[str, ...]) -> None:
        found = await finding_of(number, side, wants)
        assert found.outcome is Outcome.PASS, found.evidence
        assert found.evidence

    @pytest.mark.parametrize(
        ("number", "side", "wants", "fault"),
        [
            (case.number, side, case.wants, fault)
            for case, side in checks
            for fault in case.faults
        ],
    )
    async def finds(
        number: int, side: Side, wants: tuple[str, ...], fault: str
    ) -> None:
        found = await finding_of(number, side, wants, [fault])
        assert found.outcome is Outcome.FAIL, found.evidence
        # It says all that there is to say.
        assert found.sent
        assert found.got
        assert found.expected
        assert found.cure

    return passes, finds
