"""The command: what it prints and how it exits."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

import pytest

import live777py
from live777py import cli
from live777py.config import Config
from live777py.errors import ConfigError

if TYPE_CHECKING:
    from live777py.server import Server


def run(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the real command; `python -m live777py` is the same as `live777py`."""
    root = Path(live777py.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-m", "live777py", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(root)} | environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


class FakeServer(ModuleType):
    """Stands where live777py.server is imported, so that nothing is opened."""

    def __init__(self, outcome: int | BaseException) -> None:
        super().__init__("live777py.server")
        self.outcome = outcome
        self.configs: list[Config] = []
        self.http_urls: tuple[str, ...] = (
            "http://127.0.0.1:7777",
            "http://192.0.2.1:7777",
        )

    async def run(self, config: Config, *, ready: Callable[[Server], None]) -> int:
        self.configs.append(config)
        ready(cast("Server", self))
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def serve(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[int | BaseException], FakeServer]:
    def install(outcome: int | BaseException) -> FakeServer:
        server = FakeServer(outcome)
        monkeypatch.setitem(sys.modules, "live777py.server", server)
        monkeypatch.setattr(live777py, "server", server, raising=False)
        monkeypatch.setattr("live777py.log.setup", lambda level, format: None)
        monkeypatch.chdir(tmp_path)
        return server

    return install


def test_the_version_is_printed(tmp_path: Path) -> None:
    done = run("--version", cwd=tmp_path)
    assert done.stdout == f"live777py {live777py.__version__}\n"
    assert done.returncode == 0


def test_check_prints_ok(tmp_path: Path) -> None:
    done = run("check", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_check_reads_the_file_of_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "live777.toml").write_text("[http]\nport = 1\n")
    done = run("check", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "live777.toml: http.port: unknown key\n"


def test_check_reads_the_environment(tmp_path: Path) -> None:
    done = run("check", cwd=tmp_path, LIVE777_HTTP__LISTEN="nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("LIVE777_HTTP__LISTEN: ")


@pytest.mark.parametrize(
    "arguments", [("-c", "my.toml", "check"), ("check", "-c", "my.toml")]
)
def test_a_file_that_was_named_must_exist(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "my.toml: cannot be read: No such file or directory\n"


def test_files_that_are_named_are_checked(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{}")
    (tmp_path / "live777.toml").write_text(
        '[http]\ntls_cert = "a.pem"\ntls_key = "b.pem"\n[auth]\njwks_file = "keys.json"\n'
    )
    done = run("check", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    cert, keys = done.stderr.splitlines()
    assert cert == "http.tls_cert: a.pem cannot be read: No such file or directory"
    assert keys.startswith('auth.jwks_file: keys.json: it has no list "keys"')


@pytest.mark.parametrize("command", ["check", "serve"])
def test_names_of_streams_are_checked(tmp_path: Path, command: str) -> None:
    (tmp_path / "live777.toml").write_text('[stream.""]\n[stream."a\\u0007"]\n')
    done = run(command, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        'live777.toml: stream."": the stream name is empty: put one behind the last slash\n'
        'live777.toml: stream."a\\u0007": the stream name has control characters: leave '
        "them out\n"
    )


def test_serving_with_a_wrong_configuration_is_refused(tmp_path: Path) -> None:
    done = run(cwd=tmp_path, LIVE777_WEBRTC__THREADS="many")
    assert done.returncode == 2
    assert done.stderr == "LIVE777_WEBRTC__THREADS: must be a whole number\n"


def test_an_unknown_command_is_refused(tmp_path: Path) -> None:
    done = run("sevre", cwd=tmp_path)
    assert done.returncode == 2
    assert "invalid choice" in done.stderr


def test_the_load_test_is_a_command(tmp_path: Path) -> None:
    done = run("loadtest", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("live777py loadtest: say where: --whip URL")


def test_an_address_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run(
            cwd=tmp_path,
            LIVE777_HTTP__LISTEN=address,
            LIVE777_WEBRTC__LISTEN="127.0.0.1:0",
        )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert address in line
    assert "in use" in line


@pytest.mark.parametrize("arguments", [[], ["serve"], ["-v"], ["serve", "-v"]])
def test_serving_says_where_to_publish_and_play(
    serve: Callable[[int | BaseException], FakeServer],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    server = serve(0)
    assert cli.main(arguments) == 0
    assert server.configs == [Config()]
    printed = capsys.readouterr().out
    for place in (
        "http://127.0.0.1:7777/\n",
        "http://127.0.0.1:7777/tools/publish.html?id=cam\n",
        "http://127.0.0.1:7777/tools/player.html?id=cam\n",
        "http://127.0.0.1:7777/whip/cam ",
        "http://127.0.0.1:7777/whep/cam ",
        "also at  http://192.0.2.1:7777\n",
    ):
        assert place in printed


def test_a_server_with_one_address_names_no_other(
    serve: Callable[[int | BaseException], FakeServer],
    capsys: pytest.CaptureFixture[str],
) -> None:
    serve(0).http_urls = ("http://127.0.0.1:7777",)
    assert cli.main([]) == 0
    assert "also at" not in capsys.readouterr().out


def test_the_file_that_is_named_is_served(
    serve: Callable[[int | BaseException], FakeServer], tmp_path: Path
) -> None:
    server = serve(0)
    file = tmp_path / "my.toml"
    file.write_text('[log]\nformat = "json"\n')
    assert cli.main(["-c", str(file)]) == 0
    assert server.configs[0].log.format == "json"


@pytest.mark.parametrize(
    ("outcome", "status", "line"),
    [
        (1, 1, ""),
        (OSError(98, "cannot listen on 127.0.0.1:1"), 1, "cannot listen on"),
        (OSError("no number"), 1, "live777py: no number\n"),
        (
            ConfigError("webrtc.addresses.0: not ours"),
            2,
            "webrtc.addresses.0: not ours\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_the_exit_status_says_what_happened(
    serve: Callable[[int | BaseException], FakeServer],
    capsys: pytest.CaptureFixture[str],
    outcome: int | BaseException,
    status: int,
    line: str,
) -> None:
    serve(outcome)
    assert cli.main([]) == status
    assert line in capsys.readouterr().err
