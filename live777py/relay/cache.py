"""Where compiled code is kept: a directory of its own for every state of the source.

numba invalidates a cached function when its own file changes, not when a function that it
calls does. So the directory's name is a hash of everything that compiled code is made from.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
#: Sources outside `relay/` whose constants are frozen into compiled code.
_CONSTANTS = ("protocol/codecs.py", "protocol/extensions.py")
#: Variables that change what numba generates without changing its cache's keys.
_VARIABLES = ("NUMBA_BOUNDSCHECK", "NUMBA_OPT", "NUMBA_DEBUGINFO")


def fingerprint(environ: Mapping[str, str]) -> str:
    """A short hash of the sources, the compiler and the variables that steer it."""
    digest = hashlib.sha256()
    sources = sorted(_PACKAGE.glob("*.py"))
    sources += [_PACKAGE.parent / name for name in _CONSTANTS]
    for source in sources:
        digest.update(source.name.encode() + b"\0")
        digest.update(source.read_bytes())
    for package in ("numba", "numpy"):
        digest.update(metadata.version(package).encode() + b"\0")
    digest.update(sys.version.encode())
    for name in _VARIABLES:
        digest.update(f"{name}={environ.get(name, '')}\0".encode())
    return digest.hexdigest()[:16]


def directory(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The directory for compiled code, created; None where none can be written.

    `LIVE777_CACHE` names the parent directory; without it that is `live777py` in the user's
    cache directory (`XDG_CACHE_HOME`, else `~/.cache`).
    """
    if chosen := environ.get("LIVE777_CACHE"):
        parent = Path(chosen)
    elif base := environ.get("XDG_CACHE_HOME"):
        parent = Path(base) / "live777py"
    elif home := environ.get("HOME"):
        parent = Path(home) / ".cache" / "live777py"
    else:
        return None
    path = parent.absolute() / fingerprint(environ)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path, os.W_OK) else None
