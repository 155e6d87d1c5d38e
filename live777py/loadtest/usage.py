"""CPU and memory of a process, from Linux's /proc; None where that is missing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far.

    Attributes:
        cpu_seconds: of all its threads, in user and kernel mode.
        memory: resident bytes now.
    """

    cpu_seconds: float
    memory: int


def usage(pid: int) -> Usage | None:
    """What a process has used; None when it is gone, not ours to see, or /proc is missing."""
    folder = Path("/proc") / str(pid)
    try:
        stat = (folder / "stat").read_text()
        pages = int((folder / "statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    # The name may contain spaces; after it come state (3) … utime (14), stime (15).
    fields = stat.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"))
