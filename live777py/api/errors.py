"""From errors of the domain to HTTP statuses; one table for every dialect."""

from __future__ import annotations

import logging
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
    NotAuthenticated,
    NotFound,
    Unavailable,
)

logger = logging.getLogger(__name__)

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
KEPT_HEADERS = ("Allow", "Accept-Encoding", "Accept-Post", "Retry-After")

#: Seconds after which a client may try again when the server had no room.
RETRY_AFTER = "2"


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
    status = status_of(error, overrides)
    busy = status is HTTPStatus.SERVICE_UNAVAILABLE
    headers = {"Retry-After": RETRY_AFTER} if busy else {}
    return Problem(status, str(error), error.code, headers)


def problem_of_http(error: web.HTTPException) -> Problem:
    """What aiohttp itself refuses (404, 405, 413, …) as a problem."""
    status = HTTPStatus(error.status)
    headers = {k: error.headers[k] for k in KEPT_HEADERS if k in error.headers}
    text = error.text or ""
    message = status.phrase if text == f"{error.status}: {error.reason}" else text
    return Problem(status, message, status.name.lower(), headers)


def error_middleware(
    render: Render,
    overrides: Callable[[web.Request], Mapping[type[LiveError], HTTPStatus]],
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
        if request.method == "POST":
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
