"""Streams: listed, shown, created, deleted."""

from __future__ import annotations

import json
from http import HTTPStatus

from aiohttp import web

from live777py.api.native import shapes
from live777py.api.native.callers import caller
from live777py.api.native.names import name_in_path
from live777py.core.model import StreamInfo


def add_routes(app: web.Application) -> None:
    """Serve streams."""
    for path in ("/api/streams", "/api/streams/"):
        app.router.add_get(path, list_all)
    app.router.add_get("/api/streams/{stream}", show)
    app.router.add_post("/api/streams/{stream}", create)
    app.router.add_delete("/api/streams/{stream}", delete)


def wanted(request: web.Request, streams: list[StreamInfo]) -> list[shapes.Json]:
    """Those that the query asks for (`?streams=a&streams=b`), or all, as JSON."""
    names = set(request.query.getall("streams", []))
    return [shapes.stream(s) for s in streams if not names or s.name in names]


async def list_all(request: web.Request) -> web.Response:
    """`GET /api/streams/`: all streams, sorted by name."""
    return _json(wanted(request, caller(request).streams()))


async def show(request: web.Request) -> web.Response:
    """`GET /api/streams/{stream}`: one stream."""
    return _json(shapes.stream(caller(request).stream(_name(request))))


async def create(request: web.Request) -> web.Response:
    """`POST /api/streams/{stream}`: a stream that stays; a body does not matter."""
    caller(request).create_stream(_name(request))
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def delete(request: web.Request) -> web.Response:
    """`DELETE /api/streams/{stream}`: the end of a stream and of all its sessions."""
    await caller(request).delete_stream(_name(request))
    return web.Response(status=HTTPStatus.NO_CONTENT)


def _name(request: web.Request) -> str:
    return name_in_path(request, segment=3)


def _json(value: object) -> web.Response:
    return web.Response(text=json.dumps(value), content_type="application/json")
