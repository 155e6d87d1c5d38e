"""Transport addresses as words, as the tables have them, and as text.

An IP address is two signed 64-bit words of an IPv6 address; IPv4 is IPv4-mapped.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import NamedTuple

from .seam import Path

_MAPPED = 0xFFFF << 32
_MASK64 = (1 << 64) - 1


class Words(NamedTuple):
    """A path for the thread; `port` has the scope above its 16 bits."""

    high: int
    low: int
    port: int
    local_high: int
    local_low: int


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


@lru_cache(maxsize=4096)
def address_to_words(text: str) -> tuple[int, int]:
    """An IP address as words; the unspecified address for an empty text.

    Raises:
        ValueError: the text is no IP address.
    """
    if not text:
        return 0, 0
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        if address.is_unspecified:
            return 0, 0
        return 0, _MAPPED | int(address)
    number = int(address)
    return _signed(number >> 64), _signed(number & _MASK64)


@lru_cache(maxsize=4096)
def words_to_address(high: int, low: int) -> str:
    """The text of an address; IPv4-mapped ones as dotted quads, unspecified as empty."""
    if high == 0 and low == 0:
        return ""
    if high == 0 and low >> 32 == 0xFFFF:
        return str(ipaddress.IPv4Address(low & 0xFFFFFFFF))
    return str(ipaddress.IPv6Address((high & _MASK64) << 64 | (low & _MASK64)))


def path_to_words(path: Path) -> Words:
    """A path for a command.

    Raises:
        ValueError: an address is none, or the port or scope is out of range.
    """
    if not 0 < path.port < 65536:
        raise ValueError(f"port {path.port} is out of range")
    if not 0 <= path.scope < 1 << 32:
        raise ValueError(f"scope {path.scope} is out of range")
    return Words(
        *address_to_words(path.host),
        path.port | path.scope << 16,
        *address_to_words(path.local),
    )


def path_from_words(
    high: int, low: int, port: int, scope: int, local_high: int, local_low: int
) -> Path:
    """The path that a control packet came by."""
    host = words_to_address(high, low)
    return Path(host, port, words_to_address(local_high, local_low), scope)


def is_ipv4(words: Words) -> bool:
    """Whether the remote address is an IPv4 one."""
    return words.high == 0 and words.low >> 32 == 0xFFFF
