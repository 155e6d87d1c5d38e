from __future__ import annotations

import itertools

import pytest

from live777py.conformance.options import Options, Target, targets
from live777py.notation import parse_url

WHIP, WHEP = "http://h/whip/cam", "http://h/whep/cam"


def first(options: Options, count: int = 2) -> list[Target]:
    return list(itertools.islice(targets(options, "ab"), count))


def test_names_are_appended() -> None:
    assert first(Options(WHIP, f"{WHEP}/?a=1", "t")) == [
        Target("http://h/whip/cam-ab1", "http://h/whep/cam-ab1?a=1", "t"),
        Target("http://h/whip/cam-ab2", "http://h/whep/cam-ab2?a=1", "t"),
    ]


def test_a_bare_host_stays_the_host() -> None:
    assert first(Options("http://h:80/"), 1) == [Target("http://h:80/ab1", None, None)]


def test_names_go_where_the_url_says() -> None:
    options = Options("http://h/{n}/whip", "http://h/{n}/whep")
    assert first(options, 1) == [Target("http://h/ab1/whip", "http://h/ab1/whep", None)]


def test_a_name_in_the_token_leaves_the_urls_alone() -> None:
    assert first(Options(WHIP, WHEP, "key{n}"), 1) == [Target(WHIP, WHEP, "keyab1")]


def test_fixed_urls_are_used_as_they_are() -> None:
    options = Options(WHIP, WHEP, "t", is_fixed=True)
    assert first(options) == [Target(WHIP, WHEP, "t")] * 2


def test_nobody_publishes_new_names_when_only_watching() -> None:
    assert first(Options(None, WHEP), 1) == [Target(None, WHEP, None)]


def test_two_runs_have_different_names() -> None:
    assert next(targets(Options(WHIP))) != next(targets(Options(WHIP)))


def test_a_side_that_was_not_asked_for_has_no_url() -> None:
    target = Target(WHIP, None, "secret")
    assert target.url("whip") == WHIP
    with pytest.raises(ValueError, match="whep"):
        target.url("whep")
    assert "secret" not in repr(target)
    assert "secret" not in repr(Options(WHIP, token="secret"))


@pytest.mark.parametrize(
    "text", ["cam", "ftp://h/x", "http://", "http://[::1", "http://h:99999/x"]
)
def test_other_than_http_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a URL"):
        parse_url(text)
