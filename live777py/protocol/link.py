"""The Link header with which WHIP and WHEP servers name STUN and TURN servers (RFC 9725 4.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: Links that are looked at in one response.
MAX_LINKS = 32

_LINK = re.compile(
    r'<([^<>]{1,1024})>((?:\s*;\s*[\w!#$&+.^`|~-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"]+))*)'
)
_PARAMETER = re.compile(
    r';\s*([\w!#$&+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))'
)
_URL = re.compile(
    r"(stuns?|turns?):(?:\[([0-9A-Fa-f:.]+)\]|([^\s:?/\[\]]+))(?::([0-9]{1,5}))?"
    r"(?:\?transport=(udp|tcp))?",
    re.IGNORECASE,
)
_PORTS = {"stun": 3478, "turn": 3478, "stuns": 5349, "turns": 5349}


@dataclass(frozen=True, slots=True)
class LinkedIceServer:
    """One `rel="ice-server"` link.

    Attributes:
        scheme: "stun", "stuns", "turn" or "turns".
        host, port: where it is.
        transport: "udp" or "tcp".
        username, credential: for TURN, None elsewhere.
    """

    scheme: str
    host: str
    port: int
    transport: str = "udp"
    username: str | None = None
    credential: str | None = None

    def __repr__(self) -> str:
        return f"LinkedIceServer({self.scheme}:{self.host}:{self.port})"


def ice_servers(headers: Iterable[str]) -> tuple[LinkedIceServer, ...]:
    """The ICE servers that the Link headers of a response name; what is malformed is left out."""
    found = []
    for number, (target, parameters) in enumerate(_links(headers)):
        if number == MAX_LINKS:
            break
        if "ice-server" not in parameters.get("rel", "").lower().split():
            continue
        match = _URL.fullmatch(target.strip())
        if match is None:
            continue
        scheme = match[1].lower()
        port = int(match[4]) if match[4] else _PORTS[scheme]
        if not 0 < port <= 65535:
            continue
        found.append(
            LinkedIceServer(
                scheme=scheme,
                host=match[2] or match[3],
                port=port,
                # TLS runs over TCP (RFC 7065 section 3.1).
                transport=(match[5] or ("tcp" if scheme == "turns" else "udp")).lower(),
                username=parameters.get("username"),
                credential=parameters.get("credential"),
            )
        )
    return tuple(found)


def _links(headers: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    for header in headers:
        for match in _LINK.finditer(header):
            parameters: dict[str, str] = {}
            for name, quoted, plain in _PARAMETER.findall(match[2]):
                value = re.sub(r"\\(.)", r"\1", quoted) or plain
                parameters.setdefault(name.lower(), value)
            yield match[1], parameters
