"""`live777py token`: what it prints and what it refuses."""

from __future__ import annotations

import time
from pathlib import Path

import jwt
import pytest

from live777py import cli

SECRET = "a secret of more than thirty-two characters"


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def claims(text: str) -> dict[str, object]:
    assert text.endswith("\n")
    assert len(text.split()) == 1, "the token stands alone"
    found: dict[str, object] = jwt.decode(text.strip(), SECRET, algorithms=["HS256"])
    return found


@pytest.mark.parametrize(
    ("arguments", "stream", "mode", "seconds"),
    [
        (["--stream", "cam", "--publish"], "cam", 2, 3600),
        (["--stream", "cam", "--subscribe", "--expires", "7d"], "cam", 4, 604_800),
        (["--stream", "Küche 1", "--admin", "--expires", "90"], "Küche 1", 1, 90),
        (
            ["--stream", "*", "--publish", "--subscribe", "--admin", "--expires", "1h"],
            "*",
            7,
            3600,
        ),
    ],
)
def test_a_token_is_printed_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    stream: str,
    mode: int,
    seconds: int,
) -> None:
    monkeypatch.setenv("LIVE777_AUTH__SECRET", SECRET)
    before = int(time.time())
    assert cli.main(["token", *arguments]) == 0
    printed = capsys.readouterr()
    found = claims(printed.out)
    assert printed.err == ""
    expires = found.pop("exp")
    assert found == {"id": stream, "mode": mode}
    assert isinstance(expires, int)
    assert before + seconds <= expires <= int(time.time()) + seconds


def test_the_secret_comes_from_the_configuration_or_from_a_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("live777.toml").write_text(f'[auth]\nsecret = "{SECRET}"\n')
    Path("my.toml").write_text(f'[auth]\nsecret = "{SECRET}"\n')
    Path("other.toml").write_text('[auth]\nsecret = "another one"\n')
    Path("secret").write_text(f"{SECRET}\n")
    for arguments in (
        ["token", "--stream", "cam", "--publish"],
        ["-c", "my.toml", "token", "--stream", "cam", "--publish"],
        ["token", "--stream", "cam", "--publish", "-c", "my.toml"],
        [
            *("token", "--stream", "cam", "--publish"),
            *("-c", "other.toml", "--secret-file", "secret"),
        ],
    ):
        assert cli.main(arguments) == 0
        assert claims(capsys.readouterr().out)["id"] == "cam"


def test_without_a_secret_the_line_to_add_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["token", "--stream", "cam", "--publish"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    section, line = printed.err.splitlines()[-2:]
    assert section == "[auth]"
    Path("live777.toml").write_text(f"{section}\n{line}\n")
    assert cli.main(["token", "--stream", "cam", "--publish"]) == 0


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be read: No such file"),
        (b"\n", "is empty"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_secret_file_that_holds_none_is_refused(
    capsys: pytest.CaptureFixture[str], content: bytes | None, fault: str
) -> None:
    if content is not None:
        Path("secret").write_bytes(content)
    arguments = ["--stream", "cam", "--publish", "--secret-file", "secret"]
    assert cli.main(["token", *arguments]) == 2
    assert f"secret: {fault}" in capsys.readouterr().err


def test_a_token_that_may_do_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVE777_AUTH__SECRET", SECRET)
    assert cli.main(["token", "--stream", "cam"]) == 2
    assert "--publish, --subscribe or --admin" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--publish"],
        ["--stream", "", "--publish"],
        ["--stream", "x" * 256, "--publish"],
        ["--stream", "cam", "--publish", "--expires", "soon"],
        ["--stream", "cam", "--publish", "--expires", "0"],
        ["--stream", "cam", "--publish", "--expires", "99999d"],
    ],
)
def test_wrong_arguments_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["token", *arguments])
    assert caught.value.code == 2
    assert "--stream" in capsys.readouterr().err
