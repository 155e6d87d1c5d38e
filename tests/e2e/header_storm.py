"""Requests with any headers, sent by the byte: none of them is the server's fault."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import BinaryIO
from urllib.parse import urlsplit

from hypothesis import strategies as st

from .storm import Target, examples

#: Those that aiohttp, what stands before our handlers, or proxies on the way act on.
HEADER_NAMES = rb"""
Accept Accept-Charset Accept-Encoding Accept-Language Access-Control-Request-Headers
Access-Control-Request-Method Authorization Cache-Control Connection Content-Disposition
Content-Encoding Content-Length Content-Type Cookie Date Early-Data Expect Forwarded From
HTTP2-Settings Host If-Match If-Modified-Since If-None-Match If-Range If-Unmodified-Since
Keep-Alive Last-Event-ID Live777py-Seen Live777py-Via Live777py-Wait Max-Forwards Origin
Pragma Prefer Proxy-Authorization Proxy-Connection Range Referer Sec-Fetch-Mode
Sec-WebSocket-Key Sec-WebSocket-Version TE Trailer Transfer-Encoding Upgrade User-Agent
Via X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-HTTP-Method-Override X-Real-IP
"""

#: Values that some of them have, and pieces of such.
HEADER_VALUES = rb"""
100-continue | 100-Continue, tea | chunked | gzip,chunked | close | keep-alive | websocket
upgrade,HTTP2-Settings | h2c | trailers;q=0.5 | */*;q=x | ,;=, | "unclosed | W/"x" | * | -1
bytes=9-1 | bytes=-1 | 1e9 | for=_x;proto=https | for="[::1]:80",for=unknown | for=1.2.3.4
1.2.3.4,::1,x | [::1]:99999 | fe80::1%x | Bearer x | Basic :: | null | http://[ | a/cam,b/0
application/sdp;charset=x | application/json | text/plain;q=9 | utf-16;q=1 | identity;q=0
application/openmetrics-text;version=9 | Sun, 31 Feb 2026 25:61:61 GMT | a=b; a="\"; =
"""

#: What is asked with them; no path of events, which do not end.
ASKED = [
    f"{method} {path}"
    for method in ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "PUT")
    for path in (
        "/",
        "/metrics",
        "/nowhere",
        "/tools/player.html",
        "/api/streams/",
        "/api/cascade/x",
        "/whip/x",
        "/whep/x",
        "/session/x/y",
    )
] + ["OPTIONS *", "CONNECT x:80", "GET http://x/api/info"]


def send_headers(target: Target, count: int, number: int = 1) -> None:
    """Send requests with any headers, known ones and others, of any bytes."""
    known = re.split(rb" \| |\n", HEADER_VALUES.strip())
    # Control characters go no further than the parser.
    odd = st.lists(st.sampled_from([9, *range(32, 127), *range(128, 256)]), max_size=20)
    values = st.one_of(st.sampled_from(known), odd.map(bytes))
    names = st.one_of(
        st.sampled_from(
            (b"Expect", b"Forwarded", b"X-Forwarded-For", b"Accept", b"Host")
        ),
        st.sampled_from(HEADER_NAMES.split()),
        st.text("abcxyz-_!~", min_size=1, max_size=20).map(str.encode),
    )
    headers = st.lists(st.tuples(names, values), min_size=1, max_size=6).filter(
        lambda fields: [name for name, _ in fields].count(b"Host") < 2
    )
    where = urlsplit(target.server.url)
    opened: list[str] = []

    def send(example: tuple[str, list[tuple[bytes, bytes]], bytes]) -> None:
        asked, fields, body = example
        names = {name.lower() for name, _ in fields}
        if b"host" not in names:
            fields = [(b"Host", b"x"), *fields]
        if body and not names & {b"content-length", b"transfer-encoding"}:
            fields = [*fields, (b"Content-Length", b"%d" % len(body))]
        lines = [f"{asked} HTTP/1.1".encode()]
        lines += [name + b": " + value for name, value in fields]
        with socket.create_connection((where.hostname, where.port), 20) as client:
            client.sendall(b"\r\n".join([*lines, b"", body]))
            if names & {b"content-length", b"transfer-encoding"}:
                # A body may be announced that does not come.
                client.settimeout(0.05)
            with client.makefile("rb") as answers, contextlib.suppress(TimeoutError):
                status = 100
                while status == 100:
                    status, session = read_head(answers)
                    target.note(status)
                    opened.extend(session)

    bodies = st.sampled_from((b"", b"", b"v=0", b"{}", b"0\r\n\r\n"))
    examples(send, st.tuples(st.sampled_from(ASKED), headers, bodies), count, number)
    # Offers of ours, which nobody will answer.
    for session in opened:
        target.ask("DELETE", session)


def read_head(answers: BinaryIO) -> tuple[int, list[str]]:
    """The status of an answer, and the session that it has opened."""
    status = int(answers.readline().split()[1])
    session = []
    while (line := answers.readline()).strip():
        name, _, value = line.decode().partition(": ")
        if name == "Location" and value.startswith("/session/"):
            session.append(value.strip())
    return status, session
