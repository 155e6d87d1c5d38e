from __future__ import annotations

import argparse

import pytest

from live777py.conformance import arguments
from live777py.conformance.options import Options

URLS = ["--whip", "http://h/whip/cam", "--whep", "http://h/whep/cam"]


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conformance")
    arguments.add_arguments(parser)
    return parser.parse_args(words)


def test_everything_can_be_said() -> None:
    given = parse(*URLS, "--token", "T", "--fixed", "--json", "--strict")
    assert arguments.options(given) == Options(
        "http://h/whip/cam", "http://h/whep/cam", "T", is_fixed=True
    )
    assert given.json
    assert given.strict


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "--whip URL, --whep URL or both"),
        (["--whip", "http://h/{n}", "--fixed"], "leave {n} out"),
        (["--whep", "http://h/{n}"], "needs --whip"),
    ],
)
def test_what_does_not_go_together_is_refused(words: list[str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("{", r"\{")):
        arguments.options(parse(*words))


def test_a_wrong_url_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("--whip", "cam")
    assert ended.value.code == 2
    assert '"cam" is not a URL' in capsys.readouterr().err


def test_a_token_that_no_header_holds_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*URLS, "--token", "s3cr\u00e9t")
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "printable ASCII" in told
    assert "s3cr" not in told


def test_help_tells_names_and_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    text = capsys.readouterr().out
    assert "{n}" in text
    assert "Exit status: 0; 1 when a MUST fails" in text
    assert max(map(len, text.splitlines())) <= 100
