from __future__ import annotations

import argparse

import pytest

from live777py.loadtest import arguments
from live777py.loadtest.options import METRICS, Options

URLS = ["--whip", "http://h/whip/cam", "--whep", "http://h/whep/cam"]


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="loadtest")
    arguments.add_arguments(parser)
    return parser.parse_args(words)


def test_everything_can_be_said() -> None:
    words = (
        "-p 3 -n 200 -t 20s --rate 10/s --loss 5% --seed 4 --pid 7 --token T "
        "--timeout 3s --require delivered>=0.999 --require cpu<1"
    )
    given = parse(*URLS, *words.split())
    assert arguments.options(given) == Options(
        whip="http://h/whip/cam",
        whep="http://h/whep/cam",
        publishers=3,
        viewers=200,
        seconds=20.0,
        rate=10.0,
        loss=0.05,
        seed=4,
        token="T",
        pid=7,
        timeout=3.0,
    )
    assert [bound.metric for bound in arguments.bounds(given)] == ["delivered", "cpu"]


def test_there_are_viewers_where_there_is_a_place_to_watch() -> None:
    assert arguments.options(parse(*URLS)).viewers == 10
    only = arguments.options(parse(*URLS[:2]))
    assert (only.viewers, only.whep) == (0, None)


@pytest.mark.parametrize("words", [[], [*URLS[:2], "-n", "5"], [*URLS[2:], "-n", "0"]])
def test_what_does_not_go_together_is_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"--whip|--whep"):
        arguments.options(parse(*words))


@pytest.mark.parametrize(
    "words",
    [
        ["--whip", "cam"],
        ["-p", "0"],
        ["-n", "-1"],
        ["-n", "1000000"],
        ["-n", "ten"],
        ["-t", "0s"],
        ["--rate", "0"],
        ["--token", "a\nb"],
        ["--loss", "101%"],
        ["--require", "quality>1"],
    ],
)
def test_wrong_values_end_with_status_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*URLS, *words)
    assert ended.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_help_names_every_metric(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in METRICS)
    assert max(map(len, text.splitlines())) <= 100
