from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from live777py.loadtest import arguments, command
from live777py.loadtest.options import Options
from live777py.loadtest.result import Result
from live777py.media.clip import UnusableMedia
from tests.loadtest.results import FAILED, RESULT
from tests.support.server import running

URLS = ["--whip", "http://h/whip/cam", "--whep", "http://h/whep/cam"]


def call(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="loadtest")
    arguments.add_arguments(parser)
    return command.main(parser.parse_args(words))


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> list[Result | Exception]:
    """What the next test finds; nothing is opened."""
    found: list[Result | Exception] = [RESULT]

    async def run(_options: Options, **_others: object) -> Result:
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    monkeypatch.setattr(command, "run", run)
    return found


@pytest.mark.usefixtures("outcome")
def test_a_result_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*URLS) == 0
    assert "99.999 %" in capsys.readouterr().out


@pytest.mark.usefixtures("outcome")
@pytest.mark.parametrize(
    ("bounds", "status"),
    [
        (["delivered>=99%"], 0),
        (["delivered>=99%", "latency_p99<100ms"], 0),
        (["delivered>=99%", "latency_p99<10ms"], 1),
    ],
)
def test_a_bound_that_does_not_hold_ends_with_status_1(
    bounds: list[str], status: int
) -> None:
    words = [word for bound in bounds for word in ("--require", bound)]
    assert call(*URLS, *words) == status


@pytest.mark.usefixtures("outcome")
def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*URLS, "--json", "--require", "delivered>=99%") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["viewers_connected"] == 199
    assert found["required"][0]["holds"] is True


@pytest.mark.usefixtures("outcome")
def test_a_page_is_written(tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    assert call(*URLS, "--html", str(page)) == 0
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_nobody_connected_is_status_1_and_interrupted_130(
    outcome: list[Result | Exception],
) -> None:
    outcome[0] = FAILED
    assert call(*URLS) == 130
    import dataclasses

    outcome[0] = dataclasses.replace(FAILED, interrupted=False)
    assert call(*URLS) == 1


def test_media_that_cannot_be_sent_is_status_2(
    outcome: list[Result | Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    outcome[0] = UnusableMedia("it has B-frames")
    assert call(*URLS) == 2
    assert "B-frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "--whip"),
        ([*URLS, "--media", "/none.mp4"], "/none.mp4 is not a file"),
        ([*URLS, "--html", "/none/x.html"], "/none is not a folder"),
    ],
)
def test_wrong_usage_is_status_2(
    words: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*words) == 2
    assert reason in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_ctrl_c_ends_the_sessions_and_shows_what_there_is() -> None:
    async with running() as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "live777py", "loadtest", "--json", "-t", "60s"),
            *("--whip", f"{server.url}/whip/cam", "--whep", f"{server.url}/whep/cam"),
            stdout=asyncio.subprocess.PIPE,
        )
        await asyncio.wait_for(_published(server.streams), 60)
        process.send_signal(signal.SIGINT)
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 130
        assert json.loads(output)["interrupted"] is True
        assert await server.streams() == []


async def _published(streams: object) -> None:
    assert callable(streams)
    while not await streams():  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.05)
