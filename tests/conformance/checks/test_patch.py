from __future__ import annotations

import pytest

from live777py.conformance.model import Finding, Outcome, Side
from tests.conformance.checks.cases import Case, both_tests
from tests.conformance.fake import finding_of

pytestmark = pytest.mark.usefixtures("hurried")

WHIP: tuple[Side, ...] = ("whip",)

CASES = [
    Case(48, ("any-patch-type",)),
    Case(49, ("any-fragment",)),
    Case(50, ("restart-400",)),
    Case(51, ("no-etag", "bare-etag", "same-etag")),
    Case(52, ("no-428",)),
    Case(53, ("no-412",)),
    Case(54, ("trickle-200", "etag-on-trickle")),
    Case(55, ("no-star",)),
    Case(56, ("no-quoted-star",)),
    Case(57, ("no-mdns", "no-tcp")),
    Case(58, ("strict-form",)),
    Case(59, ("end-ends",)),
    Case(
        60,
        (
            "restart-as-text",
            "restart-same-credentials",
            "restart-bare-etag",
            "restart-same-tag",
            "restart-stops-media",
        ),
    ),
    Case(61, ("restart-without-options", "restart-not-lite")),
    Case(62, ("bad-restart-kills", "restart-kills")),
    Case(64, ("no-412",)),
    Case(65, ("patch-gone-204",)),
]

test_a_good_server_passes, test_a_fault_is_found = both_tests(CASES)


@pytest.mark.parametrize("number", [*range(48, 63), 64, 65])
async def test_without_patch_nothing_applies(number: int) -> None:
    found = await finding_of(number, "whip", ["no-patch"])
    assert found.outcome is Outcome.NOT_APPLICABLE, found.evidence


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        (50, Outcome.PASS),
        (51, Outcome.NOT_APPLICABLE),
        (54, Outcome.PASS),
        (60, Outcome.NOT_APPLICABLE),
        (62, Outcome.PASS),
    ],
)
async def test_trickle_alone_is_enough(number: int, outcome: Outcome) -> None:
    found: Finding = await finding_of(number, "whep", ["no-restart"])
    assert found.outcome is outcome, found.evidence


async def test_what_cannot_be_seen_is_not_claimed() -> None:
    assert (await finding_of(63, "whip")).outcome is Outcome.SKIP
