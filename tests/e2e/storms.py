"""Thousands of odd requests against a real server: what does it answer, what does it keep?

`python -m tests.e2e.storms` sends 10,000 requests made from the OpenAPI document, as it allows
them and as it does not, 5,000 offers and as many fragments made from captured ones, and 5,000
requests with odd headers (`header_storm.py`). The same numbers make the same requests
(`--seed`).
"""

from __future__ import annotations

import argparse
import functools
import itertools
import re
import sys
import time
import warnings
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from live777py.api.native.openapi import EVENTS, SDP
from live777py.protocol.sdpfrag import MEDIA_TYPE as FRAGMENT

from .header_storm import send_headers
from .storm import LIVE, Target, examples, storm

OFFERS = Path(__file__).parents[1] / "data" / "offers"

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

#: The names of offers of real clients.
NAMES = sorted(
    path.stem for path in OFFERS.glob("*.sdp") if not path.stem.endswith(".answer")
)


@functools.cache
def captured(name: str) -> bytes:
    """An offer of a real client."""
    return (OFFERS / f"{name}.sdp").read_bytes()


# Requests of the document.

# For schemathesis they are texts as any other.
schemathesis.serializer.alias([SDP, FRAGMENT], "text/plain")


def send_requests(target: Target, count: int, number: int = 1) -> None:
    """Send requests that the document allows, and that it does not, and judge each answer.

    Event streams are left out: they do not end.
    """
    schema = schemathesis.openapi.from_url(f"{target.server.url}/api/openapi.json")
    operations = [
        operation
        for result in schema.get_all_operations()
        if isinstance(result, Ok) and not _is_event_stream(operation := result.ok())
    ]
    send = _Sender(target)
    for operation in operations:
        modes = schemathesis.GenerationMode
        strategy = st.tuples(
            st.one_of(
                operation.as_strategy(modes.POSITIVE),
                operation.as_strategy(modes.NEGATIVE),
            ),
            st.sampled_from(("as it is", "publisher", "viewer", "offered")),
            st.sampled_from(("", "", *NAMES)),
            st.sampled_from(("", "", "", "OPTIONS", "HEAD", "PUT", "TRACE")),
        )
        examples(send, strategy, -(-count // len(operations)), number)
    send.close()


def _is_event_stream(operation: Any) -> bool:
    responses = operation.definition.raw["responses"]
    return EVENTS in responses.get("200", {}).get("content", ())


class _Sender:
    """Sends cases, some of them at sessions that there are, and clears up after each."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.sessions: dict[str, str] = {}
        self.opened: list[str] = []

    def __call__(self, example: tuple[Any, str, str, str]) -> None:
        case, place, offer, method = example
        target = self.target
        if "session" in (case.path_parameters or {}) and place != "as it is":
            session = self.sessions.get(place) or self._open(place)
            # Whoever neither connects nor answers is gone after a while.
            if case.method != "DELETE" and target.ask("GET", session).ok:
                self.sessions[place] = session
            else:
                self.sessions.pop(place, None)
            _, _, stream, name = session.split("/")
            case.path_parameters |= {"stream": stream, "session": name}
        if offer and case.media_type == SDP:
            case.body = captured(offer).decode()
        response = case.call(session=target.http, timeout=20)
        target.statuses[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)
        if method:
            self._ask_by(method, response.request.url)
        created = response.headers.get("location", [""])[0]
        if created.startswith("/session/") and "/sse" not in created:
            assert target.ask("DELETE", created).status_code == HTTPStatus.NO_CONTENT
        if case.method == "POST" and response.status_code == HTTPStatus.NO_CONTENT:
            assert target.http.delete(response.request.url).ok

    def _ask_by(self, method: str, url: str | None) -> None:
        """Ask for the same path by a method that the document leaves out."""
        response = self.target.http.request(method, url or "", timeout=20)
        self.target.note(response.status_code)
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            assert "OPTIONS" in response.headers["Allow"]

    def _open(self, place: str) -> str:
        name = f"{place}{len(self.opened)}"
        match place:
            case "publisher":
                path, offer = f"/whip/{name}", captured("obs-30.2")
            case "viewer":
                path, offer = f"/whep/{name}", captured("firefox-play")
            case _:
                path, offer = f"/whep/{name}", b""
        self.opened.append(self.target.begin(path, offer))
        return self.opened[-1]

    def close(self) -> None:
        """End what is left open."""
        for session in self.opened:
            self.target.ask("DELETE", session)


# Offers and fragments.


@st.composite
def mutated(draw: st.DrawFn, text: Callable[[str], bytes], names: list[str]) -> bytes:
    """A text of lines, with some changed, doubled, dropped, moved, cut or put in.

    Args:
        draw: of hypothesis.
        text: a text by its name; hypothesis would print all of them if it were given them.
        names: of the texts.
    """
    lines = text(draw(st.sampled_from(names))).decode().splitlines()
    for _ in range(draw(st.integers(1, 6))):
        if not lines:
            break
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 9)):
            case 0:
                del lines[at]
            case 1:
                lines.insert(draw(st.integers(0, len(lines))), lines[at])
            case 2:
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines[at] = draw(_cut(lines[at]))
            case 4 | 5:
                lines[at] = draw(_renumbered(lines[at]))
            case 6:
                words = lines[at].split(" ")
                words[draw(st.integers(0, len(words) - 1))] = draw(TOKENS)
                lines[at] = " ".join(words)
            case 7:
                head, colon, _ = lines[at].partition(":")
                lines[at] = head + (colon or "=") + draw(TOKENS)
            case 8:
                lines.insert(at, draw(TOKENS))
            case _:
                # Another section, or none of its attributes.
                del lines[at : at + draw(st.integers(1, 40))]
    newline = draw(
        st.sampled_from(("\r\n",) * 6 + ("\n", "\r", "\n\r", "\r\r\n", "\x85"))
    )
    data: bytes = (newline.join(lines) + newline).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 9)) == 0:
        data = data[: draw(st.integers(0, len(data)))]
    if draw(st.integers(0, 19)) == 0:
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(min_size=1, max_size=4)) + data[at:]
    return data


TOKENS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        (
            "",
            "0",
            "-1",
            "4294967296",
            "9" * 400,
            "x" * 5000,
            "1e9",
            "\u0661",
            "a=",
            "m=video 9 UDP/TLS/RTP/SAVPF 96",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "a=group:BUNDLE 0 0 1",
            "a=setup:active",
            "a=setup:holdconn",
            "a=ice-lite",
            "a=rtpmap:96 VP8/0",
            "a=fmtp:96 apt=96",
            "a=extmap:0 urn:x",
            "a=fingerprint:sha-256 00",
            "a=sendrecv",
            "a=inactive",
        )
    ),
)
NUMBERS = st.one_of(
    st.integers(-1, 256), st.sampled_from((65_535, 65_536, 1 << 31, 1 << 32, 1 << 64))
)


def _cut(line: str) -> st.SearchStrategy[str]:
    return st.integers(0, len(line)).map(lambda at: line[:at])


@st.composite
def _renumbered(draw: st.DrawFn, line: str) -> str:
    """A line one of whose numbers is another."""
    numbers = list(re.finditer(r"\d+", line))
    if not numbers:
        return line + str(draw(NUMBERS))
    chosen = draw(st.sampled_from(numbers))
    return line[: chosen.start()] + str(draw(NUMBERS)) + line[chosen.end() :]


def send_offers(target: Target, count: int, number: int = 1) -> None:
    """POST offers that somebody has tampered with, and end what sessions come of them."""
    paths = itertools.cycle(("/whip/a", "/whep/a", "/whip/b", f"/whep/{LIVE}"))

    def send(offer: bytes) -> None:
        path = next(paths)
        response = target.ask("POST", path, offer, Content_Type=SDP)
        status = response.status_code
        assert status == HTTPStatus.CREATED or 400 <= status < 500, response.text
        # 406 is WHEP's alone; it has our offer if what was left was nothing.
        assert status != HTTPStatus.NOT_ACCEPTABLE or path.startswith("/whep/")
        if "Location" in response.headers:
            ended = target.ask("DELETE", response.headers["Location"])
            assert ended.status_code == HTTPStatus.NO_CONTENT

    examples(send, mutated(captured, NAMES), count, number)


FRAGMENTS = {
    "one section": b"a=ice-ufrag:abcd\r\na=ice-pwd:aGVsbG8gd29ybGQgaGVsbG8gd29y\r\n"
    b"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    b"a=candidate:1 1 udp 2130706431 127.0.0.1 39132 typ host\r\n"
    b"a=candidate:2 1 tcp 1518280447 127.0.0.1 9 typ host tcptype active\r\n"
    b"a=end-of-candidates\r\n",
    "in a group": b"a=group:BUNDLE 0 1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n"
    b"a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
    b"a=candidate:3 1 UDP 1 x.local 5 typ srflx raddr 0.0.0.0 rport 0\r\n",
}


def fragment(name: str) -> bytes:
    """A fragment as a client may send it."""
    return FRAGMENTS[name]


def send_fragments(target: Target, count: int, number: int = 1) -> None:
    """PATCH fragments and answers that somebody has tampered with."""
    fragments = mutated(fragment, [*FRAGMENTS]).map(lambda body: (FRAGMENT, body))
    answers = mutated(captured, ["firefox-play", "chromium-156-whep-gathered"]).map(
        lambda body: (SDP, body)
    )
    conditions = st.sampled_from(("*", "*", '"*"', "", '"x"', "x,", 'W/"x"', "\xe9"))
    begin: list[Callable[[], str]] = [
        lambda: target.begin("/whip/a", captured("obs-30.2")),
        lambda: target.begin("/whep/b", captured("firefox-play")),
        lambda: target.begin("/whep/c"),
        lambda: target.begin(f"/whep/{LIVE}"),
    ]
    opened = [make() for make in begin]
    turns = itertools.cycle(range(len(begin)))

    def send(example: tuple[tuple[str, bytes], str]) -> None:
        (kind, body), condition = example
        turn = next(turns)
        headers = {"If_Match": condition} if condition else {}
        response = target.ask("PATCH", opened[turn], body, Content_Type=kind, **headers)
        status = response.status_code
        # 503: a session can be restarted so often only, then a new one is due.
        assert status in (200, 204, 503) or 400 <= status < 500, response.text
        if status in (404, 503) or (kind == SDP and status == 204):
            target.ask("DELETE", opened[turn])
            opened[turn] = begin[turn]()

    examples(
        send,
        st.tuples(st.one_of(fragments, fragments, answers), conditions),
        count,
        number,
    )
    for session in opened:
        assert target.ask("DELETE", session).status_code in (204, 404)


def main(arguments: list[str] | None = None) -> int:
    """Run the storms from the command line."""
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=…", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument(
        "--offers", type=int, default=5_000, help="and fragments, and headers"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    # The server uses chance too, in its own thread.
    warnings.filterwarnings("ignore", "Do not use the `random` module")
    for send, count in (
        (send_requests, options.requests),
        (send_offers, options.offers),
        (send_fragments, options.offers),
        (send_headers, options.offers),
    ):
        with storm() as target:
            base, began = target.belongings(), time.monotonic()
            send(target, count, options.seed)
            target.check_that_nothing_is_left(base)
            seconds = time.monotonic() - began
            statuses = ", ".join(
                f"{s}: {n}" for s, n in sorted(target.statuses.items())
            )
            print(f"{send.__name__}: {count}, seed {options.seed}, {seconds:.0f} s")
            print(f"  {statuses}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
