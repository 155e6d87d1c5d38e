from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
from pathlib import Path

import aiohttp
import pytest

from live777py import fleet
from live777py.errors import ConfigError
from live777py.fleet import run
from live777py.fleet.run import NodeFailed, describe

#: A start compiles nothing in tests that have run before, else it takes its time.
pytestmark = pytest.mark.timeout(600)

TWO = """
[common.http]
rate_limit = 0
[node.a]
[node.b.http]
cors = ["${a.url}"]
"""


async def status(url: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/readyz") as response:
        return response.status


async def refuses(url: str) -> bool:
    with contextlib.suppress(aiohttp.ClientConnectionError):
        await status(url)
        return False
    return True


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.slow
async def test_every_node_listens_inside_the_block_and_none_outlives_it() -> None:
    lines: list[tuple[str, str]] = []
    plan = fleet.parse(TWO)
    async with fleet.running(plan, show=lambda *line: lines.append(line)) as nodes:
        assert list(nodes) == ["a", "b"]
        for planned in plan.nodes:
            node = nodes[planned.name]
            assert node.url == planned.url
            assert await status(node.url) == 200
            assert node.is_running
            assert node.status is None
            mode = stat.S_IMODE(node.file.stat().st_mode)
            assert (node.file.read_text("utf-8"), mode) == (planned.text, 0o600)
        pids = [node.pid for node in nodes.values()]
    assert not any(map(is_alive, pids))
    assert not any(node.file.exists() for node in nodes.values())
    # SIGTERM was enough.
    assert [node.status for node in nodes.values()] == [0, 0]
    for name in nodes:
        assert any(who == name and "stopping" in line for who, line in lines)


@pytest.mark.slow
async def test_a_node_can_be_killed_and_started_again_at_its_place() -> None:
    async with fleet.running(fleet.parse("[node.a]")) as nodes:
        node = nodes["a"]
        first = node.pid
        await node.kill()
        assert (node.status, node.is_running) == (-signal.SIGKILL, False)
        assert await node.ended() == -signal.SIGKILL
        assert await refuses(node.url)
        # Of no effect, and no error.
        await node.kill()
        await node.stop()
        await node.restart()
        assert await status(node.url) == 200
        second = node.pid
        await node.restart()
        assert await status(node.url) == 200
        assert len({first, second, node.pid}) == 3


@pytest.mark.slow
async def test_a_node_that_does_not_stop_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "GRACE", 0.2)
    monkeypatch.setattr(run, "_cpus", lambda: 4)
    lines: list[str] = []
    plan = fleet.parse("[node.a]")
    async with fleet.running(plan, show=lambda _, line: lines.append(line)) as nodes:
        nodes["a"].signal(signal.SIGSTOP)
    assert nodes["a"].status == -signal.SIGKILL
    assert "does not stop within 0.2 s: it is killed" in lines


@pytest.mark.slow
async def test_what_fails_to_start_is_told_and_the_others_are_stopped() -> None:
    # Two of them: the second one finds the address taken.
    text = (
        '[common.http]\nlisten = "127.0.0.1:{}"\n[node.a]\n[node.b.http]\nlisten = "{}"'
    )
    port = fleet.parse("[node.a]").nodes[0].http.port
    plan = fleet.parse(text.format(port, f"0.0.0.0:{port}"))
    before = children()
    with pytest.raises(NodeFailed) as caught:
        async with fleet.running(plan):
            pytest.fail("it has not started")
    message = str(caught.value)
    assert "ended with status 1\n" in message
    assert "in use" in message
    assert children() == before


async def test_a_command_that_cannot_be_run_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    with pytest.raises(NodeFailed, match=r"^a cannot be started: .*No such file"):
        async with fleet.running(fleet.parse("[node.a]")):
            pytest.fail("it has not started")


async def test_a_node_that_takes_too_long_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "START_TIMEOUT", 0.05)
    with pytest.raises(NodeFailed, match=r"^a did not listen within 0\.05 s"):
        async with fleet.running(fleet.parse("[node.a]")):
            pytest.fail("it has not started")


async def test_a_wrong_configuration_starts_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    text = '[common.http]\nport = 1\n[node.a]\n[node.b.log]\nlevel = "loud"'
    with pytest.raises(ConfigError) as caught:
        async with fleet.running(fleet.parse(text, "my.toml")):
            pytest.fail("it has not started")
    assert caught.value.faults == (
        "my.toml: node.a: http.port: unknown key",
        "my.toml: node.b: http.port: unknown key",
        'my.toml: node.b: log.level: must be "debug", "info", "warning" or "error"',
    )


def test_no_node_outlives_a_loop_that_ends_while_they_start() -> None:
    before = children()

    def interrupt() -> None:
        raise KeyboardInterrupt

    def look() -> None:
        loop = asyncio.get_running_loop()
        if len(children() - before) == 2:
            # Long before they listen, and after the loop has all it needs to watch them.
            loop.call_later(0.2, interrupt)
        else:
            loop.call_later(0.01, look)

    async def serve() -> None:
        look()
        async with fleet.running(fleet.parse("[node.a]\n[node.b]")):
            pass

    with pytest.raises(KeyboardInterrupt):
        # What is left is cancelled all at once, also what watches the processes.
        asyncio.run(serve())
    assert children() == before


@pytest.mark.slow
async def test_variables_of_a_configuration_are_not_for_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIVE777_HTTP__LISTEN", "nowhere")
    async with fleet.running(fleet.parse("[node.a]")) as nodes:
        assert await status(nodes["a"].url) == 200


async def test_lines_of_any_length_and_bytes_are_passed_on() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b"one\r\n\n\xff\n" + b"x" * (run.MAX_LINE + 3) + b"\nlast")
    stream.feed_eof()
    found = [line async for line in run._lines(stream)]
    assert found[:3] == ["one", "", "\N{REPLACEMENT CHARACTER}"]
    assert "".join(found[3:-1]) == "x" * (run.MAX_LINE + 3)
    assert found[-1].endswith("last")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "ended with status 0"),
        (2, "ended with status 2"),
        (-9, "was ended by SIGKILL"),
        (-63, "was ended by signal 63"),
    ],
)
def test_a_status_is_put_into_words(number: int, words: str) -> None:
    assert describe(number) == words


def children() -> set[str]:
    """The processes that this one has started and that still are."""
    found: set[str] = set()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        found.update((task / "children").read_text().split())
    return found
