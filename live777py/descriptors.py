"""How many files and sockets this process may have open."""

from __future__ import annotations

import contextlib
import sys


def allow_many() -> None:
    """Raise the soft limit, usually 1,024, to the hard one, where there is such a thing.

    A cascade takes five descriptors at most times, and a viewer of the load test one.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
