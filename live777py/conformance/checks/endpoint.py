"""Checks of the endpoints: POST and its answer's headers, other methods, tokens, links."""

from __future__ import annotations

import math
import re
from urllib.parse import urlencode, urlsplit

from live777py.conformance.bench import Bench, expect
from live777py.conformance.catalogue import check
from live777py.conformance.checks.counter_offer import countered
from live777py.conformance.exchange import SDP, Reply
from live777py.conformance.model import Failed, Level, NotApplicable, Skipped
from live777py.protocol.link import ice_servers

#: A UUID of version 4 has 122 random bits.
ENOUGH_BITS = 120

#: Headers that differ from one response to the next, or that only the connection needs.
_VARYING = {
    "date", "content-length", "transfer-encoding", "connection", "keep-alive", "age",
    "server-timing", "set-cookie", "x-request-id", "etag",
}  # fmt: skip

_RUN = re.compile(r"[0-9A-Za-z_~-]+")
_EXTENSION = re.compile(r'rel="?(urn:ietf:params:wh[ie]p:[^";\s]+)', re.IGNORECASE)


@check(1, "POST of an offer: 201", Level.MUST, whip="4.2", whep="4.3.1")
async def created(bench: Bench) -> str:
    reply = await bench.posted(bench.offer(), "an offer")
    expect(reply.status == 201, reply, "201 Created", "create a session for an offer")
    return f"{reply.sent}: {reply.got}"


@check(2, "201: Content-Type application/sdp", Level.MUST, whip="4.2", whep="4.3.1")
async def answer_type(bench: Bench) -> str:
    reply = (await bench.sample()).reply
    value = reply.headers.get("Content-Type", "")
    expect(
        reply.media_type == SDP,
        reply,
        f"Content-Type: {SDP}",
        "set it on the answer, without parameters: some clients compare the whole value",
        f"with Content-Type {value or 'missing'}",
    )
    return f"Content-Type: {value}"


@check(3, "201: Location of the session", Level.MUST, whip="4.2", whep="4.3.1")
async def location(bench: Bench) -> str:
    reply = await bench.posted(bench.offer(), "an offer")
    if reply.status != 201:
        raise Skipped(f"{reply.sent}: {reply.got}")
    expect(
        reply.location,
        reply,
        "a Location header",
        "name the session's URL, as a path or absolute",
        "without Location",
    )
    return f"Location: {reply.headers['Location']}"


@check(4, "the session's URL cannot be guessed", Level.SHOULD, whip="5", whep="5")
async def secret_location(bench: Bench) -> str:
    urls = []
    for _ in range(2):
        async with bench.opened() as session:
            urls.append(session.url)
    bits = random_bits(*urls)
    if bits < ENOUGH_BITS:
        raise Failed(
            "two POSTs",
            f"Locations that differ by some {bits} random bits",
            f"{ENOUGH_BITS} or more",
            "make the URL from 16 bytes of a cryptographic generator, or a UUID",
        )
    return f"some {bits} random bits"


def random_bits(one: str, other: str) -> int:
    """How many bits of two URLs can be random: those of the words that differ."""
    words = zip(_words(one), _words(other), strict=False)
    return int(sum(_bits(a, b) for a, b in words if a != b))


def _words(url: str) -> list[str]:
    parts = urlsplit(url)
    return _RUN.findall(f"{parts.path}?{parts.query}")


def _bits(one: str, other: str) -> float:
    text = one + other
    if re.fullmatch(r"[0-9]+", text):
        alphabet = 10.0
    elif re.fullmatch(r"[0-9a-f-]+", text) or re.fullmatch(r"[0-9A-F-]+", text):
        alphabet = 16.0
    else:
        alphabet = 62.0
    # What both begin with is a prefix or a counter, hyphens separate.
    size = min(len(one), len(other))
    same = next((i for i in range(size) if one[i] != other[i]), size)
    same = same if same > 3 else 0
    return len(one[same:].replace("-", "")) * math.log2(alphabet)


@check(5, "POST of another Content-Type: 4xx", Level.MUST, whip="4.2", whep="4.3.4")
async def other_type(bench: Bench) -> str:
    reply = await bench.post(
        bench.offer(), "an offer as text/plain", headers={"Content-Type": "text/plain"}
    )
    await bench.drop(reply)
    expect(
        reply.is_refusal,
        reply,
        "a 4xx status",
        f"answer 415 with Accept-Post: {SDP}",
    )
    return f"{reply.sent}: {reply.got}"


@check(6, "POST of malformed or no SDP: 4xx", Level.MUST, whip="4.2", whep="4.3.4")
async def malformed(bench: Bench) -> str:
    seen = []
    for body, what in (("this is not SDP\r\n", "malformed SDP"), ("", "no body")):
        reply = await bench.posted(body, what)
        expect(reply.is_refusal, reply, "a 4xx status", "answer 400 to what is not SDP")
        seen.append(f"{what}: {reply.status}")
    return ", ".join(seen)


