"""Checks of what pages of other origins need: preflights, and headers that scripts may use."""

from __future__ import annotations

from collections.abc import Iterable

from live777py.conformance.bench import Bench, expect
from live777py.conformance.catalogue import check
from live777py.conformance.exchange import SDP, Reply
from live777py.conformance.model import Level, Skipped

ORIGIN = {"Origin": "https://player.example"}
PREFLIGHT = {
    **ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}

#: Headers that a script has to read from responses, and those that it has to send.
EXPOSED = ("Location", "Link", "ETag", "Accept-Patch", "Accept-Post", "Retry-After")
ALLOWED = ("Authorization", "Content-Type", "If-Match")
METHODS = ("POST", "GET", "HEAD", "PATCH", "DELETE", "OPTIONS")


@check(12, "OPTIONS: CORS preflight", Level.MUST, whip="4.2", whep="4.4")
async def preflight(bench: Bench) -> str:
    reply = await _preflight(bench)
    expect(
        reply.is_success,
        reply,
        "2xx, without a token: browsers send none with it",
        "answer preflight requests before authentication",
    )
    expect(
        reply.headers.get("Access-Control-Allow-Origin", ""),
        reply,
        "Access-Control-Allow-Origin",
        "allow web pages to publish and play",
        "without it",
    )
    return f"{reply.got}, {_shown(reply, 'Access-Control-Allow-Origin')}"


@check(13, "OPTIONS: Accept-Post application/sdp", Level.SHOULD, whip="4.2", whep="4.4")
async def accept_post(bench: Bench) -> str:
    target = bench.target()
    reply = await bench.ask("OPTIONS", target.url(bench.side), target)
    expect(
        SDP in reply.listed("Accept-Post"),
        reply,
        f"200 with Accept-Post: {SDP}",
        "name the media type that POST takes",
        "without it",
    )
    return f"{reply.got}, {_shown(reply, 'Accept-Post')}"


@check(14, "a preflight has no ICE servers", Level.SHOULD, whip="4.6", whep="4.8")
async def no_links_in_preflight(bench: Bench) -> str:
    reply = await _preflight(bench)
    expect(
        not any("ice-server" in link for link in reply.headers.getall("Link", [])),
        reply,
        'no Link with rel="ice-server"',
        "credentials belong into authorised responses only",
        "with ICE servers",
    )
    return "none"


async def _preflight(bench: Bench) -> Reply:
    return await bench.ask(
        "OPTIONS", bench.target().url(bench.side), headers=PREFLIGHT, what="preflight"
    )


@check(
    15, "CORS: scripts may read the headers", Level.PRACTICE, whip="Fetch", whep="Fetch"
)
async def exposed(bench: Bench) -> str:
    reply = await bench.post(bench.offer(), "an offer with Origin", headers=ORIGIN)
    await bench.drop(reply)
    if reply.status != 201:
        raise Skipped(f"{reply.sent}: {reply.got}")
    _covers(reply, "Access-Control-Expose-Headers", EXPOSED)
    return _shown(reply, "Access-Control-Expose-Headers")


@check(
    16,
    "CORS: methods and headers allowed, also on errors",
    Level.PRACTICE,
    whip="Fetch",
    whep="Fetch",
)
async def allowed(bench: Bench) -> str:
    async with bench.opened() as session:
        headers = {
            **ORIGIN,
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "authorization,content-type,if-match",
        }
        reply = await bench.ask(
            "OPTIONS", session.url, headers=headers, what="preflight of PATCH"
        )
    expect(reply.is_success, reply, "2xx", "answer preflights of sessions, too")
    _covers(reply, "Access-Control-Allow-Methods", METHODS, simple=("GET", "HEAD"))
    _covers(reply, "Access-Control-Allow-Headers", ALLOWED)
    error = await bench.post("no SDP", "malformed SDP with Origin", headers=ORIGIN)
    await bench.drop(error)
    expect(
        error.headers.get("Access-Control-Allow-Origin", ""),
        error,
        "Access-Control-Allow-Origin on errors as well",
        "without it scripts cannot even read the status",
        "without it",
    )
    return "on the session's preflight and on errors"


def _covers(
    reply: Reply, header: str, names: Iterable[str], simple: Iterable[str] = ()
) -> None:
    """Fail unless a list covers names; `simple` ones and OPTIONS need no permission."""
    found = reply.listed(header)
    free = {name.lower() for name in (*simple, "OPTIONS")}
    # "*" does not cover Authorization (Fetch 4.8).
    missing = [
        name
        for name in names
        if name.lower() not in found | free
        and ("*" not in found or name == "Authorization")
    ]
    expect(
        not missing,
        reply,
        f"{header} with {', '.join(names)}",
        "web clients cannot do without them",
        f"without {', '.join(missing)}",
    )


def _shown(reply: Reply, header: str) -> str:
    return f"{header}: {', '.join(reply.headers.getall(header, []))}"
