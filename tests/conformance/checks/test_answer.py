from __future__ import annotations

import pytest

from live777py.conformance.model import Side
from tests.conformance.checks.cases import Case, both_tests

pytestmark = pytest.mark.usefixtures("hurried")

WHIP: tuple[Side, ...] = ("whip",)
WHEP: tuple[Side, ...] = ("whep",)

CASES = [
    Case(29, ("wrong-direction",), sides=WHIP),
    Case(30, ("echo-direction",), sides=WHIP),
    Case(31, ("any-direction",), sides=WHIP),
    Case(32, ("wrong-direction", "echo-direction"), sides=WHEP),
    Case(33, ("counter-recvonly",), wants=("counter",), sides=WHEP),
    Case(34, ("no-bundle", "two-transports", "no-bundle-only")),
    Case(35, ("no-mux-only",)),
    Case(36, ("two-videos-500",), sides=WHIP),
    Case(36, ("no-msid", "two-streams"), sides=WHEP),
    Case(37, ("partial",), sides=WHIP),
    Case(38, ("always-active", "active-500")),
    Case(38, (), wants=("no-active",)),
    Case(39, ("always-passive", "no-passive")),
    Case(40, ("no-fingerprint-needed", "fingerprint-in-sections")),
    Case(41, ("lite-in-section",)),
    Case(41, ("no-media",), sides=WHEP),
    Case(42, ("no-candidates",)),
    Case(43, ("foreign-rid",), sides=WHIP),
    Case(44, ("sections-sorted",)),
    Case(45, ("own-payload-types",)),
    Case(46, ("any-codec",), sides=WHIP),
    Case(47, ("lf",)),
]

test_a_good_server_passes, test_a_fault_is_found = both_tests(CASES)
