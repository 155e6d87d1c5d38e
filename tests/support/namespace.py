"""Tests in a network of their own: interfaces and addresses that come and go harm nobody.

A test that is marked runs in a pytest of its own, in namespaces that end with it (unshare(1)):
there it is root over a network that has a loopback interface, which is down, and nothing else.
"""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_UNSHARE = ("unshare", "--user", "--map-root-user", "--net")
_INSIDE = "TEST_IN_A_NAMESPACE"

Test = Callable[[], Coroutine[object, object, None]]


def in_a_namespace(test: Test) -> Callable[..., object]:
    """Run a test, a coroutine without fixtures, in a network of its own."""
    if _INSIDE in os.environ:
        return test

    def outside(request: pytest.FixtureRequest) -> None:
        if not _can():
            pytest.skip("this system makes no network namespaces for its users")
        node = request.node
        done = subprocess.run(
            [
                *(*_UNSHARE, sys.executable, "-X", "dev", "-m", "pytest", "-q"),
                *("--timeout", str(_timeout(node)), node.nodeid),
            ],
            cwd=ROOT,
            env=os.environ | {_INSIDE: "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    outside.__name__ = test.__name__
    outside.__doc__ = test.__doc__
    return outside


async def ip(*words: str) -> None:
    """Run ip(8), such as `ip("link", "set", "lo", "up")`."""
    process = await asyncio.create_subprocess_exec(_ip(), *words)
    assert await process.wait() == 0, words


def _timeout(node: pytest.Item) -> float:
    mark = node.get_closest_marker("timeout")
    return float(mark.args[0]) if mark else 30.0


@functools.cache
def _ip() -> str:
    # Not every user's PATH has it.
    return shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or "ip"


@functools.cache
def _can() -> bool:
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run(
        [*_UNSHARE, _ip(), "link", "set", "lo", "up"], capture_output=True, check=False
    )
    return done.returncode == 0
