from __future__ import annotations

import pytest

from live777py.conformance.model import Outcome, Side
from tests.conformance.checks.cases import Case, both_tests
from tests.conformance.fake import finding_of

pytestmark = pytest.mark.usefixtures("hurried")

WHIP: tuple[Side, ...] = ("whip",)

CASES = [
    Case(19, ("moved",), sides=WHIP),
    Case(20, ("308",), wants=("balance",), sides=WHIP),
    Case(21, ("no-retry-after",), wants=("busy",)),
    Case(22, ("no-retry-after",), wants=("limit",)),
]

test_a_good_server_passes, test_a_fault_is_found = both_tests(CASES)


@pytest.mark.parametrize("number", [20, 21])
async def test_what_a_server_need_not_do_is_not_applicable(number: int) -> None:
    assert (await finding_of(number, "whip")).outcome is Outcome.NOT_APPLICABLE


async def test_a_rate_limit_is_not_provoked() -> None:
    assert (await finding_of(22, "whip")).outcome is Outcome.SKIP
