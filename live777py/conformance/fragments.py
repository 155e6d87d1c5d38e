"""SDP fragments for PATCH (RFC 8840), in the forms that clients write; and those that come back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from live777py.errors import InvalidOffer
from live777py.protocol.candidate import Candidate

#: A documentation address (RFC 5737): nobody is there, nothing is reached.
HOST = "candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host"
TCP = "candidate:2 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active"
MDNS = (
    "candidate:3 1 udp 2122194687 "
    "4bdc1a4e-5d0c-4f5a-9c6a-0d1d2f7f3a10.local 61765 typ host"
)
NAME = "candidate:4 1 udp 2122129151 nobody.invalid 61766 typ host"
RTCP = "candidate:5 2 udp 2122260222 192.0.2.1 61767 typ host"

_LINE = re.compile(r"\r\n|\n")


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a server says about its side of an ICE session."""

    ufrag: str | None
    pwd: str | None
    options: frozenset[str]
    is_lite: bool
    pacing: str | None = None
    candidates: tuple[Candidate, ...] = field(default=())


def write(
    ufrag: str,
    pwd: str,
    candidates: Sequence[str] = (HOST,),
    *,
    ended: bool = False,
    media: str = "audio 9 UDP/TLS/RTP/SAVPF 111",
    mid: str = "0",
    options: str = "trickle",
    above: bool = False,
    also: str = "",
) -> str:
    """A fragment.

    Args:
        ufrag, pwd: of the client.
        candidates: attributes without "a=".
        ended: whether no more will come.
        media: of its `m=` line.
        mid: of its section.
        options: the ice-options of the offer, which have to stay (RFC 9725 section 4.3.3).
        above: write the credentials at session level, as medooze does.
        also: another section.
    """
    who = [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{pwd}"]
    lines = [
        f"a=ice-options:{options}",
        f"a=group:BUNDLE {mid}",
        *(who if above else ()),
        f"m={media}",
        f"a=mid:{mid}",
        *(() if above else who),
        *(f"a={candidate}" for candidate in candidates),
        *(("a=end-of-candidates",) if ended else ()),
        *also.splitlines(),
    ]
    return "".join(f"{line}\r\n" for line in lines)


def credentials_of(offer: str) -> tuple[str, str]:
    """The username fragment and password of an offer of ours."""
    return _value(offer, "ice-ufrag") or "", _value(offer, "ice-pwd") or ""


def options_of(offer: str) -> str:
    """The ice-options of an offer of ours."""
    return _value(offer, "ice-options") or "trickle"


def read(text: str) -> Fragment:
    """Read what a server says: a fragment, or a whole answer."""
    candidates: dict[str, Candidate] = {}
    for line in _LINE.split(text):
        if line.startswith("a=candidate:"):
            try:
                candidates.setdefault(line, Candidate.parse(line.removeprefix("a=")))
            except InvalidOffer:
                continue
    return Fragment(
        _value(text, "ice-ufrag"),
        _value(text, "ice-pwd"),
        frozenset((_value(text, "ice-options") or "").split()),
        "a=ice-lite" in _LINE.split(text),
        _value(text, "ice-pacing"),
        tuple(candidates.values()),
    )


def _value(text: str, name: str) -> str | None:
    match = re.search(rf"^a={name}: *([^\r\n]+?) *\r?$", text, re.MULTILINE)
    return None if match is None else match[1]
