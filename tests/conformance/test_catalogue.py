from __future__ import annotations

import re
from pathlib import Path

import pytest

from live777py.conformance.catalogue import check, checks
from live777py.conformance.model import LAST, Level
from live777py.conformance.report import sections
from tests.conformance.reports import nothing

ROOT = Path(__file__).parents[2]


def test_the_list_is_complete() -> None:
    assert [check.number for check in checks()] == list(range(1, LAST + 1))


def test_every_check_says_what_and_by_which_rule() -> None:
    for entered in checks():
        assert entered.title, entered.number
        assert entered.sections, entered.number
        assert all(entered.sections.values()), entered.number
        assert 0 < entered.timeout <= 60, entered.number


def test_titles_are_told_apart() -> None:
    titles = [entered.title for entered in checks()]
    assert len(titles) == len(set(titles))


def test_the_page_has_the_list() -> None:
    page = (ROOT / "docs" / "reference" / "conformance.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+ \| .+? \| .+? \| .+?) \| ", page, re.MULTILINE)
    expected = [f"{c.number} | {c.title} | {c.level} | {sections(c)}" for c in checks()]
    assert rows == expected


def test_a_number_is_given_once() -> None:
    assert checks()
    with pytest.raises(ValueError, match="check 1 exists"):
        check(1, "another", Level.MUST, whip="4.2")(nothing)
