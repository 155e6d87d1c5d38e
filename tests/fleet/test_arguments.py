from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from live777py.fleet import arguments


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fleet")
    parser.set_defaults(verbose=False)
    arguments.add_arguments(parser)
    return parser.parse_args(words)


def test_nothing_is_required() -> None:
    given = parse()
    chosen = {name for name, value in vars(given).items() if value}
    assert chosen == set()


def test_everything_can_be_said() -> None:
    given = parse("a.toml", "--exit-on-failure", "--json", "-v")
    assert given.file == Path("a.toml")
    assert given.exit_on_failure
    assert given.json
    assert given.verbose


def test_help_explains_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--help")
    assert '"${NAME.url}"' in capsys.readouterr().out
