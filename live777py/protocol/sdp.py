"""Session descriptions as values (RFC 8866): the lines, in order, with little meaning added.

What the lines mean for WebRTC is the business of `rtc/`. Reading is lenient where real clients
are sloppy (LF line ends, unknown attributes, missing `s=` and `t=`) and strict where a guess
would be needed. Writing always uses CRLF.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from live777py.errors import InvalidOffer
from live777py.protocol.candidate import Candidate

__all__ = [
    "DIRECTIONS",
    "MAX_ATTRIBUTES",
    "MAX_FORMATS",
    "MAX_LINES",
    "MAX_SECTIONS",
    "Attribute",
    "Attributes",
    "Candidate",
    "MediaSection",
    "SessionDescription",
    "parse",
]

#: An attribute's name and its value; None for a property attribute such as `a=sendonly`.
Attribute = tuple[str, str | None]

#: The largest real offer known has some 400 lines; the bound is for those who test ours.
MAX_LINES = 5000
MAX_SECTIONS = 64

#: Of one section, or of the session: whoever looks one up passes all of them.
MAX_ATTRIBUTES = 1000

#: Of one section: RTP has no more payload types.
MAX_FORMATS = 128

DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")

_LINE_END = re.compile(r"\r\n|\n|\r")
_MEDIA = re.compile(
    r"([!-~]{1,64}) +([0-9]{1,5})(?:/[0-9]{1,5})? +([!-~]{1,64})((?: +[!-~]{1,64})*) *"
)
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Attributes:
    """A list of `a=` lines; the base of what may carry them."""

    attributes: tuple[Attribute, ...] = ()

    def has(self, name: str) -> bool:
        """Whether there is an attribute of this name, with or without a value."""
        return any(key == name for key, _ in self.attributes)

    def first(self, name: str) -> str | None:
        """The value of the first attribute of this name that has one, blanks stripped."""
        return next(self.all(name), None)

    def all(self, name: str) -> Iterator[str]:
        """The values of all attributes of this name, in order, blanks stripped."""
        for key, value in self.attributes:
            if key == name and value is not None:
                yield value.strip()

    @property
    def direction(self) -> str | None:
        """The first direction attribute; None means that of the level above."""
        return next((key for key, _ in self.attributes if key in DIRECTIONS), None)


@dataclass(frozen=True, slots=True)
class MediaSection(Attributes):
    """One `m=` line and what belongs to it.

    Attributes:
        kind: "audio", "video", "application" or whatever else the line says.
        port: 0 in a section that is rejected or only there as part of a bundle.
        protocol: such as "UDP/TLS/RTP/SAVPF".
        formats: for RTP the payload types, as text.
        connection: the value of the section's own `c=` line.
    """

    kind: str = ""
    port: int = 9
    protocol: str = ""
    formats: tuple[str, ...] = ()
    connection: str | None = None

    @property
    def mid(self) -> str | None:
        """The media identification tag (RFC 5888)."""
        return self.first("mid")

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates of this section; what cannot be read is left out."""
        found = []
        for value in self.all("candidate"):
            try:
                found.append(Candidate.parse(value))
            except InvalidOffer:
                continue
        return tuple(found)

    def __str__(self) -> str:
        formats = "".join(f" {name}" for name in self.formats)
        return _text(
            f"m={self.kind} {self.port} {self.protocol}{formats}",
            self.connection,
            self.attributes,
        )


@dataclass(frozen=True, slots=True)
class SessionDescription(Attributes):
    """A whole session description.

    Attributes:
        origin: the value of the `o=` line.
        name: the value of the `s=` line.
        connection: the value of the session's `c=` line.
        media: the sections, in order.

    Lines that WebRTC does not use (`i=`, `b=`, `t=` and such) are not kept.
    """

    origin: str = "- 0 0 IN IP4 0.0.0.0"
    name: str = "-"
    connection: str | None = None
    media: tuple[MediaSection, ...] = ()

    def __str__(self) -> str:
        # RFC 8866 section 5 fixes the order of these lines.
        connection = "" if self.connection is None else f"c={self.connection}\r\n"
        head = f"v=0\r\no={self.origin}\r\ns={self.name}\r\n{connection}t=0 0"
        return _text(head, None, self.attributes) + "".join(map(str, self.media))


def parse(text: str) -> SessionDescription:
    """Read a session description.

    Raises:
        InvalidOffer: it is not one, or exceeds one of the bounds above.
    """
    lines = _lines(text)
    starts = [i for i, (_, kind, _) in enumerate(lines) if kind == "m"]
    if len(starts) > MAX_SECTIONS:
        raise InvalidOffer(f"the SDP has more than {MAX_SECTIONS} media sections")
    bounds = [*starts, len(lines)]
    head = lines[: bounds[0]]
    return SessionDescription(
        attributes=_attributes(head),
        origin=_first(head, "o") or "- 0 0 IN IP4 0.0.0.0",
        name=_first(head, "s") or "-",
        connection=_first(head, "c"),
        media=tuple(
            _section(lines[start:end]) for start, end in itertools.pairwise(bounds)
        ),
    )


#: A line's number, its type letter and its value.
_Line = tuple[int, str, str]


def _lines(text: str) -> list[_Line]:
    raw = _LINE_END.split(text)
    if len(raw) > MAX_LINES:
        raise InvalidOffer(f"the SDP has more than {MAX_LINES} lines")
    lines = []
    for number, line in enumerate(raw, 1):
        if not line.strip():
            continue
        if line[1:2] != "=" or not "a" <= line[0] <= "z" or "\0" in line:
            raise InvalidOffer(f"line {number} of the SDP is not of the form x=value")
        lines.append((number, line[0], line[2:]))
    if not lines or lines[0][1:] != ("v", "0"):
        raise InvalidOffer("this is not SDP: it does not begin with v=0")
    return lines


def _first(lines: list[_Line], kind: str) -> str | None:
    return next((value for _, letter, value in lines if letter == kind), None)


def _section(lines: list[_Line]) -> MediaSection:
    number, _, value = lines[0]
    match = _MEDIA.fullmatch(value)
    if match is None or int(match[2]) > _MAX_PORT:
        raise InvalidOffer(f"line {number} of the SDP is not a media description")
    formats = tuple(match[4].split())
    if len(formats) > MAX_FORMATS:
        raise InvalidOffer(
            f"line {number} of the SDP has more than {MAX_FORMATS} formats"
        )
    return MediaSection(
        attributes=_attributes(lines[1:]),
        kind=match[1],
        port=int(match[2]),
        protocol=match[3],
        formats=formats,
        connection=_first(lines[1:], "c"),
    )


def _attributes(lines: list[_Line]) -> tuple[Attribute, ...]:
    found: list[Attribute] = []
    for number, letter, text in lines:
        if letter != "a":
            continue
        name, colon, value = text.partition(":")
        if not name:
            raise InvalidOffer(f"line {number} of the SDP is an attribute without name")
        if len(found) == MAX_ATTRIBUTES:
            raise InvalidOffer(
                f"a section of the SDP has more than {MAX_ATTRIBUTES} attributes "
                f"(line {number})"
            )
        found.append((name, value if colon else None))
    return tuple(found)


def _text(head: str, connection: str | None, attributes: tuple[Attribute, ...]) -> str:
    lines = [head]
    if connection is not None:
        lines.append(f"c={connection}")
    for name, value in attributes:
        lines.append(f"a={name}" if value is None else f"a={name}:{value}")
    return "\r\n".join(lines) + "\r\n"