@check(
    7, "GET of the endpoint: 2xx without content", Level.MUST, whip="4.1", whep="4.1"
)
async def get_endpoint(bench: Bench) -> str:
    target = bench.target()
    reply = await bench.ask("GET", target.url(bench.side), target)
    expect(
        reply.is_success,
        reply,
        "2xx",
        "answer 204, or 200 with nothing in it; a page for people has its own URL",
    )
    expect(
        not reply.body,
        reply,
        "no content",
        "serve pages elsewhere",
        f"with {len(reply.body)} bytes of {reply.media_type or 'content'}",
    )
    return reply.got


@check(8, "GET of a session: 2xx without content", Level.MUST, whip="4.1", whep="4.1")
async def get_session(bench: Bench) -> str:
    async with bench.opened() as session:
        reply = await bench.ask("GET", session.url, session.target)
    expect(
        reply.is_success and not reply.body,
        reply,
        "2xx without content",
        "answer 204 for a session that there is, 404 for others",
        f"with {len(reply.body)} bytes" if reply.is_success else "",
    )
    return reply.got


@check(9, "HEAD of the endpoint: 200, application/sdp", Level.SHOULD, whep="4.2")
async def head_endpoint(bench: Bench) -> str:
    target = bench.target()
    reply = await bench.ask("HEAD", target.url(bench.side), target)
    expect(
        reply.status == 200 and reply.media_type == SDP,
        reply,
        f"200 with Content-Type: {SDP}",
        "let players discover that this is a WHEP endpoint",
        f"with Content-Type {reply.headers.get('Content-Type', 'missing')}",
    )
    return f"{reply.got}, {SDP}"


@check(10, "HEAD has the headers of GET", Level.MUST, whep="4.2")
async def head_like_get(bench: Bench) -> str:
    target = bench.target()
    url = target.url(bench.side)
    get = await bench.ask("GET", url, target)
    head = await bench.ask("HEAD", url, target)
    if not get.is_success and not head.is_success:
        raise NotApplicable(f"neither is supported: GET {get.got}, HEAD {head.got}")
    expect(
        get.status == head.status,
        head,
        f"{get.status} as for GET",
        "answer HEAD as GET, without a body",
    )
    different = sorted(_lasting(get) ^ _lasting(head))
    expect(
        not different,
        head,
        "the same headers as for GET",
        "send both from one handler",
        f"with other headers: {', '.join(name for name, _ in different)}",
    )
    return f"both {head.got}"


def _lasting(reply: Reply) -> set[tuple[str, str]]:
    return {
        (name.lower(), value)
        for name, value in reply.headers.items()
        if name.lower() not in _VARYING
    }


@check(
    11,
    "other methods on the endpoint: 405 with Allow",
    Level.HTTP,
    whip="RFC 9110 15.5.6",
    whep="RFC 9110 15.5.6",
)
async def other_methods(bench: Bench) -> str:
    target = bench.unused()
    for method in ("PUT", "PATCH", "DELETE"):
        reply = await bench.ask(method, target.url(bench.side), target)
        expect(
            reply.status == 405 and reply.headers.get("Allow", ""),
            reply,
            "405 with an Allow header",
            "say which methods there are",
            "without Allow" if reply.status == 405 else "",
        )
    return "PUT, PATCH, DELETE: 405 with Allow"


@check(17, "bearer tokens", Level.MUST, whip="4.7", whep="4.9")
async def bearer(bench: Bench) -> str:
    offer = bench.offer()
    if not bench.has_token:
        reply = await bench.post(
            offer, "Bearer undefined", headers={"Authorization": "Bearer undefined"}
        )
        await bench.drop(reply)
        if reply.status == 201:
            raise NotApplicable("no --token given; the server is open")
        raise NotApplicable(f"no --token given ({reply.sent}: {reply.got})")
    target = bench.target()
    url = target.url(bench.side)
    headers = {"Content-Type": SDP}
    bare = await bench.ask(
        "POST", url, headers=headers, body=offer, what="an offer without a token"
    )
    await bench.drop(bare, target)
    expect(
        bare.status == 401 and bare.headers.get("WWW-Authenticate", ""),
        bare,
        "401 with WWW-Authenticate (RFC 9110 11.6.1)",
        "challenge with Bearer",
        "without WWW-Authenticate" if bare.status == 401 else "",
    )
    async with bench.opened(offer, "an offer with the token", target) as session:
        end = await bench.ask("DELETE", session.url, target)
    expect(end.is_success, end, "2xx", "take the token at the session, too")
    return "401 without, 201 with; DELETE with"


@check(18, "a token in the URL", Level.MAY, whip="4.7.1", whep="4.9.1")
async def token_in_url(bench: Bench) -> str:
    if not bench.has_token:
        raise NotApplicable("no --token given")
    target = bench.target()
    url = target.url(bench.side)
    join = "&" if "?" in url else "?"
    reply = await bench.ask(
        "POST",
        f"{url}{join}{urlencode({'token': target.token})}",
        headers={"Content-Type": SDP},
        body=bench.offer(),
        what="an offer, ?token= instead of a header",
    )
    await bench.drop(reply, target)
    if reply.status == 201:
        return f"?token=: {reply.got}"
    raise NotApplicable(f"not by ?token= ({reply.got})")


