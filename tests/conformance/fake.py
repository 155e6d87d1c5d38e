"""A WHIP and WHEP server that does everything right, but for the faults that a test names.

It has no media: its peers connect by asking the server object itself. Deliberately none of the
server's own code is used: the checks are judged by it.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from live777py.conformance import catalogue, offers
from live777py.conformance.fragments import Fragment
from live777py.conformance.model import Finding, Report, Side
from live777py.conformance.options import Options
from live777py.conformance.peer import CannotConnect
from live777py.conformance.run import run
from tests.support.http import answering, served

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
METHODS = "POST, GET, HEAD, OPTIONS, PATCH, DELETE"


@dataclass
class FakeSession:
    """One session."""

    side: str
    name: str
    offer: str
    ufrag: str = field(default_factory=lambda: secrets.token_hex(8))
    pwd: str = field(default_factory=lambda: secrets.token_hex(16))
    tag: str = field(default_factory=lambda: f'"{secrets.token_hex(8)}"')
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    is_broken: bool = False
    is_connected: bool = False


class FakeServer:
    """The server; `wants` are things that it may do, `faults` those that it does wrong."""

    def __init__(self, wants: Iterable[str], faults: Iterable[str]) -> None:
        self.wants = frozenset(wants)
        self.faults = frozenset(faults)
        self.sessions: dict[str, FakeSession] = {}
        self.url = ""
        self._posts: Counter[str] = Counter()

    def has(self, name: str) -> bool:
        return name in self.faults

    # HTTP.

    async def handle(self, request: web.Request) -> web.Response:
        response = self._answer(request, await request.text())
        is_error = response.status >= 400
        if not (self.has("no-cors") or (is_error and self.has("errors-without-cors"))):
            response.headers["Access-Control-Allow-Origin"] = "*"
        if not self.has("nothing-exposed"):
            response.headers["Access-Control-Expose-Headers"] = (
                "Location, Link, ETag, Accept-Patch, Accept-Post, Retry-After"
            )
        return response

    def _answer(self, request: web.Request, body: str) -> web.Response:
        match request.path.strip("/").split("/"):
            case ["whip" | "whep" as side, name]:
                return self._endpoint(request, side, name, body)
            case ["session", key]:
                return self._session(request, key, body)
            case ["elsewhere", side, name]:
                return self._post(request, side, name, body)
            case _:
                return web.Response(status=404)

    def _endpoint(
        self, request: web.Request, side: str, name: str, body: str
    ) -> web.Response:
        match request.method:
            case "OPTIONS":
                return self._options(request)
            case "GET" | "HEAD" as method:
                if self.has("get-405"):
                    return web.Response(status=405)
                if method == "HEAD" and self.has("head-404"):
                    return web.Response(status=404)
                page = "<html>" if self.has("get-page") else None
                response = web.Response(status=200, text=page, content_type=SDP)
                if method == "HEAD" and self.has("head-differs"):
                    response.headers["X-More"] = "1"
                return response
            case "POST":
                return self._post(request, side, name, body)
            case _:
                headers = {} if self.has("no-allow") else {"Allow": METHODS}
                return web.Response(status=405, headers=headers)

    def _options(self, request: web.Request) -> web.Response:
        if self.has("options-401"):
            return web.Response(status=401)
        response = web.Response(status=200)
        if not self.has("no-accept-post"):
            response.headers["Accept-Post"] = SDP
        if "Access-Control-Request-Method" in request.headers:
            response.headers["Access-Control-Allow-Methods"] = METHODS
            allowed = "Authorization, Content-Type"
            if not self.has("no-if-match"):
                allowed += ", If-Match"
            response.headers["Access-Control-Allow-Headers"] = allowed
            if self.has("links-in-preflight"):
                response.headers["Link"] = '<stun:h>; rel="ice-server"'
        return response

    def _post(
        self, request: web.Request, side: str, name: str, body: str
    ) -> web.Response:
        refusal = self._redirected(request, side) or self._refused(
            request, side, name, body
        )
        if refusal is not None:
            return refusal
        session = FakeSession(side, name, body)
        key = secrets.token_hex(16)
        if self.has("counted-locations"):
            key = f"{len(self.sessions):032d}"
        if self.has("same-etag"):
            session.tag = '"one"'
        if self.has("bare-etag"):
            session.tag = secrets.token_hex(4)
        self.sessions[key] = session
        text = answer_to(body, side, session, self.faults)
        response = web.Response(
            status=200 if self.has("no-201") else 201,
            body=text.encode(),
            content_type="text/plain" if self.has("text-answer") else SDP,
        )
        if not self.has("no-location"):
            response.headers["Location"] = f"/session/{key}"
        if not self.has("no-etag"):
            response.headers["ETag"] = session.tag
        self._link(response, side)
        return response

    def _link(self, response: web.Response, side: str) -> None:
        if self.has("folded-links"):
            response.headers["Link"] = (
                '<stun:h>; rel="ice-server", <stun:i>; rel="ice-server"'
            )
        elif self.has("turn-without-credential"):
            response.headers["Link"] = '<turn:h>; rel="ice-server"'
        else:
            response.headers.add("Link", '<stun:h>; rel="ice-server"')
            response.headers.add(
                "Link",
                '<turn:h?transport=udp>; rel="ice-server"; username="u"; '
                'credential="c"; credential-type="password"',
            )
        name = "other" if self.has("foreign-extension") else side
        response.headers.add("Link", f'</x>; rel="urn:ietf:params:{name}:ext:a:b"')
        if self.has("foreign-extension"):
            other = "whep" if side == "whip" else "whip"
            response.headers.add("Link", f'</x>; rel="urn:ietf:params:{other}:ext:a"')

    def _redirected(self, request: web.Request, side: str) -> web.Response | None:
        self._posts[side] += 1
        path = f"/elsewhere{request.path}"
        if self.has("moved") and not request.path.startswith("/elsewhere"):
            return web.Response(status=302, headers={"Location": path})
        wanted = "balance" in self.wants or self.has("308")
        if wanted and not request.path.startswith("/elsewhere"):
            status = 308 if self.has("308") else 307
            return web.Response(status=status, headers={"Location": path})
        late = {} if self.has("no-retry-after") else {"Retry-After": "1"}
        for want, status in (("busy", 503), ("limit", 429)):
            if want in self.wants and self._posts[side] == 1:
                return web.Response(status=status, headers=late)
        return None

    def _refused(
        self, request: web.Request, side: str, name: str, body: str
    ) -> web.Response | None:
        token = request.headers.get("Authorization") or request.query.get("token")
        if "token" in self.wants and not token and not self.has("no-token-needed"):
            headers = {} if self.has("no-challenge") else {"WWW-Authenticate": "Bearer"}
            return web.Response(status=401, headers=headers)
        declared = request.headers.get("Content-Type", "")
        if declared != SDP and not self.has("any-type"):
            return web.Response(status=415)
        if not body.startswith("v=0"):
            if side == "whep" and not body and "counter" in self.wants:
                return self._counter(name)
            return None if self.has("any-body") else web.Response(status=400)
        status = self._refusal(side, name, body)
        if status is None:
            return None
        headers = {"Retry-After": "2"} if status == 409 else {}
        return web.Response(status=status, headers=headers)

    def _refusal(self, side: str, name: str, body: str) -> int | None:
        live = [
            s for s in self.sessions.values() if s.name == name and s.side == "whip"
        ]
        if side == "whip":
            if live:
                return 500 if self.has("taken-500") else 409
            if "a=recvonly" in body or "a=inactive" in body:
                return None if self.has("any-direction") else 422
            if body.count("m=video") > 1:
                return 500 if self.has("two-videos-500") else 422
            if "x-nobody" in body:
                is_all = body.count("x-nobody") > 1
                if not self.has("any-codec" if is_all else "partial"):
                    return 422
        elif not live and "needs-publisher" in self.wants:
            return 404 if self.has("idle-404") else 409
        if "a=fingerprint" not in body and not self.has("no-fingerprint-needed"):
            return 400
        session_level = "a=fingerprint" in body.partition("m=")[0]
        if session_level and self.has("fingerprint-in-sections"):
            return 400
        if "a=setup:active" in body and "no-active" in self.wants:
            return 422
        if "a=setup:active" in body and self.has("active-500"):
            return 500
        if "a=setup:passive" in body and self.has("no-passive"):
            return 400
        if "a=bundle-only" in body and self.has("no-bundle-only"):
            return 400
        return None

    def _counter(self, name: str) -> web.Response:
        session = FakeSession("whep", name, "")
        key = secrets.token_hex(16)
        self.sessions[key] = session
        direction = "recvonly" if self.has("counter-recvonly") else "sendonly"
        body = offers.write("whep", direction=direction)
        date = "soon" if self.has("valid-soon") else "Wed, 09 Oct 2030 10:00:00 GMT"
        headers = {
            "Content-Type": f'{SDP}; valid-until="{date}"',
            "Location": f"/session/{key}",
        }
        if self.has("counter-as-text"):
            headers["Content-Type"] = "text/plain"
        return web.Response(status=406, body=body.encode(), headers=headers)

    # Sessions.

    def _session(self, request: web.Request, key: str, body: str) -> web.Response:
        session = self.sessions.get(key)
        if request.method == "OPTIONS":
            return self._options(request)
        if session is None:
            return self._missing(request)
        match request.method:
            case "GET" | "HEAD":
                is_bad = self.has("get-session-405")
                return web.Response(status=405 if is_bad else 204)
            case "DELETE":
                if self.has("delete-405"):
                    return web.Response(status=405)
                if "If-Match" in request.headers and self.has("delete-412"):
                    return web.Response(status=412)
                return self._delete(key)
            case "PATCH":
                return self._patch(request, session, key, body)
            case _:
                return web.Response(status=405)

    def _missing(self, request: web.Request) -> web.Response:
        if request.method == "PATCH" and self.has("patch-gone-204"):
            return web.Response(status=204)
        if request.method == "DELETE" and self.has("delete-always-200"):
            return web.Response(status=200)
        if request.method == "DELETE" and self.has("delete-twice-500"):
            return web.Response(status=500)
        return web.Response(status=404)

    def _delete(self, key: str) -> web.Response:
        session = self.sessions.pop(key)
        if not self.has("delete-keeps-dtls"):
            session.ended.set()
        return web.Response(status=200)

    def _patch(
        self, request: web.Request, session: FakeSession, key: str, body: str
    ) -> web.Response:
        declared = request.headers.get("Content-Type", "")
        if declared == SDP and not session.offer:
            if "a=recvonly" not in body and not self.has("any-answer"):
                return web.Response(status=400)
            return web.Response(status=200 if self.has("counter-patch-200") else 204)
        if declared != FRAGMENT and not self.has("any-patch-type"):
            return web.Response(status=415)
        if "no-patch" in self.wants:
            return web.Response(status=405)
        ufrag = value_of(body, "ice-ufrag")
        if not ufrag and not self.has("any-fragment"):
            return web.Response(status=400)
        is_restart = bool(ufrag) and ufrag != value_of(session.offer, "ice-ufrag")
        refusal = self._condition(request.headers.get("If-Match"), session, is_restart)
        if refusal is not None:
            return web.Response(status=refusal)
        if is_restart:
            return self._restart(session, key, body, ufrag)
        return self._trickle(session, body)

    def _condition(
        self, match: str | None, session: FakeSession, is_restart: bool
    ) -> int | None:
        if match is None:
            return None if self.has("no-428") else 428
        if match in ("*", '"*"'):
            if match != "*" and self.has("no-quoted-star"):
                return 412
            return 412 if not is_restart and self.has("no-star") else None
        if match == session.tag or self.has("no-412"):
            return None
        return 412

    def _restart(
        self, session: FakeSession, key: str, body: str, ufrag: str
    ) -> web.Response:
        if self.has("restart-400"):
            return web.Response(status=400)
        if self.has("restart-kills"):
            self._delete(key)
            return web.Response(status=422)
        if "no-restart" in self.wants:
            return web.Response(status=422)
        if len(ufrag) < 4:
            if self.has("bad-restart-kills"):
                self._delete(key)
            return web.Response(status=400)
        pwd = value_of(body, "ice-pwd")
        # Only what the client goes on with: its candidates are under these.
        session.offer = f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n"
        if not self.has("restart-same-credentials"):
            session.ufrag, session.pwd = secrets.token_hex(8), secrets.token_hex(16)
        session.is_broken = self.has("restart-stops-media")
        if not self.has("restart-same-tag"):
            session.tag = f'"{secrets.token_hex(8)}"'
        options = (
            "" if self.has("restart-without-options") else "a=ice-options:ice2\r\n"
        )
        lite = "" if self.has("restart-not-lite") else "a=ice-lite\r\n"
        text = (
            f"{lite}{options}a=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
            f"a=mid:0\r\na=ice-ufrag:{session.ufrag}\r\na=ice-pwd:{session.pwd}\r\n"
            "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n"
        )
        return web.Response(
            status=200,
            body=text.encode(),
            content_type="text/plain" if self.has("restart-as-text") else FRAGMENT,
            headers={"ETag": "x" if self.has("restart-bare-etag") else session.tag},
        )

    def _trickle(self, session: FakeSession, body: str) -> web.Response:
        if self.has("trickle-200"):
            return web.Response(status=200, text="ok")
        for fault, part in (
            ("no-mdns", ".local "),
            ("no-tcp", " tcp "),
            ("strict-form", "RTP/AVP 0"),
        ):
            if self.has(fault) and part in body:
                return web.Response(status=400)
        if self.has("end-ends") and "a=end-of-candidates" in body:
            session.is_broken = True
        headers = {"ETag": session.tag} if self.has("etag-on-trickle") else {}
        return web.Response(status=204, headers=headers)


def value_of(text: str, name: str) -> str:
    match = re.search(rf"^a={name}:(\S+)", text, re.MULTILINE)
    return match[1] if match else ""


def answer_to(
    offer: str, side: str, session: FakeSession, faults: frozenset[str]
) -> str:
    """An answer: the offer's lines, with our side's in the place of the client's."""
    head, *sections = re.split(r"(?m)^(?=m=)", offer)
    direction = "recvonly" if side == "whip" else "sendonly"
    if "wrong-direction" in faults:
        direction = "sendrecv"
    if "echo-direction" in faults and "a=sendrecv" in offer:
        direction = "sendrecv"
    setup = "active" if "a=setup:passive" in offer else "passive"
    setup = {"always-active": "active", "always-passive": "passive"}.get(
        next((f for f in faults if f.startswith("always-")), ""), setup
    )
    if "sections-sorted" in faults:
        sections.sort()
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=ice-options:ice2"]
    if "a=group" in head and "no-bundle" not in faults:
        lines.append(re.search(r"a=group:[^\r\n]*", head)[0])  # type: ignore[index]
    if not faults & {"lite-in-section", "full-ice"}:
        lines.append("a=ice-lite")
    for index, section in enumerate(sections):
        pwd = session.pwd if not index or "two-transports" not in faults else "x" * 22
        lines += [
            *re.findall(r"(?m)^m=[^\r\n]*", section),
            "c=IN IP4 0.0.0.0",
            f"a=ice-ufrag:{session.ufrag}",
            f"a=ice-pwd:{pwd}",
            "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
            f"a=setup:{setup}",
            f"a={direction}",
        ]
        if "no-candidates" not in faults and not index:
            lines.append("a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host")
        if "lite-in-section" in faults:
            lines.append("a=ice-lite")
        if side == "whep" and "no-msid" not in faults:
            stream = index if "two-streams" in faults else 0
            lines.append(f"a=msid:stream{stream} track{index}")
        lines += re.findall(
            r"(?m)^a=(?:mid|rtcp-mux|fmtp|bundle-only)[^\r\n]*", section
        )
        shift = re.compile(r"^a=rtpmap:111 ")
        for codec in re.findall(r"(?m)^a=rtpmap[^\r\n]*", section):
            is_moved = "own-payload-types" in faults
            lines.append(shift.sub("a=rtpmap:109 ", codec) if is_moved else codec)
        if "a=simulcast" in section:
            lines += ["a=rid:h recv", "a=rid:l recv", "a=simulcast:recv h;l"]
            if "foreign-rid" in faults:
                lines[-1] = "a=simulcast:recv h;q"
    if "no-mux-only" in faults:
        lines = [line for line in lines if line != "a=rtcp-mux-only"]
    end = "\n" if "lf" in faults else "\r\n"
    return "".join(f"{line}{end}" for line in lines)


