"""Simulcast layers of what a viewer is sent: live777's routes.

No publisher sends layers as yet, so there are none to list, and none to choose.
"""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from live777py.api.body import read_json
from live777py.api.native.callers import caller
from live777py.api.native.names import name_in_path
from live777py.api.native.shapes import Json


class Layer(BaseModel):
    """The body of `POST /session/{stream}/{session}/layer`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    encoding_id: str | None = Field(default=None, alias="encodingId")


def add_routes(app: web.Application) -> None:
    """Serve layers."""
    path = "/session/{stream}/{session}/layer"
    app.router.add_get(path, show)
    app.router.add_post(path, choose)
    app.router.add_delete(path, disable)


async def show(request: web.Request) -> web.Response:
    """`GET`: the layers that may be chosen."""
    layers: list[Json] = [
        {"encodingId": layer} for layer in caller(request).layers(*_named(request))
    ]
    return web.json_response(layers)


async def choose(request: web.Request) -> web.Response:
    """`POST`: `{"encodingId": …}`, or null for any."""
    wanted = await read_json(request, Layer)
    caller(request).choose_layer(*_named(request), wanted.encoding_id)
    return web.Response(status=HTTPStatus.OK)


async def disable(request: web.Request) -> web.Response:
    """`DELETE`: the choice is given up."""
    caller(request).choose_layer(*_named(request), None)
    return web.Response(status=HTTPStatus.OK)


def _named(request: web.Request) -> tuple[str, str]:
    return name_in_path(request), request.match_info["session"]
