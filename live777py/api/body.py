"""Request bodies: media type, size and encoding, checked before anything is parsed."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import web

from live777py.errors import InvalidOffer

#: The longest SDP that is read, in bytes.
MAX_SDP_BYTES = 128 * 1024

SDP_TYPE = "application/sdp"

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
    return kinds[status](text=message, headers=headers)


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


async def read_sdp(request: web.Request) -> str:
    """Read an SDP body.

    Raises:
        web.HTTPUnsupportedMediaType: it is not declared as application/sdp, or it is compressed;
            parameters of the media type do not matter (RFC 9110 section 8.3.1).
        web.HTTPRequestEntityTooLarge: it has more than 128 KiB.
        InvalidOffer: it is empty or not UTF-8.
    """
    declared = request.headers.get("Content-Type", "")
    if declared.partition(";")[0].strip().lower() != SDP_TYPE:
        raise refuse(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the Content-Type is {declared or 'missing'}: send {SDP_TYPE}",
            {"Accept-Post": SDP_TYPE},
        )
    if coding := request.headers.get("Content-Encoding"):
        raise refuse(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"the Content-Encoding is {coding}: send the SDP as it is",
            {"Accept-Encoding": "identity"},
        )
    body = await read_limited(request, MAX_SDP_BYTES)
    if not body.strip():
        raise InvalidOffer("the body is empty: send an SDP offer")
    try:
        # Some editors put a byte order mark in front of text.
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidOffer(f"the SDP is not UTF-8 at byte {error.start}") from None
