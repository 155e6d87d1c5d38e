from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from live777py.fleet import arguments, command
from live777py.fleet.plan import EXAMPLE

pytestmark = pytest.mark.timeout(600)


def call(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="fleet")
    parser.set_defaults(verbose=False)
    arguments.add_arguments(parser)
    return command.main(parser.parse_args(words))


class Fleet:
    """The command as a process, and what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.nodes: dict[str, dict[str, Any]] = {}

    async def read_json(self) -> None:
        assert self.process.stdout is not None
        line = json.loads(await self.process.stdout.readline())
        self.nodes = {node["name"]: node for node in line["nodes"]}

    async def error_line(self, containing: str) -> str:
        """Wait for a line on standard error."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            if containing in line.decode():
                return line.decode().rstrip("\n")
        raise AssertionError(f"it ended without {containing}")

    async def finished(self) -> tuple[int, str]:
        """Its exit status, and the rest of what it said."""
        _, errors = await asyncio.wait_for(self.process.communicate(), 30)
        assert self.process.returncode is not None
        return self.process.returncode, errors.decode()


@asynccontextmanager
async def started(*words: str, text: str, folder: Path) -> AsyncIterator[Fleet]:
    file = folder / "fleet.toml"
    file.write_text(text)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "live777py", "fleet", str(file), *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Fleet(process)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def is_file(path: str) -> bool:
    return Path(path).is_file()


def test_the_example_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--example") == 0
    assert capsys.readouterr().out == EXAMPLE


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "my.toml: cannot be read: No such file or directory\n"),
        (b"\xff", "my.toml: is not UTF-8 text\n"),
        (b"[node.a]\nhttp = 1", "my.toml: node.a: http: must be a table\n"),
        (
            b'[node.a.log]\nlevel = "${b.url}"',
            "my.toml: node.a.log.level: ${b.url} refers to no node of this file\n",
        ),
    ],
)
def test_a_wrong_file_is_status_2_and_a_line(
    content: bytes | None,
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("my.toml").write_bytes(content)
    assert call("my.toml") == 2
    assert capsys.readouterr().err == line


def test_a_node_that_does_not_start_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    assert call() == 1
    assert capsys.readouterr().err.startswith("live777py fleet: origin cannot be")


@pytest.mark.slow
async def test_nodes_are_listed_and_stopped_by_sigterm(tmp_path: Path) -> None:
    text = "[node.first]\n[node.b]"
    async with started("--json", text=text, folder=tmp_path) as fleet:
        await fleet.read_json()
        assert list(fleet.nodes) == ["first", "b"]
        async with aiohttp.ClientSession() as http:
            for node in fleet.nodes.values():
                async with http.get(f"{node['url']}/readyz") as response:
                    assert response.status == 200
                assert is_file(node["config"])
                assert is_alive(node["pid"])
        fleet.process.send_signal(signal.SIGTERM)
        status, errors = await fleet.finished()
        assert status == 0
        assert any(
            line.startswith("first | ") and line.endswith("stopping")
            for line in errors.splitlines()
        )
        assert "\nb     | " in errors
        assert not any(is_alive(node["pid"]) for node in fleet.nodes.values())


@pytest.mark.slow
async def test_without_json_a_table_says_where_the_nodes_are(tmp_path: Path) -> None:
    async with started(text="[node.a]", folder=tmp_path) as fleet:
        assert fleet.process.stdout is not None
        head = (await fleet.process.stdout.readline()).decode().split()
        row = (await fleet.process.stdout.readline()).decode().split()
        assert head[0] == "node"
        name, page, whip, whep, pid = row
        assert name == "a"
        assert page.startswith("http://127.0.0.1:")
        assert (whip, whep) == (f"{page}whip/cam", f"{page}whep/cam")
        assert is_alive(int(pid))
        fleet.process.send_signal(signal.SIGINT)
        assert (await fleet.finished())[0] == 0


@pytest.mark.slow
async def test_a_node_that_ends_by_itself_is_told_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    async with started("--json", text="[node.a]\n[node.b]", folder=tmp_path) as fleet:
        await fleet.read_json()
        os.kill(fleet.nodes["a"]["pid"], signal.SIGKILL)
        line = await fleet.error_line("by itself")
        assert line == "a | it was ended by SIGKILL, by itself"
        assert is_alive(fleet.nodes["b"]["pid"])
        fleet.process.send_signal(signal.SIGTERM)
        assert (await fleet.finished())[0] == 1


@pytest.mark.slow
async def test_the_last_node_that_ends_by_itself_ends_the_command(
    tmp_path: Path,
) -> None:
    async with started("--json", text="[node.a]", folder=tmp_path) as fleet:
        await fleet.read_json()
        os.kill(fleet.nodes["a"]["pid"], signal.SIGTERM)
        status, errors = await fleet.finished()
        assert status == 1
        assert "a | it ended with status 0, by itself" in errors


@pytest.mark.slow
async def test_exit_on_failure_stops_them_all(tmp_path: Path) -> None:
    text = "[node.a]\n[node.b]"
    words = ("--json", "--exit-on-failure")
    async with started(*words, text=text, folder=tmp_path) as fleet:
        await fleet.read_json()
        os.kill(fleet.nodes["b"]["pid"], signal.SIGKILL)
        status, errors = await fleet.finished()
        assert status == 1
        assert "b | it was ended by SIGKILL, by itself" in errors
        assert not is_alive(fleet.nodes["a"]["pid"])


@pytest.mark.slow
async def test_a_second_signal_kills_what_does_not_stop(tmp_path: Path) -> None:
    async with started("--json", text="[node.a]", folder=tmp_path) as fleet:
        await fleet.read_json()
        pid = fleet.nodes["a"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        fleet.process.send_signal(signal.SIGINT)
        await fleet.error_line("live777py fleet: stopping")
        fleet.process.send_signal(signal.SIGTERM)
        status, errors = await fleet.finished()
        assert status == 0
        # Which is what a node that has had its ten seconds is told.
        assert "does not stop within" not in errors
        assert not is_alive(pid)
