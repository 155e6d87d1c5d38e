from __future__ import annotations

import pytest

from live777py.conformance.model import Failed, Finding, Level, Outcome
from tests.conformance.reports import report


def test_a_failure_is_one_sentence_and_its_parts() -> None:
    failure = Failed("POST /x", "200 OK", "201", "create a session")
    found = Finding.of_failure(failure)
    assert found.outcome is Outcome.FAIL
    assert found.evidence == "POST /x: got 200 OK, expected 201; create a session"
    assert (found.sent, found.got) == ("POST /x", "200 OK")
    assert (found.expected, found.cure) == ("201", "create a session")


def test_failures_are_told_by_level() -> None:
    found = report(must="fail", should="fail", practice="fail")
    assert [check.level for check, _, _ in found.failures()] == [
        Level.MUST,
        Level.SHOULD,
        Level.PRACTICE,
    ]
    assert len(found.failures(Level.MUST)) == 1
    assert found.count(Outcome.FAIL) == 3


@pytest.mark.parametrize(
    ("outcomes", "has_failed", "has_failed_strictly"),
    [
        ({"must": "fail"}, True, True),
        ({"should": "fail"}, False, True),
        ({"practice": "fail"}, False, False),
        ({"must": "skip", "should": "not applicable"}, False, False),
    ],
)
def test_what_fails_a_run(
    outcomes: dict[str, str], has_failed: bool, has_failed_strictly: bool
) -> None:
    found = report(**outcomes)
    assert found.has_failed() is has_failed
    assert found.has_failed(strict=True) is has_failed_strictly
