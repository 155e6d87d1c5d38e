from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from live777py.relay.cfuncs import COMPILED, compiled, inlined, int64

pytestmark = pytest.mark.skipif(not COMPILED, reason="needs the compiler")

CHAIN = """
from live777py.relay.cfuncs import compiled, errno, inlined, int64, read

@compiled
def lowest(a):
    read(-1, 0, 0)
    return a + errno()

@inlined
def middle(a):
    return 2 * lowest(a)

@compiled
def highest(a):
    return middle(a) + lowest(1)

print(highest(1), highest._whole.stats, len(lowest.signatures))
"""


@inlined
def _double(a: int) -> int:
    return 2 * a


@compiled
def _checked(a: int) -> int:
    if a < 0:
        raise ValueError("below zero")
    return _double(a)


@compiled
def _sum(a: int, b: int) -> int:
    """Two of them."""
    return int64(_checked(a) + _checked(b))


def test_python_calls_a_function_with_all_that_it_calls() -> None:
    assert (_sum(1, 2), _checked(3), _double(4)) == (6, 6, 8)


def test_errors_of_what_is_called_reach_python() -> None:
    with pytest.raises(ValueError, match="below zero"):
        _sum(1, -1)


def test_a_function_keeps_its_name_and_what_it_says_of_itself() -> None:
    assert (_sum.__name__, _sum.__doc__) == ("_sum", "Two of them.")


def test_only_what_python_calls_is_machine_code() -> None:
    @compiled
    def below(a: int) -> int:
        return a + 1

    @compiled
    def above(a: int) -> int:
        return below(a)

    assert above(1) == 2
    called, caller = cast("Any", below), cast("Any", above)
    assert (len(called._whole.signatures), len(called._part.signatures)) == (0, 1)
    assert (len(caller._whole.signatures), len(caller._part.signatures)) == (1, 0)


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    script = tmp_path / "chain.py"
    script.write_text(CHAIN)
    first, second = _run(script, tmp_path), _run(script, tmp_path)
    assert first.startswith("30 ")
    assert second.startswith("30 ")
    assert "cache_hits=Counter()" in first
    assert first.endswith(" 1")
    assert "cache_misses=Counter()" in second
    assert second.endswith(" 0")


def _run(script: Path, cache: Path) -> str:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "LIVE777_CACHE": str(cache), "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()
