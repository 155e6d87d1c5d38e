"""The payload types of a media section: which codecs it offers, and how they are answered."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from live777py.errors import InvalidOffer
from live777py.protocol.codecs import Codec, Kind
from live777py.protocol.extensions import URIS, Extension
from live777py.protocol.profiles import FORWARDED_CODECS
from live777py.protocol.sdp import Attribute, Attributes, MediaSection

#: Payload types that need no rtpmap (RFC 3551 table 4), as far as browsers use them.
_STATIC = {0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000"}

#: With RTCP on the same port these look like RTCP packets (RFC 5761 section 4).
_RTCP_RANGE = range(64, 96)

#: Where the ids of one-byte header extensions end (RFC 8285 section 4.2).
_MAX_EXTENSION_ID = 14

#: What one payload type may carry. Parameters are kept as long as the session lives, so their
#: sum over a section is bounded too; real offers have some 10 for each, and 60 in all.
MAX_PARAMETERS = 32
MAX_FMTP_CHARACTERS = 1024
MAX_SECTION_PARAMETERS = 512
MAX_FEEDBACK = 32

_NUMBER = re.compile("[0-9]{1,3}")
_RTPMAP = re.compile(
    r"([0-9]{1,3}) +([^ /]{1,64})/([1-9][0-9]{0,6})(?:/([1-9][0-9]?))?"
)
_EXTMAP = re.compile(r"([0-9]{1,4})(?:/([a-z]+))? +(\S+)(?: .*)?")

#: The same by codec.
STATIC_PAYLOAD_TYPES = {codec: number for number, codec in _STATIC.items()}

_URI_OF = {extension: uri for uri, extension in URIS.items()}


@dataclass(frozen=True, slots=True)
class OfferedCodec:
    """One payload type of a section that carries a codec we forward.

    Attributes:
        codec: what it is.
        payload_type: under which number.
        rtx_payload_type: of its retransmissions (RFC 4588), None when not offered.
        feedback: the RTCP feedback offered for it, such as "nack pli".
    """

    codec: Codec
    payload_type: int
    rtx_payload_type: int | None
    feedback: frozenset[str]


@dataclass(frozen=True, slots=True)
class OfferedExtension:
    """A header extension, the id that the offer gives it, and its direction there."""

    extension: Extension
    id: int
    direction: str


def offered_codecs(section: MediaSection, kind: Kind) -> tuple[OfferedCodec, ...]:
    """The codecs of a section that we forward, in its order.

    What is not media of its own (rtx, red, FEC, comfort noise, telephone events), what we do
    not know and what is malformed is left out.

    Raises:
        InvalidOffer: it has more parameters or feedback than any real client's.
    """
    maps = _rtpmaps(section)
    formats = _formats(section, maps)
    feedback = _feedback(section, maps)
    rtx: dict[str, int] = {}
    for pt, (name, _, _) in maps.items():
        if name.lower() == "rtx":
            rtx.setdefault(dict(formats[pt]).get("apt", ""), pt)
    names = {name.lower(): name for name in FORWARDED_CODECS[kind]}
    found = []
    for pt, (name, clock_rate, channels) in maps.items():
        if name.lower() not in names:
            continue
        codec = Codec(
            kind,
            names[name.lower()],
            clock_rate,
            channels if kind == "audio" else 1,
            formats[pt],
        )
        found.append(OfferedCodec(codec, pt, rtx.get(str(pt)), feedback[pt]))
    return tuple(found)


def offered_names(section: MediaSection) -> str:
    """The encoding names of a section, for a sentence."""
    return ", ".join(dict.fromkeys(n for n, _, _ in _rtpmaps(section).values()))


def codec_attributes(
    codec: Codec, payload_type: int, rtx: int | None, feedback: Collection[str]
) -> list[Attribute]:
    """The attributes that describe a payload type, and its rtx, in an answer."""
    rtpmap = f"{payload_type} {codec.name}/{codec.clock_rate}"
    if codec.channels > 1:
        rtpmap += f"/{codec.channels}"
    attributes: list[Attribute] = [("rtpmap", rtpmap)]
    attributes += [("rtcp-fb", f"{payload_type} {name}") for name in feedback]
    if codec.parameters:
        attributes.append(("fmtp", f"{payload_type} {codec.fmtp}"))
    if rtx is not None:
        attributes.append(("rtpmap", f"{rtx} rtx/{codec.clock_rate}"))
        attributes.append(("fmtp", f"{rtx} apt={payload_type}"))
    return attributes


def offered_extensions(
    levels: tuple[Attributes, ...], wanted: Collection[Extension], unless: str
) -> tuple[OfferedExtension, ...]:
    """The header extensions of a section that are wanted, in the offer's order.

    Args:
        levels: the section and the session above it.
        wanted: those to keep.
        unless: the direction, seen from the offerer, that makes an extension useless.
    """
    found: dict[Extension, OfferedExtension] = {}
    for value in (value for level in levels for value in level.all("extmap")):
        match = _EXTMAP.fullmatch(value)
        if match is None or match[2] in (unless, "inactive"):
            continue
        extension = URIS.get(match[3])
        number = int(match[1])
        taken = any(number == other.id for other in found.values())
        if extension is None or extension not in wanted or taken:
            continue
        if 1 <= number <= _MAX_EXTENSION_ID:
            offered = OfferedExtension(extension, number, match[2] or "sendrecv")
            found.setdefault(extension, offered)
    return tuple(found.values())


def extension_attributes(extensions: tuple[OfferedExtension, ...]) -> list[Attribute]:
    """The `extmap` lines of an answer; a direction is turned round (RFC 8285 section 7)."""
    turned = {"sendonly": "/recvonly", "recvonly": "/sendonly"}
    return [
        ("extmap", f"{e.id}{turned.get(e.direction, '')} {_URI_OF[e.extension]}")
        for e in extensions
    ]


def _payload_types(section: MediaSection) -> list[int]:
    numbers = [int(f) for f in section.formats if _NUMBER.fullmatch(f)]
    return [n for n in dict.fromkeys(numbers) if n < 128 and n not in _RTCP_RANGE]


def _rtpmaps(section: MediaSection) -> dict[int, tuple[str, int, int]]:
    """Name, clock rate and channels of every payload type, in the order of the m= line."""
    lines = {pt: f"{pt} {text}" for pt, text in _STATIC.items()}
    for value in section.all("rtpmap"):
        number = value.partition(" ")[0]
        if _NUMBER.fullmatch(number):
            lines[int(number)] = value
    found = {}
    for pt in _payload_types(section):
        match = _RTPMAP.fullmatch(lines.get(pt, ""))
        if match is not None:
            found[pt] = (match[2], int(match[3]), int(match[4] or 1))
    return found


def _by_payload_type(section: MediaSection, name: str) -> dict[str, list[str]]:
    """The values of an attribute by the payload type before the first blank.

    Made once for a section: with a pass for each payload type, the time would be the product
    of two numbers that are the client's choice.
    """
    found: dict[str, list[str]] = {}
    for value in section.all(name):
        number, _, text = value.partition(" ")
        found.setdefault(number, []).append(text)
    return found


def _formats(
    section: MediaSection, payload_types: Iterable[int]
) -> dict[int, tuple[tuple[str, str], ...]]:
    lines = _by_payload_type(section, "fmtp")
    found = {pt: _parameters(pt, lines.get(str(pt), [])) for pt in payload_types}
    if sum(map(len, found.values())) > MAX_SECTION_PARAMETERS:
        raise InvalidOffer(
            f"the {section.kind} section has more than {MAX_SECTION_PARAMETERS} format "
            "parameters"
        )
    return found


def _parameters(payload_type: int, lines: list[str]) -> tuple[tuple[str, str], ...]:
    if sum(map(len, lines)) > MAX_FMTP_CHARACTERS:
        raise InvalidOffer(
            f"the fmtp of payload type {payload_type} is longer than "
            f"{MAX_FMTP_CHARACTERS} characters"
        )
    parameters: dict[str, str] = {}
    for item in (item for text in lines for item in text.split(";")):
        name, _, setting = item.strip().partition("=")
        if name:
            parameters.setdefault(name.strip().lower(), setting.strip())
    if len(parameters) > MAX_PARAMETERS:
        raise InvalidOffer(
            f"the fmtp of payload type {payload_type} has more than {MAX_PARAMETERS} "
            "parameters"
        )
    return tuple(parameters.items())


def _feedback(
    section: MediaSection, payload_types: Iterable[int]
) -> dict[int, frozenset[str]]:
    # FFmpeg once wrote "a=rtcp-fb106 nack"; that is some other attribute, and ignored.
    lines = _by_payload_type(section, "rtcp-fb")
    for number, names in lines.items():
        if len(names) > MAX_FEEDBACK:
            raise InvalidOffer(
                f"the {section.kind} section has more than {MAX_FEEDBACK} rtcp-fb lines "
                f"for payload type {number[:3]}"
            )
    of_all = _names(lines.get("*", []))
    return {pt: of_all | _names(lines.get(str(pt), [])) for pt in payload_types}


def _names(lines: list[str]) -> frozenset[str]:
    return frozenset(" ".join(line.split()) for line in lines)
