"""Stream names in URLs: one path segment, percent-encoded UTF-8."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

from aiohttp import web

from live777py.errors import InvalidName


def name_in_path(request: web.Request, segment: int = 2) -> str:
    """The stream name of a request path such as `/whip/{stream}`: by default its second segment.

    It is taken from the raw path, since a decoded one no longer tells `%2F` from `/` nor
    invalid UTF-8 from a literal percent sign.

    Raises:
        InvalidName: it is not percent-encoded UTF-8.
    """
    text = request.rel_url.raw_path.split("/")[segment]
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise InvalidName("the stream name is not percent-encoded UTF-8") from None


def session_path(stream: str, session: str) -> str:
    """The path of a session's URL."""
    return f"/session/{quote(stream, safe='')}/{session}"
