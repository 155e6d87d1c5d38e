from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

from live777py.fleet.leash import leashed

SLEEPS = [
    sys.executable,
    "-c",
    "import time; print('here', flush=True); time.sleep(60)",
]

#: Starts a command, passes on that it has begun, and waits to be killed.
PARENT = """\
import subprocess, sys
from live777py.fleet.leash import leashed
with subprocess.Popen(leashed(sys.argv[1:]), stdout=subprocess.PIPE) as child:
    print(child.pid, child.stdout.readline(), flush=True)
    child.wait()
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's kernel")


def test_the_process_is_the_commands_own() -> None:
    words = [sys.executable, "-c", "import os, sys; print(os.getpid(), *sys.argv[1:])"]
    with subprocess.Popen(leashed([*words, "a b", "c"]), stdout=subprocess.PIPE) as one:
        assert one.stdout is not None
        assert one.stdout.read().decode().split() == [str(one.pid), "a", "b", "c"]


@linux
def test_it_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *SLEEPS], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[0])
        watched = os.pidfd_open(pid)
        parent.kill()
    # The descriptor of a process can be read from once that has ended.
    try:
        ended, _, _ = select.select([watched], [], [], 20)
    finally:
        os.close(watched)
    assert ended


@linux
def test_it_does_not_begin_when_its_parent_has_gone_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Another one than whoever starts it here.
    monkeypatch.setattr(os, "getpid", lambda: 1)
    done = subprocess.run(leashed(SLEEPS), capture_output=True, check=True, timeout=20)
    assert done.stdout == b""


def test_elsewhere_it_is_the_command_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert leashed(["a", "b"]) == ["a", "b"]