class FakePeer:
    """A peer that the fake server knows without any packet."""

    def __init__(self, server: FakeServer, side: Side) -> None:
        self._server = server
        self._side = side
        self._session: FakeSession | None = None
        self._packets = 0

    @property
    def packets(self) -> int:
        """Media comes whenever somebody looks."""
        is_muted = self._server.has("no-media")
        if self._session is not None and not self._session.is_broken and not is_muted:
            self._packets += 3
        return self._packets

    async def offer(self) -> str:
        return offers.write(self._side)

    async def connect(self, answer: str) -> None:
        ufrag = value_of(answer, "ice-ufrag")
        found = [s for s in self._server.sessions.values() if s.ufrag == ufrag]
        if not found or found[0].is_broken:
            raise CannotConnect("ICE: no connectivity check was answered")
        self._session = found[0]

    async def restart(self, local: tuple[str, str], remote: Fragment) -> None:
        session = self._session
        assert session is not None
        if session.is_broken or (remote.ufrag, remote.pwd) != (
            session.ufrag,
            session.pwd,
        ):
            raise CannotConnect("no check with the new credentials was answered")

    async def closed(self) -> str:
        assert self._session is not None
        await self._session.ended.wait()
        return "close_notify received"

    async def vanish(self) -> None:
        self._end("no-consent")

    async def aclose(self) -> None:
        self._end("deaf")

    def _end(self, fault: str) -> None:
        session, self._session = self._session, None
        if session is None or self._server.has(fault):
            return
        for key, value in list(self._server.sessions.items()):
            if value is session:
                del self._server.sessions[key]


