"""What a conformance run is asked to do: where, and under which stream names; pure."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from live777py.conformance.model import Side
from live777py.notation import with_suffix


@dataclass(frozen=True, slots=True)
class Options:
    """One run.

    Attributes:
        whip: where to publish; None to look at WHEP only.
        whep: where to watch; None to look at WHIP only.
        token: bearer token for both.
        is_fixed: whether the URLs are used as they are, one stream for everything.
        bound: seconds after which no check begins or goes on; deleting sessions comes after it.
    """

    whip: str | None = None
    whep: str | None = None
    token: str | None = None
    is_fixed: bool = False
    bound: float = 100.0

    def __repr__(self) -> str:
        return f"Options(whip={self.whip!r}, whep={self.whep!r})"


@dataclass(frozen=True, slots=True)
class Target:
    """One stream at the server: where to publish, where to watch, and with which token."""

    whip: str | None
    whep: str | None
    token: str | None

    def url(self, side: Side) -> str:
        """The endpoint of a side that was asked for."""
        url = self.whip if side == "whip" else self.whep
        if url is None:
            raise ValueError(f"no {side} URL was given")
        return url

    def __repr__(self) -> str:
        return f"Target(whip={self.whip!r}, whep={self.whep!r})"


def targets(options: Options, suffix: str | None = None) -> Iterator[Target]:
    """Streams to use, without end; all the same one if the URLs are fixed.

    `{n}` in a URL or in the token stands for what makes a name new. A URL without it gets "-"
    and that appended to its path, unless some other part of the pair carries a `{n}`.
    """
    if options.is_fixed:
        yield from itertools.repeat(Target(options.whip, options.whep, options.token))
    word = secrets.token_hex(3) if suffix is None else suffix
    has_place = has_placeholder(options)
    for number in itertools.count(1):
        name = f"{word}{number}"
        yield Target(
            _url(options.whip, name, has_place),
            # Nobody publishes under new names when only watching was asked for.
            _url(options.whep, name, has_place or options.whip is None),
            None if options.token is None else options.token.replace("{n}", name),
        )


def has_placeholder(options: Options) -> bool:
    """Whether the URLs or the token say themselves where a stream's name is."""
    return any(
        text is not None and "{n}" in text
        for text in (options.whip, options.whep, options.token)
    )


def _url(template: str | None, name: str, is_given: bool) -> str | None:
    if template is None or is_given:
        return None if template is None else template.replace("{n}", name)
    return with_suffix(template, name)
