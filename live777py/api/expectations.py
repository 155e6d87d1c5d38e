"""The Expect header (RFC 9110 section 10.1.1): 100-continue is met, all else is refused by 417.

aiohttp looks at it before any middleware, quotes what it does not know, and fails at bytes that
are no UTF-8. Here such requests get a route of their own instead, ahead of all paths.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import HttpVersion11, web
from aiohttp.web_urldispatcher import (
    AbstractRuleMatching,
    MatchedSubAppResource,
    MatchInfoError,
    UrlMappingMatchInfo,
)

MESSAGE = "the Expect header asks for what is not known here: send 100-continue or none"


def install(app: web.Application) -> None:
    """Have an application refuse what it cannot meet, in its own words for errors."""
    app.router.register_resource(_Unmet())


class _IsUnknown(AbstractRuleMatching):
    """Holds for requests that expect something else than 100-continue."""

    async def match(self, request: web.Request) -> bool:
        # Of HTTP/1.0 it means nothing.
        return request.version >= HttpVersion11 and any(
            value and value.lower() != "100-continue"
            for value in request.headers.getall("Expect", [])
        )

    def get_info(self) -> Any:
        return {}

    @property
    def canonical(self) -> str:
        return "*"


class _Unmet(MatchedSubAppResource):
    """What such requests are for, whatever their path: of all resources this kind comes first."""

    def __init__(self) -> None:
        super().__init__(_IsUnknown(), web.Application())

    async def resolve(
        self, request: web.Request
    ) -> tuple[UrlMappingMatchInfo | None, set[str]]:
        if await self._rule.match(request):
            return _Refusal(web.HTTPExpectationFailed(text=MESSAGE)), set()
        return None, set()


class _Refusal(MatchInfoError):
    """Raises its error where handlers are called, below the middlewares."""

    @property
    def expect_handler(self) -> Callable[[web.Request], Awaitable[None]]:
        return _leave_it


async def _leave_it(_request: web.Request) -> None:
    """Send no 100 Continue."""
