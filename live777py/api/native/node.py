"""The node itself: its rules, its version, whether it is well."""

from __future__ import annotations

import platform
from http import HTTPStatus

from aiohttp import web

from live777py import __version__
from live777py.api.native.callers import LIVE, caller
from live777py.config import Strategy
from live777py.core.access import Right

STRATEGY = web.AppKey("strategy", Strategy)

#: The keys of live777; ours beside them follow.
STRATEGY_KEYS = (
    "each_stream_max_sub",
    "cascade_push_close_sub",
    "auto_create_whip",
    "auto_create_whep",
    "auto_delete_whip",
    "auto_delete_whep",
    "takeover",
    "idle_whep",
)

#: Asked by what watches over processes, which has no token.
HEALTH_PATHS = ("/healthz", "/readyz")

#: What this node can do that others may not.
FEATURES = ("webui", "sse", "metrics", "webhook", "whep-server-offer")


def add_routes(app: web.Application) -> None:
    """Serve what is asked of the node."""
    for path in ("/api/strategy", "/api/strategy/"):
        app.router.add_get(path, strategy)
    app.router.add_get("/api/info", info)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)


async def strategy(request: web.Request) -> web.Response:
    """`GET /api/strategy/`: the rules for streams that have none of their own."""
    caller(request).grant.require(Right.MANAGE)
    values = request.app[STRATEGY].model_dump()
    return web.json_response({key: values[key] for key in STRATEGY_KEYS})


async def info(_request: web.Request) -> web.Response:
    """`GET /api/info`: version and features, as live777 has them."""
    return web.json_response(
        {
            "version": __version__,
            "gitHash": "",
            "buildTime": "",
            "features": list(FEATURES),
            "python": platform.python_version(),
        }
    )


async def healthz(_request: web.Request) -> web.Response:
    """`GET /healthz`: 200 as long as this process can answer."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """`GET /readyz`: 200 while new sessions are taken, 503 when the node is about to stop."""
    if request.app[LIVE].is_closing:
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text="stopping\n")
    return web.Response(text="ready\n")
