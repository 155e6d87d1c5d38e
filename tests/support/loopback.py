"""Keeps aioice on loopback, which it leaves out of its candidates otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import aioice.ice

_FUNCTION = "get_host_addresses"
_original = aioice.ice.get_host_addresses
_depth = 0
_host: ContextVar[str] = ContextVar("host", default="127.0.0.1")


def _loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    return [_host.get()]


@contextmanager
def loopback_only(host: str | None = None) -> Iterator[None]:
    """Candidates gathered inside are of one loopback address alone.

    Blocks of several tasks may overlap.

    Args:
        host: the address; None for that of the block around this one, or 127.0.0.1.
    """
    global _depth
    _depth += 1
    token = _host.set(_host.get() if host is None else host)
    setattr(aioice.ice, _FUNCTION, _loopback)
    try:
        yield
    finally:
        _host.reset(token)
        _depth -= 1
        if _depth == 0:
            setattr(aioice.ice, _FUNCTION, _original)
