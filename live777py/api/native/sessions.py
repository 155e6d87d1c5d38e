"""A session's resource: trickle ICE, restarts, answers, mute, the end."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from live777py.api.body import (
    SDP_TYPE,
    media_type,
    read_json,
    read_sdp,
    read_text,
    refuse,
)
from live777py.api.native.callers import caller
from live777py.api.native.conditions import if_match
from live777py.api.native.names import name_in_path
from live777py.errors import InvalidFragment
from live777py.protocol import sdpfrag
from live777py.protocol.rtp import Malformed

#: What a session takes by PATCH (RFC 5789 section 3.1).
ACCEPT_PATCH = f"{sdpfrag.MEDIA_TYPE}, {SDP_TYPE}"

#: The longest SDP fragment that is read, in bytes.
MAX_FRAGMENT_BYTES = 64 * 1024


class Mute(BaseModel):
    """The body of `POST /session/{stream}/{session}`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["audio", "video"]
    enabled: bool


def add_routes(app: web.Application) -> None:
    """Serve sessions."""
    path = "/session/{stream}/{session}"
    app.router.add_get(path, show)
    app.router.add_patch(path, change)
    app.router.add_post(path, mute)
    app.router.add_delete(path, end)


async def show(request: web.Request) -> web.Response:
    """`GET` and `HEAD`: whether there is such a session; no content (RFC 9725 section 4.1)."""
    version = caller(request).session_version(*_named(request))
    return web.Response(
        status=HTTPStatus.NO_CONTENT,
        headers={"ETag": f'"{version}"', "Accept-Patch": ACCEPT_PATCH},
    )


async def change(request: web.Request) -> web.Response:
    """`PATCH`: candidates, an ICE restart, or the answer to our offer.

    RFC 9725 sections 4.3.1 to 4.3.3; draft-ietf-wish-whep-03 sections 4.3.2 and 4.5.
    """
    kind = media_type(request)
    if kind == SDP_TYPE:
        answer = await read_sdp(request)
        caller(request).accept(*_named(request), answer)
        return web.Response(status=HTTPStatus.NO_CONTENT)
    if kind != sdpfrag.MEDIA_TYPE:
        raise refuse(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the Content-Type is {kind or 'missing'}: send {sdpfrag.MEDIA_TYPE}",
            {"Accept-Patch": ACCEPT_PATCH},
        )
    text = await read_text(request, MAX_FRAGMENT_BYTES)
    try:
        fragment = sdpfrag.parse(text)
    except Malformed as fault:
        raise InvalidFragment(str(fault)) from None
    restarted = caller(request).trickle(
        *_named(request),
        ufrag=fragment.ufrag,
        pwd=fragment.pwd,
        condition=if_match(request),
    )
    if restarted is None:
        return web.Response(status=HTTPStatus.NO_CONTENT)
    return web.Response(
        body=restarted.fragment.encode(),
        content_type=sdpfrag.MEDIA_TYPE,
        headers={"ETag": f'"{restarted.version}"'},
    )


async def mute(request: web.Request) -> web.Response:
    """`POST`: `{"kind": "audio" or "video", "enabled": …}` for a viewer."""
    wanted = await read_json(request, Mute)
    caller(request).mute(*_named(request), wanted.kind, muted=not wanted.enabled)
    # An empty object, as live777 has it.
    return web.json_response({})


async def end(request: web.Request) -> web.Response:
    """`DELETE`: the end of a WHIP or WHEP session; conditions do not matter."""
    await caller(request).end_session(*_named(request))
    return web.Response(status=HTTPStatus.NO_CONTENT)


def _named(request: web.Request) -> tuple[str, str]:
    return name_in_path(request), request.match_info["session"]
