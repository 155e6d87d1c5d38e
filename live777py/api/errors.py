"""From errors of the domain to HTTP statuses; one table for every dialect."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from live777py.errors import (
    Conflict,
    Denied,
    Invalid,
    LiveError,
    Loop,
    MissingToken,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    Unavailable,
)
from live777py.protocol.headers import VIA

logger = logging.getLogger(__name__)

#: A weight: 0 to 1, up to three digits (RFC 9110 section 12.4.2).
_WEIGHT = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?", re.ASCII)

#: The status of each error of the second rank; a dialect may override it.
STATUSES: dict[type[LiveError], HTTPStatus] = {
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Invalid: HTTPStatus.BAD_REQUEST,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    Denied: HTTPStatus.FORBIDDEN,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

#: Headers of an HTTP error that its rendered form must keep.
KEPT_HEADERS = (
    "Accept-Encoding",
    "Accept-Patch",
    "Accept-Post",
    "Allow",
    "Retry-After",
    "WWW-Authenticate",
)

#: What a client must show (RFC 6750 section 3).
CHALLENGE = 'Bearer realm="live777py"'

PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """What a client is told about an error.

    Attributes:
        status: of the response.
        message: a sentence with the cause and, where there is one, the cure.
        code: stable, for programs.
        headers: such as Allow or Retry-After.
    """

    status: HTTPStatus
    message: str
    code: str
    headers: Mapping[str, str] = field(default_factory=dict)


Render = Callable[[web.Request, Problem], web.Response]

#: The statuses in which a dialect differs, for a request.
Overrides = Callable[[web.Request], Mapping[type[LiveError], HTTPStatus]]


def status_of(
    error: LiveError, overrides: Mapping[type[LiveError], HTTPStatus]
) -> HTTPStatus:
    """The status for an error: the most specific class that has one wins."""
    table = {**STATUSES, **overrides}
    for kind in type(error).__mro__:
        if kind in table:
            return table[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem_of_error(
    error: LiveError, overrides: Mapping[type[LiveError], HTTPStatus]
) -> Problem:
    """An error of the domain as a problem."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if isinstance(error, NotAuthenticated | NotPermitted):
        headers["WWW-Authenticate"] = challenge(error)
    if isinstance(error, Loop) and error.via:
        headers[VIA] = error.via
    return Problem(status_of(error, overrides), str(error), error.code, headers)


def challenge(error: NotAuthenticated | NotPermitted) -> str:
    """The WWW-Authenticate of an error (RFC 6750 section 3.1)."""
    match error:
        case NotPermitted():
            return f'{CHALLENGE}, error="insufficient_scope"'
        case MissingToken():
            # Nothing was sent, so nothing was wrong with it.
            return CHALLENGE
        case _:
            return f'{CHALLENGE}, error="invalid_token"'


def problem_of_http(error: web.HTTPException) -> Problem:
    """What aiohttp itself refuses (404, 405, 413, …) as a problem."""
    status = HTTPStatus(error.status)
    headers = {k: error.headers[k] for k in KEPT_HEADERS if k in error.headers}
    text = error.text or ""
    message = status.phrase if text == f"{error.status}: {error.reason}" else text
    return Problem(status, message, status.name.lower(), headers)


def render(request: web.Request, problem: Problem) -> web.Response:
    """Plain text, the message and nothing else, as live777 answers; or problem details.

    A client that prefers `application/problem+json` (or any JSON) to text gets RFC 9457: type,
    title, status, detail, and our `code`.
    """
    headers = {**problem.headers, "Vary": "Accept"}
    # Several Accept lines mean what one with commas means (RFC 9110 section 5.3).
    accept = ", ".join(request.headers.getall("Accept", []))
    if not prefers_problem(accept):
        return web.Response(
            status=problem.status, text=problem.message, headers=headers
        )
    details = {
        # about:blank: the status says what kind of problem it is, `code` says it exactly.
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": problem.status.value,
        "detail": problem.message,
        "code": problem.code,
    }
    return web.Response(
        status=problem.status,
        body=json.dumps(details).encode(),
        content_type=PROBLEM_TYPE,
        headers=headers,
    )


def prefers_problem(accept: str) -> bool:
    """Whether an Accept header (RFC 9110 section 12.5.1) ranks JSON above plain text.

    Plain text wins a draw, so that `*/*`, and live777's own pages, get what they always got.
    """
    ranges = [_media_range(part) for part in accept.split(",")]
    json_quality = max(
        _quality(ranges, PROBLEM_TYPE), _quality(ranges, "application/json")
    )
    return json_quality > _quality(ranges, "text/plain")


def _media_range(text: str) -> tuple[str, float]:
    """A media range and its weight; what is malformed weighs nothing."""
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            match = _WEIGHT.fullmatch(value.strip())
            return kind, float(value) if match else 0.0
    return kind, 1.0


def _quality(ranges: list[tuple[str, float]], media_type: str) -> float:
    """The weight of the most specific range that holds a type; 0 if none does."""
    wanted = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    for pattern in wanted:
        weights = [weight for kind, weight in ranges if kind == pattern]
        if weights:
            return max(weights)
    return 0.0


def error_middleware(
    render: Render,
    overrides: Overrides,
) -> Middleware:
    """Answers every error in the words of one dialect.

    Args:
        render: makes the response.
        overrides: the statuses in which the dialect differs, for this request.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except LiveError as error:
            problem = problem_of_error(error, overrides(request))
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                raise
            problem = problem_of_http(error)
        except Exception:
            # The client learns nothing of our insides; the log has it all.
            logger.exception("request failed: %s %s", request.method, request.path)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            problem = Problem(status, "internal error", "internal_error")
        # Who may not come in is logged by api/auth.py and api/limits.py, less often.
        turned_away = problem.status in (
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.TOO_MANY_REQUESTS,
        )
        if request.method == "POST" and not turned_away:
            # Clients such as OBS do not show the sentence; the operator can read it here.
            logger.info(
                "%s %s refused: %d %s",
                request.method,
                request.path,
                problem.status,
                problem.message,
            )
        return render(request, problem)

    return middleware
