"""Streams at other servers: where they are, and what may be shown of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

from live777py.core.lineage import Path
from live777py.errors import InvalidRemote

#: What a URL of each scheme is asked by; live777 writes WHEP and WHIP URLs with the first two.
SCHEMES = {
    "whep": "http",
    "whip": "http",
    "wheps": "https",
    "whips": "https",
    "http": "http",
    "https": "https",
}

MAX_URL = 2048
MAX_TOKEN = 8192

_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Remote:
    """A WHIP or WHEP endpoint of another server.

    Attributes:
        url: to be asked, by http or https.
        token: the right to use it, without "Bearer"; "" for none.
        shown: the URL without what may be secret in it.
        via: tells another node where the media comes from, or to whom it goes, as
            `lineage.encode` writes it; other servers pass over it.
    """

    url: str = field(repr=False)
    token: str = field(default="", repr=False)
    shown: str = ""
    via: str = ""

    @classmethod
    def parse(cls, text: str, token: str = "") -> Remote:
        """Read what somebody has written.

        Args:
            text: a URL; `whep://token@host/path` is one too.
            token: with or without "Bearer "; goes before the one in the URL.

        Raises:
            InvalidRemote: it cannot be used; the message does not quote it.
        """
        if len(text) > MAX_URL or len(token) > MAX_TOKEN:
            raise InvalidRemote("the URL or the token is too long")
        try:
            parts = urlsplit(text.strip())
            host, port = parts.hostname, parts.port
        except ValueError:
            raise InvalidRemote("the URL is malformed") from None
        scheme = SCHEMES.get(parts.scheme)
        if scheme is None or not host:
            raise InvalidRemote(
                f"the URL has to begin with {'://, '.join(SCHEMES)}:// and have a host"
            )
        if parts.password is not None:
            raise InvalidRemote("the URL has a password: put a token before the @")
        name = f"[{host}]" if ":" in host else host
        netloc = name if port is None else f"{name}:{port}"
        found = _bare(token) or _bare(unquote(parts.username or ""))
        if not found.isascii() or not found.isprintable():
            raise InvalidRemote("the token has characters that no header may have")
        return cls(
            url=urlunsplit((scheme, netloc, parts.path, parts.query, "")),
            token=found,
            shown=urlunsplit((scheme, netloc, parts.path, "", "")),
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that another server has made for us.

    Attributes:
        url: of the session, "" where the server does not say.
        path: of its stream, () where it is no node.
    """

    url: str
    path: Path = ()


def shown(url: str) -> str:
    """A URL without user, query and fragment, in which servers have secrets."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit(
        (parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")
    )


def _bare(token: str) -> str:
    """A token without the name of its scheme."""
    token = token.strip()
    if token.lower().startswith(_BEARER):
        return token[len(_BEARER) :].strip()
    return token
