"""live777's HTTP API: WHIP and WHEP endpoints, sessions, streams."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from aiohttp import web

from live777py.api import errors
from live777py.api.body import read_sdp
from live777py.api.native import pages, shapes
from live777py.api.native.names import name_in_path, session_path
from live777py.config import IceServer
from live777py.core.live import Live
from live777py.core.model import Answered
from live777py.errors import LiveError, UnsupportedCodec, UnusableOffer

LIVE = web.AppKey("live", Live)
LINKS = web.AppKey("links", tuple[str, ...])

#: WHIP refuses whole offers (RFC 9725 section 4.4.3), WHEP says that nothing acceptable can be
#: sent (draft-ietf-wish-whep-03 section 4.3.2).
WHIP_STATUSES: dict[type[LiveError], HTTPStatus] = {
    UnsupportedCodec: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnusableOffer: HTTPStatus.UNPROCESSABLE_ENTITY,
}
WHEP_STATUSES: dict[type[LiveError], HTTPStatus] = {
    UnsupportedCodec: HTTPStatus.NOT_ACCEPTABLE,
    UnusableOffer: HTTPStatus.UNPROCESSABLE_ENTITY,
}


def create_app(
    live: Live, ice_servers: Sequence[IceServer], site: pages.Site
) -> web.Application:
    """The application: the API and the pages.

    Args:
        live: what the handlers call.
        ice_servers: handed to WHIP and WHEP clients in Link headers.
        site: the pages.
    """
    app = web.Application(middlewares=[errors.error_middleware(render, overrides)])
    app[LIVE] = live
    app[LINKS] = tuple(link for server in ice_servers for link in ice_links(server))
    app.router.add_post("/whip/{stream}", publish)
    app.router.add_post("/whep/{stream}", subscribe)
    app.router.add_delete("/session/{stream}/{session}", end_session)
    app.router.add_get("/api/streams", list_streams)
    app.router.add_get("/api/streams/", list_streams)
    pages.add_routes(app, site)
    return app


def render(_request: web.Request, problem: errors.Problem) -> web.Response:
    """live777 answers errors in plain text: the message and nothing else."""
    return web.Response(
        status=problem.status, text=problem.message, headers=dict(problem.headers)
    )


def overrides(request: web.Request) -> Mapping[type[LiveError], HTTPStatus]:
    """The statuses in which WHIP and WHEP differ from the common table."""
    return WHEP_STATUSES if request.path.startswith("/whep/") else WHIP_STATUSES


def ice_links(server: IceServer) -> list[str]:
    """The Link headers of an ICE server, one a URL (RFC 9725 section 4.6).

    One header each, and the URL bare: OBS reads no other form.
    """
    parameters = '; rel="ice-server"'
    if server.username:
        parameters += f"; username={quoted(server.username)}"
        parameters += f"; credential={quoted(server.credential.get_secret_value())}"
        parameters += '; credential-type="password"'
    return [f"<{url}>{parameters}" for url in server.urls]


def quoted(text: str) -> str:
    """A quoted-string (RFC 9110 section 5.6.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def publish(request: web.Request) -> web.Response:
    """`POST /whip/{stream}`: an SDP offer to publish (RFC 9725 section 4.2)."""
    name = name_in_path(request)
    offer = await read_sdp(request)
    return created(request, name, await request.app[LIVE].publish(name, offer))


async def subscribe(request: web.Request) -> web.Response:
    """`POST /whep/{stream}`: an SDP offer to watch (WHEP section 4.3)."""
    name = name_in_path(request)
    offer = await read_sdp(request)
    return created(request, name, await request.app[LIVE].subscribe(name, offer))


def created(request: web.Request, name: str, answered: Answered) -> web.Response:
    """201 with the answer and the URL of the new session."""
    response = web.Response(
        status=HTTPStatus.CREATED,
        # Bytes, so that the Content-Type has no charset: some clients compare it whole.
        body=answered.sdp.encode(),
        content_type="application/sdp",
        headers={
            "Location": session_path(name, answered.session),
            "ETag": f'"{answered.version}"',
        },
    )
    for link in request.app[LINKS]:
        response.headers.add("Link", link)
    return response


async def end_session(request: web.Request) -> web.Response:
    """`DELETE /session/{stream}/{session}`: the end of a WHIP or WHEP session."""
    session = request.match_info["session"]
    await request.app[LIVE].end_session(name_in_path(request), session)
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def list_streams(request: web.Request) -> web.Response:
    """`GET /api/streams/`: all streams, sorted by name."""
    streams = [shapes.stream(info) for info in request.app[LIVE].streams()]
    return web.Response(text=json.dumps(streams), content_type="application/json")
