from __future__ import annotations

import pytest

from live777py.conformance.checks.endpoint import random_bits
from live777py.conformance.model import Finding, Outcome, Side
from tests.conformance.checks.cases import Case, both_tests
from tests.conformance.fake import finding_of

pytestmark = pytest.mark.usefixtures("hurried")

WHIP: tuple[Side, ...] = ("whip",)
WHEP: tuple[Side, ...] = ("whep",)

CASES = [
    Case(1, ("no-201",), sides=WHIP),
    Case(2, ("text-answer",)),
    Case(3, ("no-location",), sides=WHIP),
    Case(4, ("counted-locations",)),
    Case(5, ("any-type",)),
    Case(6, ("any-body",)),
    Case(7, ("get-405", "get-page")),
    Case(8, ("get-session-405",)),
    Case(9, ("get-405", "head-404"), sides=WHEP),
    Case(10, ("head-404", "head-differs"), sides=WHEP),
    Case(11, ("no-allow",)),
    Case(17, ("no-challenge", "no-token-needed"), wants=("token",)),
    Case(18, (), wants=("token",)),
    Case(23, ("folded-links", "turn-without-credential")),
    Case(24, ("foreign-extension",)),
    Case(25, ("idle-404",), wants=("needs-publisher",), sides=WHEP),
    Case(26, ("taken-500",), sides=WHIP),
    Case(27, ("counter-as-text", "valid-soon"), wants=("counter",), sides=WHEP),
    Case(28, ("counter-patch-200", "any-answer"), wants=("counter",), sides=WHEP),
]

test_a_good_server_passes, test_a_fault_is_found = both_tests(CASES)


@pytest.mark.parametrize(
    ("number", "side"),
    [
        (17, "whip"),
        (18, "whep"),
        (25, "whep"),
        (27, "whep"),
    ],
)
async def test_what_a_server_need_not_do_is_not_applicable(
    number: int, side: Side
) -> None:
    assert (await finding_of(number, side)).outcome is Outcome.NOT_APPLICABLE


async def test_without_a_session_there_is_nothing_to_look_at() -> None:
    found: Finding = await finding_of(4, "whip", faults=["no-201"])
    assert found.outcome is Outcome.SKIP
    assert "200 OK" in found.evidence


@pytest.mark.parametrize(
    ("one", "other", "least", "most"),
    [
        ("http://h/s/1", "http://h/s/2", 0, 4),
        (
            "http://h/s/00000000000000000000041",
            "http://h/s/00000000000000000000042",
            0,
            7,
        ),
        (
            "http://h/s/0d0a6c2e-7a0e-4d5b-8b1a-9d7e5b0c4f21",
            "http://h/s/c5f1d4b7-31d9-4a57-93f0-55a1f9a3be7c",
            120,
            128,
        ),
        (
            "http://h/s/q8YzTt0aWb3kLmN7cDxE1f",
            "http://h/s/A9sdKfj3hGq2WeRtYu7iOp",
            128,
            132,
        ),
        ("http://h/cam?id=7&token=ab", "http://h/cam?id=8&token=ab", 0, 4),
    ],
)
def test_random_bits_are_counted_where_urls_differ(
    one: str, other: str, least: int, most: int
) -> None:
    assert least <= random_bits(one, other) <= most
