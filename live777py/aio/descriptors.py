"""How many sockets and files the process may have open at once."""

from __future__ import annotations

import contextlib
import sys


def raise_limit() -> None:
    """Raise it as far as the system lets us: each peer that we open has a socket of its own.

    The usual limit is 1,024 for the sake of programs that use select().
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
