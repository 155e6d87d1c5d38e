"""WHIP and WHEP endpoints: where sessions begin."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from live777py.api.auth import GRANT
from live777py.api.body import SDP_TYPE, has_body, read_sdp
from live777py.api.native.callers import caller
from live777py.api.native.links import (
    LINKS,
    SERVER_SENT_EVENTS,
    add_links,
    extension_link,
)
from live777py.api.native.names import name_in_path, session_path
from live777py.api.native.watching import EVENT_NAMES
from live777py.core.access import Right
from live777py.core.model import Answered
from live777py.protocol.headers import NO_WAIT, SEEN, VIA, WAIT, read_seen
from live777py.protocol.sdpfrag import MEDIA_TYPE as FRAGMENT_TYPE


def add_routes(app: web.Application) -> None:
    """Serve both endpoints."""
    app.router.add_post("/whip/{stream}", publish)
    app.router.add_get("/whip/{stream}", describe)
    app.router.add_post("/whep/{stream}", subscribe)
    app.router.add_get("/whep/{stream}", describe)


async def publish(request: web.Request) -> web.Response:
    """`POST /whip/{stream}`: an SDP offer to publish (RFC 9725 section 4.2)."""
    name = name_in_path(request)
    offer = await read_sdp(request)
    answered = await caller(request).publish(name, offer, _via(request))
    return _session_response(request, name, answered, HTTPStatus.CREATED)


async def subscribe(request: web.Request) -> web.Response:
    """`POST /whep/{stream}`: an SDP offer to watch, or nothing to be offered the stream.

    Our offer comes with 406 (draft-ietf-wish-whep-03 section 4.3.2); it is to be answered by
    PATCH.
    """
    name = name_in_path(request)
    offer = await read_sdp(request) if await has_body(request) else None
    answered = await caller(request).subscribe(
        name,
        offer,
        _via(request),
        may_wait=request.headers.get(WAIT) != NO_WAIT,
        seen=read_seen(request.headers.get(SEEN, "")),
    )
    status = HTTPStatus.NOT_ACCEPTABLE if offer is None else HTTPStatus.CREATED
    response = _session_response(request, name, answered, status)
    events = extension_link(
        f"{session_path(name, answered.session)}/sse",
        SERVER_SENT_EVENTS,
        events=",".join(EVENT_NAMES),
    )
    add_links(response, [events])
    return response


async def describe(request: web.Request) -> web.Response:
    """`GET` and `HEAD`: no content, and what may be sent here.

    RFC 9725 section 4.1 wants 2xx without content, WHEP section 4.2 a 200 to HEAD with the media
    type of SDP; what HEAD says, GET says too.
    """
    name_in_path(request)
    return web.Response(content_type=SDP_TYPE, headers={"Accept-Post": SDP_TYPE})


def resource_headers(request: web.Request) -> Mapping[str, str]:
    """What an endpoint tells everybody by OPTIONS (RFC 9725 section 4.2)."""
    return {"Accept-Post": SDP_TYPE} if _is_endpoint(request) else {}


def option_links(request: web.Request) -> tuple[str, ...]:
    """What an endpoint tells those who may use it by OPTIONS (RFC 9725 section 4.6)."""
    if not _is_endpoint(request):
        return ()
    name = name_in_path(request)
    grant = request[GRANT]
    return request.app[LINKS] if any(grant.permits(r, name) for r in Right) else ()


def _is_endpoint(request: web.Request) -> bool:
    return request.path.startswith(("/whip/", "/whep/"))


def _via(request: web.Request) -> str:
    """What a node says with its cascade's offer; "" for everybody else."""
    return request.headers.get(VIA, "")


def _session_response(
    request: web.Request, name: str, answered: Answered, status: HTTPStatus
) -> web.Response:
    """A response with our SDP and the URL of the new session."""
    response = web.Response(
        status=status,
        # Bytes, so that the Content-Type has no charset: some clients compare it whole.
        body=answered.sdp.encode(),
        content_type=SDP_TYPE,
        headers={
            "Location": session_path(name, answered.session),
            "ETag": f'"{answered.version}"',
            # Only an offer of ours wants an answer.
            "Accept-Patch": FRAGMENT_TYPE
            if status is HTTPStatus.CREATED
            else f"{FRAGMENT_TYPE}, {SDP_TYPE}",
        },
    )
    if answered.via:
        response.headers[VIA] = answered.via
    links = request.app[LINKS]
    add_links(response, links)
    return response
