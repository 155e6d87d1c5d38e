"""If-Match: for which ICE credentials a PATCH is meant (RFC 9725 section 4.3.1)."""

from __future__ import annotations

import re

from aiohttp import web

from live777py.core.model import IfMatch
from live777py.errors import InvalidFragment

#: An entity tag (RFC 9110 section 8.8.3). Some servers and clients leave the quotes out.
_TAG = re.compile(r'\s*(W/)?(?:"([\x21\x23-\x7e\x80-\xff]*)"|([^\s",]+))\s*(?:,|$)')

#: Characters of such a header that are read.
MAX_CHARACTERS = 4096


def if_match(request: web.Request) -> IfMatch | None:
    """The condition of a request, None where it has none.

    An ETag in a *request* counts as one: a well-known client sends it so. RFC 9725's example
    prints "*" in quotes, RFC 9110 wants it bare: both mean any. Weak tags match nothing (RFC
    9110 section 8.8.3.2).

    Raises:
        InvalidFragment: it is no list of entity tags.
    """
    values = request.headers.getall("If-Match", []) or request.headers.getall(
        "ETag", []
    )
    if not values:
        return None
    text = ",".join(values)
    if len(text) > MAX_CHARACTERS:
        raise InvalidFragment(f"If-Match has more than {MAX_CHARACTERS} characters")
    versions = set()
    position = 0
    while position < len(text):
        match = _TAG.match(text, position)
        if match is None:
            raise InvalidFragment('If-Match is no list of entity tags such as "4f2c"')
        position = match.end()
        tag = match[3] if match[2] is None else match[2]
        if match[1] is None:
            versions.add(tag)
    return IfMatch(frozenset(versions), is_any="*" in versions)