@check(23, "201: ICE servers in Link headers", Level.MUST, whip="4.6", whep="4.8")
async def ice_links(bench: Bench) -> str:
    reply = (await bench.sample()).reply
    links = [v for v in reply.headers.getall("Link", []) if "ice-server" in v.lower()]
    if not links:
        raise NotApplicable("the server names none, which is allowed")
    for link in links:
        servers = ice_servers([link])
        expect(
            len(servers) == 1 and re.match(r"<(stuns?|turns?):", link),
            reply,
            'one Link per server, such as <turn:host?transport=udp>; rel="ice-server"',
            "write one header for each URL, not escaped: OBS reads no other form",
            f"with Link: {_public(link)}",
        )
        needs = servers[0].scheme.startswith("turn")
        expect(
            not needs or (servers[0].username and servers[0].credential),
            reply,
            "username and credential for TURN",
            "TURN servers refuse clients without them",
            f"with Link: {_public(link)}",
        )
    return f"{len(links)} in headers of their own"


def _public(link: str) -> str:
    """A Link without what is secret in it."""
    return re.sub(r'(credential|username)="[^"]*"', r'\1="…"', link)


@check(24, "201: extensions in Link headers", Level.MUST, whip="4.9", whep="4.10")
async def extension_links(bench: Bench) -> str:
    reply = (await bench.sample()).reply
    names = [_EXTENSION.findall(link) for link in reply.headers.getall("Link", [])]
    found = [name for named in names for name in named]
    if not found:
        raise NotApplicable("the server announces none, which is allowed")
    prefix = f"urn:ietf:params:{bench.side}:ext:"
    expect(
        all(len(named) <= 1 for named in names)
        and all(name.lower().startswith(prefix) for name in found),
        reply,
        f"one Link for each extension, its rel beginning with {prefix}",
        "write a header for each",
        f"with {', '.join(found)}",
    )
    return ", ".join(found)


@check(25, "stream not live: 409 with Retry-After", Level.MUST, whep="4.3.8")
async def not_live(bench: Bench) -> str:
    if bench.idle is None:
        raise Skipped(
            "needs --whip without --fixed: a stream that had a publisher a moment ago"
        )
    reply = await bench.post(
        bench.offer(), "an offer, the publisher has just left", target=bench.idle
    )
    await bench.drop(reply)
    if reply.status == 201:
        raise NotApplicable("the server lets viewers wait for a publisher")
    expect(
        reply.status == 409 and reply.headers.get("Retry-After", ""),
        reply,
        "409 with Retry-After where a live publisher is required, or 201",
        "404 is for names that do not exist",
        "without Retry-After" if reply.status == 409 else "",
    )
    return "409 with Retry-After"


@check(26, "a name that is taken: 409, or take-over", Level.PRACTICE, whip="–")
async def taken(bench: Bench) -> str:
    async with bench.connected() as call:
        reply = await bench.post(
            bench.offer(),
            "a second offer while somebody publishes",
            target=call.session.target,
        )
        await bench.drop(reply)
    if reply.status == 201:
        return "201: the second publisher takes over"
    expect(
        reply.status == 409,
        reply,
        "409 Conflict, or 201",
        "say that the name is taken",
    )
    return "409: the second publisher is refused"


@check(27, "406: a counter-offer", Level.MUST, whep="4.3.2")
async def counter_offer(bench: Bench) -> str:
    async with countered(bench) as (reply, _session):
        expect(
            reply.media_type == SDP and reply.location,
            reply,
            f"Content-Type {SDP} and Location",
            "a counter-offer is useless without the session's URL",
            f"with {reply.media_type or 'no type'}, Location {reply.location}",
        )
        parameter = re.search(
            r'valid-until="?([^";]+)', reply.headers.get("Content-Type", "")
        )
        expect(
            parameter is None or re.fullmatch(r"\w{3}, [\w :]+ GMT", parameter[1]),
            reply,
            "valid-until as an HTTP date (RFC 9110 5.6.7)",
            'write it as valid-until="Wed, 09 Oct 2024 10:00:00 GMT"',
            f"with valid-until {parameter[1] if parameter else ''}",
        )
    return f"406 with {SDP} and Location"


@check(28, "after 406: PATCH of the answer", Level.MUST, whep="4.3.2")
async def counter_answer(bench: Bench) -> str:
    async with countered(bench) as (_reply, session):
        bad = await bench.patch(
            session, "this is not SDP", "malformed SDP as answer", media_type=SDP
        )
        expect(bad.is_refusal, bad, "a 4xx status", "answer 400 to what is not SDP")
        good = await bench.patch(
            session, session.offer, "the answer to its offer", media_type=SDP
        )
        expect(good.status == 204, good, "204", "take the answer without a body")
    return f"malformed {bad.status}, then 204"