@asynccontextmanager
async def serving(
    wants: Iterable[str] = (), faults: Iterable[str] = ()
) -> AsyncIterator[FakeServer]:
    """A fake server for the time of a block."""
    server = FakeServer(wants, faults)
    async with served(answering(server.handle)) as server.url:
        yield server


async def report_of(
    *numbers: int,
    side: Side | None = None,
    wants: Iterable[str] = (),
    faults: Iterable[str] = (),
    is_fixed: bool = False,
) -> Report:
    """What checks find at a fake server; no session is left there."""
    checks = [check for check in catalogue.checks() if check.number in numbers]
    async with serving(wants, faults) as server:
        options = Options(
            f"{server.url}/whip/cam",
            None if side == "whip" else f"{server.url}/whep/cam",
            token="secret" if "token" in wants else None,
            is_fixed=is_fixed,
        )
        report = await run(
            options, peers=lambda side, _url: FakePeer(server, side), checks=checks
        )
        assert not server.sessions or report.left or "no-location" in faults
        return report


async def finding_of(
    number: int, side: Side, wants: Iterable[str] = (), faults: Iterable[str] = ()
) -> Finding:
    """What one check finds on one side; others are made where it looks back on them."""
    # The last checks look back upon what others have seen.
    numbers = (1, number) if 19 <= number <= 22 else (number,)
    report = await report_of(*numbers, side=side, wants=wants, faults=faults)
    return report.findings[number][side]
