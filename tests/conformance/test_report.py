from __future__ import annotations

import dataclasses
import io
import json

import pytest
from rich.console import Console

from live777py.conformance import report as reports
from tests.conformance.reports import report


def shown(**outcomes: str) -> str:
    output = io.StringIO()
    reports.show(Console(file=output, width=100), report(**outcomes))
    return output.getvalue()


def test_the_table_has_a_line_for_each_check() -> None:
    lines = shown(must="fail", should="skip").splitlines()
    assert lines[0].split() == ["#", "check", "level", "section", "WHIP", "WHEP"]
    assert lines[1].split() == ["1", "the", "first", "[bold]", "MUST", "W4.2", "FAIL"]
    assert lines[2].split()[3:] == ["SHOULD", "W5,", "P6", "skip"]


def test_failures_and_what_was_not_checked_are_explained() -> None:
    text = shown(must="fail", should="skip")
    assert "1 MUST WHIP: GET /x: got 500, expected 204; mend it [1]" in text
    assert "2 SHOULD WHIP: because of skip" in text
    assert "1 passed; failed: 1 MUST, 0 SHOULD, 0 others" in text


def test_a_good_report_is_a_table_and_a_sum() -> None:
    text = shown()
    assert "Failed" not in text
    assert "Not checked" not in text
    assert "3 passed; failed: 0 MUST" in text


def test_sessions_that_are_left_are_told() -> None:
    output = io.StringIO()
    left = dataclasses.replace(report(), left=("http://h/s/1", "http://h/s/2"))
    reports.show(Console(file=output, width=100), left)
    assert "Sessions left: 2" in output.getvalue()
    assert "http://h/s/1" in output.getvalue()


def test_json_has_everything() -> None:
    found = reports.to_json(report(must="fail"), status=1)
    assert json.loads(json.dumps(found)) == found
    assert found["exit_status"] == 1
    assert found["server"] == "a server"
    assert found["counts"] == {"pass": 2, "fail": 1, "skip": 0, "not applicable": 0}
    assert found["checks"][0] == {
        "number": 1,
        "check": "the first [bold]",
        "level": "MUST",
        "sections": {"whip": "4.2"},
        "results": {
            "whip": {
                "result": "fail",
                "evidence": "GET /x: got 500, expected 204; mend it [1]",
                "sent": "GET /x",
                "got": "500",
                "expected": "204",
                "cure": "mend it [1]",
            }
        },
    }


@pytest.mark.parametrize("side", ["whip", "whep"])
def test_a_side_that_was_not_asked_for_has_no_column(side: str) -> None:
    alone = dataclasses.replace(report(), **{side: None})  # type: ignore[arg-type]
    assert side not in reports.shown_sides(alone)
    assert len(reports.shown_sides(alone)) == 1
