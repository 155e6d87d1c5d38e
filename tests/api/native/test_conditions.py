"""If-Match in all the forms in which clients write it."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from live777py.api.native.conditions import if_match
from live777py.core.model import IfMatch
from live777py.errors import InvalidFragment


def read(*headers: tuple[str, str]) -> IfMatch | None:
    return if_match(make_mocked_request("PATCH", "/", CIMultiDict(headers)))


@pytest.mark.parametrize(
    ("value", "versions"),
    [
        ('"a"', {"a"}),
        ('"a", "b"', {"a", "b"}),
        ('"a","b" ', {"a", "b"}),
        ('W/"a", "b"', {"b"}),
        ("a", {"a"}),
        ('""', {""}),
    ],
)
def test_tags_are_read(value: str, versions: set[str]) -> None:
    assert read(("If-Match", value)) == IfMatch(frozenset(versions))


@pytest.mark.parametrize("value", ["*", '"*"', ' "*" '])
def test_a_star_means_any_in_quotes_or_not(value: str) -> None:
    condition = read(("If-Match", value))
    assert condition is not None
    assert condition.matches("whatever")


def test_there_may_be_none_or_several() -> None:
    assert read() is None
    assert read(("If-Match", '"a"'), ("If-Match", '"b"')) == IfMatch(
        frozenset({"a", "b"})
    )


def test_an_etag_of_the_request_counts_only_where_there_is_no_if_match() -> None:
    assert read(("ETag", '"a"')) == IfMatch(frozenset({"a"}))
    assert read(("ETag", '"a"'), ("If-Match", '"b"')) == IfMatch(frozenset({"b"}))


@pytest.mark.parametrize("value", ['"a', "a b", '"a""b"', ",", '"' + "a" * 5000 + '"'])
def test_what_is_no_list_of_tags_is_refused(value: str) -> None:
    with pytest.raises(InvalidFragment, match="If-Match"):
        read(("If-Match", value))


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    try:
        assert read(("If-Match", text)) is not None
    except InvalidFragment:
        return
