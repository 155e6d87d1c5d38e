from __future__ import annotations

import pytest

from live777py.conformance.model import Finding, Outcome, Side
from tests.conformance.checks.cases import Case, both_tests
from tests.conformance.fake import finding_of

pytestmark = pytest.mark.usefixtures("hurried")

WHIP: tuple[Side, ...] = ("whip",)

CASES = [
    Case(66, ("delete-keeps-dtls",)),
    Case(67, ("delete-412",)),
    Case(68, ("delete-twice-500",)),
    Case(70, ("deaf",)),
    Case(71, ("no-consent",), sides=WHIP),
]

test_a_good_server_passes, test_a_fault_is_found = both_tests(CASES)


@pytest.mark.parametrize("side", ["whip", "whep"])
async def test_silence_ends_a_session(side: Side) -> None:
    assert (await finding_of(69, side)).outcome is Outcome.PASS


async def test_a_full_agent_that_never_notices_fails() -> None:
    found: Finding = await finding_of(69, "whip", faults=["no-consent", "full-ice"])
    assert found.outcome is Outcome.FAIL
    assert "404" in (found.expected or "")


async def test_an_ice_lite_server_need_not_notice() -> None:
    found = await finding_of(69, "whip", faults=["no-consent"])
    assert found.outcome is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize("fault", ["delete-405", "delete-always-200"])
async def test_where_the_end_cannot_be_seen_nothing_is_claimed(fault: str) -> None:
    found = await finding_of(70, "whip", faults=["deaf", fault])
    assert found.outcome is Outcome.SKIP, found.evidence
