"""What every check is tested with: what the fake server is to offer, and its faults."""

from __future__ import annotations

from dataclasses import dataclass

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


def good(cases: list[Case]) -> list[tuple[int, Side, tuple[str, ...]]]:
    """Number, side and wants of every check."""
    return [(c.number, side, c.wants) for c in cases for side in c.sides]


def bad(cases: list[Case]) -> list[tuple[int, Side, tuple[str, ...], str]]:
    """Number, side, wants and fault, for every fault."""
    return [
        (c.number, side, c.wants, fault)
        for c in cases
        for side in c.sides
        for fault in c.faults
    ]


async def assert_passes(number: int, side: Side, wants: tuple[str, ...]) -> None:
    """A check passes at a good server, and says by what."""
    found = await finding_of(number, side, wants)
    assert found.outcome is Outcome.PASS, found.evidence
    assert found.evidence


async def assert_finds(
    number: int, side: Side, wants: tuple[str, ...], fault: str
) -> None:
    """A check fails at a server with this fault, and says all that there is to say."""
    found = await finding_of(number, side, wants, [fault])
    assert found.outcome is Outcome.FAIL, found.evidence
    assert found.sent
    assert found.got
    assert found.expected
    assert found.cure
