"""Cascades: streams pulled from other servers, and pushed to them."""

from __future__ import annotations

import json
from http import HTTPStatus
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from live777py.api.body import read_json
from live777py.api.native import shapes
from live777py.api.native.callers import caller
from live777py.api.native.names import name_in_path


class Wanted(BaseModel):
    """The body of `POST /api/cascade/{stream}`; live777 passes over other keys, and so do we."""

    model_config = ConfigDict(strict=True)

    token: str | None = None
    sourceUrl: str | None = None  # noqa: N815 - live777's
    targetUrl: str | None = None  # noqa: N815


def add_routes(app: web.Application) -> None:
    """Serve cascades."""
    for path in ("/api/cascade", "/api/cascade/"):
        app.router.add_get(path, list_all)
    app.router.add_post("/api/cascade/{stream}", create)
    app.router.add_get("/api/cascade/{stream}", list_of_stream)
    path = "/api/cascade/{stream}/{cascade}"
    app.router.add_get(path, show)
    app.router.add_delete(path, delete)


async def create(request: web.Request) -> web.Response:
    """`POST /api/cascade/{stream}`: pull it from `sourceUrl`, or push it to `targetUrl`.

    The body of the answer is empty, as live777's; `Location` is the cascade's URL.
    """
    name = _name(request)
    wanted = await read_json(request, Wanted)
    made = await caller(request).cascade(
        name,
        source=wanted.sourceUrl or "",
        target=wanted.targetUrl or "",
        token=wanted.token or "",
    )
    location = f"/api/cascade/{quote(name, safe='')}/{made.id}"
    return web.Response(headers={"Location": location})


async def list_all(request: web.Request) -> web.Response:
    """`GET /api/cascade/`: all cascades of the node, the oldest first."""
    return _json([shapes.cascade_info(c) for c in caller(request).cascades()])


async def list_of_stream(request: web.Request) -> web.Response:
    """`GET /api/cascade/{stream}`: the cascades of one stream."""
    found = caller(request).cascades(_name(request))
    return _json([shapes.cascade_info(c) for c in found])


async def show(request: web.Request) -> web.Response:
    """`GET /api/cascade/{stream}/{cascade}`: one cascade."""
    cascade = request.match_info["cascade"]
    found = caller(request).cascade_info(_name(request), cascade)
    return _json(shapes.cascade_info(found))


async def delete(request: web.Request) -> web.Response:
    """`DELETE /api/cascade/{stream}/{cascade}`: the end of it, at the other server too."""
    cascade = request.match_info["cascade"]
    await caller(request).end_cascade(_name(request), cascade)
    return web.Response(status=HTTPStatus.NO_CONTENT)


def _name(request: web.Request) -> str:
    return name_in_path(request, segment=3)


def _json(value: object) -> web.Response:
    return web.Response(text=json.dumps(value), content_type="application/json")
