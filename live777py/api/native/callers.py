"""Who calls: the grant that was found for a request, and the verbs that come with it."""

from __future__ import annotations

from aiohttp import web

from live777py.api.auth import GRANT
from live777py.api.forwarded import client_address
from live777py.core.access import Admission, Caller, Client
from live777py.core.live import Live

LIVE = web.AppKey("live", Live)
#: Asked before sessions begin; empty where nobody has a say.
ADMISSION = web.AppKey("admission", tuple[Admission, ...])

#: Of a User-Agent, which clients may make as long as they like.
MAX_USER_AGENT = 200


def caller(request: web.Request) -> Caller:
    """The verbs of `Live` for whoever sent this request."""
    voices = request.app[ADMISSION]
    user_agent = request.headers.get("User-Agent", "")[:MAX_USER_AGENT]
    return Caller(
        live=request.app[LIVE],
        grant=request[GRANT],
        client=Client(client_address(request), user_agent),
        admission=voices[0] if voices else None,
    )
