"""Has nodes end with whoever started them, also when that is killed and can stop nobody."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

#: Runs in the new process before it becomes a node: asks for SIGTERM (15) when its parent ends
#: (PR_SET_PDEATHSIG, 1; execve keeps it), unless that has happened already.
_SCRIPT = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def leashed(command: Sequence[str]) -> list[str]:
    """A command that becomes the given one, and ends with this process; on Linux only.

    It is not done in a function of ours between fork and exec: in a process that has threads
    these may hold locks that such a function needs.
    """
    if sys.platform != "linux":
        return [*command]
    # Neither site-packages nor variables matter to this script.
    return [sys.executable, "-I", "-S", "-c", _SCRIPT, str(os.getpid()), *command]
