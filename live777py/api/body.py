"""Request bodies: media type, size and encoding, checked before anything is parsed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from live777py.errors import InvalidBody, InvalidOffer

#: The longest SDP that is read, in bytes.
MAX_SDP_BYTES = 128 * 1024

SDP_TYPE = "application/sdp"
JSON_TYPE = "application/json"

#: The longest JSON that is read, in bytes.
MAX_JSON_BYTES = 1024 * 1024

#: Faults of a JSON body that are told at once.
MAX_FAULTS = 5

#: A body that was read before its reader is known.
_BODY = web.RequestKey("body", bytes)

Shape = TypeVar("Shape", bound=BaseModel)

#: Seconds that a body may take.
BODY_TIMEOUT = 10.0


def refuse(
    status: HTTPStatus, message: str, headers: dict[str, str] | None = None
) -> web.HTTPException:
    """An HTTP error for what is wrong with the request itself, to be raised."""
    kinds: dict[HTTPStatus, type[web.HTTPException]] = {
        HTTPStatus.BAD_REQUEST: web.HTTPBadRequest,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: web.HTTPUnsupportedMediaType,
    }
    # It may quote a header, and a header may have bytes that are no UTF-8.
    text = message.encode(errors="backslashreplace").decode()
    return kinds[status](text=text, headers=headers)


async def read_limited(request: web.Request, limit: int) -> bytes:
    """Read a body of at most `limit` bytes, whether or not its length was announced.

    Raises:
        web.HTTPRequestEntityTooLarge: it is longer.
        web.HTTPRequestTimeout: it takes longer than `BODY_TIMEOUT`.
        web.HTTPBadRequest: the connection broke, or the transfer coding is wrong.
    """
    announced = request.content_length or 0
    body = bytearray()
    if announced <= limit:
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > limit:
                        break
                else:
                    return bytes(body)
        except TimeoutError:
            raise web.HTTPRequestTimeout(
                text=f"the body did not come within {BODY_TIMEOUT:g} s"
            ) from None
        except (web.RequestPayloadError, ConnectionError) as error:
            # Nobody may be there to read this; if somebody is, the fault is theirs.
            raise web.HTTPBadRequest(text="the body broke off") from error
    raise web.HTTPRequestEntityTooLarge(
        max_size=limit,
        actual_size=max(announced, len(body)),
        text=f"the body is larger than {limit} bytes",
    )


async def has_body(request: web.Request) -> bool:
    """Whether there is anything but white space; reads it, and keeps it for whoever comes next.

    Raises:
        web.HTTPException: as `read_limited`.
    """
    if not request.body_exists:
        return False
    body = await read_limited(request, MAX_SDP_BYTES)
    request[_BODY] = body
    return bool(body.strip())


def media_type(request: web.Request) -> str:
    """What a request's body is declared as; parameters do not matter (RFC 9110 section 8.3.1)."""
    declared = request.headers.get("Content-Type", "")
    return declared.partition(";")[0].strip().lower()


async def read_text(request: web.Request, limit: int) -> str:
    """Read a body of UTF-8 text, without the byte order mark that some editors put in front.

    Raises:
        web.HTTPException: as `read_limited`; or 415, it is compressed.
        web.HTTPBadRequest: it is not UTF-8.
    """
    if coding := request.headers.get("Content-Encoding"):
        raise refuse(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the Content-Encoding is {coding}: send the text as it is",
            {"Accept-Encoding": "identity"},
        )
    body = request.get(_BODY)
    if body is None:
        body = await read_limited(request, limit)
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(
            HTTPStatus.BAD_REQUEST, f"the body is not UTF-8 at byte {error.start}"
        ) from None


async def read_sdp(request: web.Request) -> str:
    """Read an SDP body.

    Raises:
        web.HTTPUnsupportedMediaType: it is not declared as application/sdp, or it is compressed.
        web.HTTPRequestEntityTooLarge: it has more than 128 KiB.
        web.HTTPBadRequest: it is not UTF-8.
        InvalidOffer: it is empty.
    """
    _demand_type(request, SDP_TYPE)
    text = await read_text(request, MAX_SDP_BYTES)
    if not text.strip():
        raise InvalidOffer("the body is empty: send an SDP offer")
    return text


async def read_json(request: web.Request, model: type[Shape]) -> Shape:
    """Read a JSON body of a known shape.

    Raises:
        web.HTTPUnsupportedMediaType: it is not declared as JSON, or it is compressed.
        web.HTTPRequestEntityTooLarge: it has more than 1 MiB.
        web.HTTPBadRequest: it is no JSON.
        InvalidBody: it is not of this shape; the message names each key that is wrong.
    """
    _demand_type(request, JSON_TYPE)
    text = await read_text(request, MAX_JSON_BYTES)
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(
            include_url=False, include_context=False, include_input=False
        )
    if faults[0]["type"] == "json_invalid":
        reason = faults[0]["msg"].removeprefix("Invalid JSON: ")
        raise refuse(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {reason}")
    shown = [_fault(fault) for fault in faults[:MAX_FAULTS]]
    if len(faults) > MAX_FAULTS:
        shown.append(f"and {len(faults) - MAX_FAULTS} more")
    raise InvalidBody(f"the body does not fit: {'; '.join(shown)}")


def _demand_type(request: web.Request, wanted: str) -> None:
    """Make sure of the media type; its parameters do not matter."""
    if media_type(request) != wanted:
        declared = request.headers.get("Content-Type", "")
        raise refuse(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the Content-Type is {declared or 'missing'}: send {wanted}",
            {"Accept-Post": wanted},
        )


def _fault(fault: Mapping[str, object]) -> str:
    location = fault["loc"]
    key = ".".join(map(str, location)) if isinstance(location, tuple) else ""
    message = str(fault["msg"])
    return f"{key}: {message}" if key else message
