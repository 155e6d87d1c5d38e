from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import live777py

#: Lowers the soft limit, says what it is after the statement in the middle.
LIMITED = """
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
{statement}
print(resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
@pytest.mark.parametrize(
    "statement",
    [
        "from live777py.descriptors import allow_many; allow_many(); allow_many()",
        # A server; one that cannot listen ends at once.
        "from live777py import cli; assert cli.main([]) == cli.FAILED",
    ],
)
def test_as_many_files_may_be_open_as_the_system_lets_us(
    statement: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(statement=statement)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(live777py.__file__).parents[1]),
            "LIVE777_HTTP__LISTEN": "192.0.2.1:1",
            "NUMBA_DISABLE_JIT": "1",
        },
    )
    assert done.stdout == "True\n", done.stderr
