"""Keeps aioice on loopback, which it leaves out of its candidates otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aioice.ice

_FUNCTION = "get_host_addresses"
_original = aioice.ice.get_host_addresses
_depth = 0


def _loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    return ["127.0.0.1"]


@contextmanager
def loopback_only() -> Iterator[None]:
    """Candidates gathered inside are of 127.0.0.1 alone; blocks may overlap."""
    global _depth
    _depth += 1
    setattr(aioice.ice, _FUNCTION, _loopback)
    try:
        yield
    finally:
        _depth -= 1
        if _depth == 0:
            setattr(aioice.ice, _FUNCTION, _original)
