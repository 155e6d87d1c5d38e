from __future__ import annotations

import pytest

from tests.conformance.checks.cases import Case, both_tests

pytestmark = pytest.mark.usefixtures("hurried")

CASES = [
    Case(12, ("no-cors", "options-401")),
    Case(13, ("no-accept-post",)),
    Case(14, ("links-in-preflight",)),
    Case(15, ("nothing-exposed",)),
    Case(16, ("errors-without-cors", "no-if-match", "options-401")),
]

test_a_good_server_passes, test_a_fault_is_found = both_tests(CASES)
