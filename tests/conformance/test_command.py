from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys

import pytest

from live777py.conformance import arguments, command
from live777py.conformance.model import Report
from live777py.conformance.options import Options
from live777py.conformance.run import ServerDead
from tests.conformance.fake import serving
from tests.conformance.reports import report

URLS = ["--whip", "http://h/whip/cam", "--whep", "http://h/whep/cam"]


def call(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="conformance")
    arguments.add_arguments(parser)
    return command.main(parser.parse_args(words))


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> list[Report | BaseException]:
    """What the next run finds; nothing is opened."""
    found: list[Report | BaseException] = [report()]

    async def run(_options: Options, **_others: object) -> Report:
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

    monkeypatch.setattr(command, "run", run)
    return found


@pytest.mark.parametrize(
    ("found", "words", "status"),
    [
        (report(), [], 0),
        (report(must="fail"), [], 1),
        (report(should="fail"), [], 0),
        (report(should="fail"), ["--strict"], 1),
        (report(practice="fail"), ["--strict"], 0),
    ],
)
def test_the_status_tells_what_fails(
    outcome: list[Report | BaseException],
    found: Report,
    words: list[str],
    status: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcome[0] = found
    assert call(*URLS, *words) == status
    assert "passed" in capsys.readouterr().out


def test_json_is_one_object(
    outcome: list[Report | BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    outcome[0] = report(must="fail")
    assert call(*URLS, "--json") == 1
    assert json.loads(capsys.readouterr().out)["exit_status"] == 1


def test_a_dead_server_is_status_1_and_a_sentence(
    outcome: list[Report | BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    outcome[0] = ServerDead("h does not answer: Connection refused")
    assert call(*URLS) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "live777py conformance: h does not answer: Connection refused\n"
    )


def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == 2
    assert "--whip" in capsys.readouterr().err


@pytest.mark.slow
async def test_ctrl_c_deletes_the_sessions() -> None:
    async with serving() as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "live777py", "conformance"),
            *("--whip", f"{server.url}/whip/cam"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(25):
            while not server.sessions:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            output, errors = await process.communicate()
        assert process.returncode == 130
        assert output == b""
        assert b"interrupted; its sessions are deleted" in errors
        assert server.sessions == {}
