"""Streams at other servers: where they are, and what may be shown of that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from live777py.core.lineage import Path
from live777py.errors import InvalidRemote
from live777py.notation import parse_remote

#: Characters of a value in a query that may be a secret; shorter ones stand in any text.
_SHORTEST_SECRET = 6


@dataclass(frozen=True, slots=True)
class Remote:
    """A WHIP or WHEP endpoint of another server.

    Attributes:
        url: to be asked, by http or https.
        token: the right to use it, without "Bearer"; "" for none.
        shown: the URL without what may be secret in it.
        via: tells another node where the media comes from, or to whom it goes, as
            `lineage.encode` writes it; other servers pass over it.
        may_wait: whether it may let us wait where nobody publishes, or is to say so.
    """

    url: str = field(repr=False)
    token: str = field(default="", repr=False)
    shown: str = ""
    via: str = ""
    may_wait: bool = True

    @classmethod
    def parse(cls, text: str, token: str = "") -> Remote:
        """Read what somebody has written.

        Args:
            text: a URL; `whep://token@host/path` is one too.
            token: with or without "Bearer "; goes before the one in the URL.

        Raises:
            InvalidRemote: it cannot be used; the message does not quote it.
        """
        try:
            return cls(*parse_remote(text, token))
        except ValueError as error:
            raise InvalidRemote(str(error)) from None


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that another server has made for us.

    Attributes:
        url: of the session, to be shown; "" where the server does not say.
        path: of its stream, () where it is no node.
        warnings: what it does not take or send although it was to, and why; sentences.
    """

    url: str
    path: Path = ()
    warnings: tuple[str, ...] = ()


def shown(url: str) -> str:
    """A URL without user, query and fragment, in which servers have secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit(
        (parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")
    )


def secrets_in(url: str) -> set[str]:
    """What may be secret in the query of a URL: all of it, and each of its values."""
    try:
        query = urlsplit(url).query
        values = [value for _, value in parse_qsl(query)]
    except ValueError:
        return set()
    return {text for text in (query, *values) if len(text) >= _SHORTEST_SECRET}


def hidden(text: str, secrets: Iterable[str]) -> str:
    """A text of another server's, which may repeat what it was asked with, without that."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
