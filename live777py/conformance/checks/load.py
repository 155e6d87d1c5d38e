"""Checks of how a server sheds load, on all that it has answered: redirects, 503 and 429."""

from __future__ import annotations

from live777py.conformance.bench import Bench, expect
from live777py.conformance.catalogue import check
from live777py.conformance.exchange import Reply
from live777py.conformance.model import Level, NotApplicable, Skipped


@check(19, "never 301 or 302", Level.MUST, whip="4.5", whep="4.7", last=True)
async def no_old_redirects(bench: Bench) -> str:
    for reply in bench.exchange.replies:
        if _is_of(reply, bench):
            expect(
                reply.status not in (301, 302, 303),
                reply,
                "no redirect that turns POST into GET",
                "redirect by 307",
            )
    return "none seen in the run"


@check(20, "load balancing by 307", Level.SHOULD, whip="4.5", whep="4.7", last=True)
async def redirects(bench: Bench) -> str:
    for reply in bench.exchange.replies:
        if _is_of(reply, bench) and reply.status == 308:
            expect(False, reply, "307", "use 307 Temporary Redirect")
        if _is_of(reply, bench) and reply.status == 307:
            expect(reply.location, reply, "a Location", "say where", "without one")
            return f"{reply.sent}: 307"
    raise NotApplicable("the server redirects nothing")


@check(
    21, "overload: 503, with Retry-After", Level.MAY, whip="4.5", whep="4.7", last=True
)
async def overload(bench: Bench) -> str:
    return _with_retry(bench, 503, "the server was not overloaded")


@check(22, "requests are rate-limited", Level.SHOULD, whip="5", whep="5", last=True)
async def rate_limit(bench: Bench) -> str:
    try:
        return _with_retry(bench, 429, "")
    except NotApplicable:
        raise Skipped(
            "not provoked: this tool stays below 50 requests a second"
        ) from None


def _with_retry(bench: Bench, status: int, otherwise: str) -> str:
    for reply in bench.exchange.replies:
        if reply.status == status and reply.label == bench.side:
            expect(
                reply.headers.get("Retry-After", ""),
                reply,
                "a Retry-After header",
                "say when the client may come again",
                "without it",
            )
            return f"{reply.sent}: {status} with Retry-After"
    raise NotApplicable(otherwise)


def _is_of(reply: Reply, bench: Bench) -> bool:
    """Whether a reply is to an offer of this side."""
    return reply.label == bench.side and reply.sent.startswith("POST ")
