"""Offers that we make to another server, and the answers to them; pure, values to text and back.

One offer publishes or watches, one section for each kind, all in one bundle on one port.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from live777py.errors import InvalidAnswer, InvalidOffer
from live777py.protocol.candidate import Candidate
from live777py.protocol.codecs import Codec, Kind
from live777py.protocol.extensions import Extension
from live777py.protocol.sdp import (
    Attribute,
    Attributes,
    MediaSection,
    SessionDescription,
    parse,
)
from live777py.protocol.sdpfrag import PWD, UFRAG
from live777py.rtc.answer import ICE_OPTIONS, LocalParameters
from live777py.rtc.codecs import (
    STATIC_PAYLOAD_TYPES,
    OfferedExtension,
    codec_attributes,
    extension_attributes,
    offered_codecs,
    offered_extensions,
    offered_names,
)
from live777py.rtc.offer import HASHES, MAX_FINGERPRINTS
from live777py.rtc.publisher_answer import REMB, TRANSPORT_CC

_NOWHERE = "IN IP4 0.0.0.0"
_PROTOCOL = "UDP/TLS/RTP/SAVPF"

#: Feedback that we understand, by kind.
FEEDBACK: dict[Kind, tuple[str, ...]] = {
    "video": ("nack", "nack pli", "ccm fir"),
    "audio": ("nack",),
}

#: Dynamic payload types (RFC 3551 section 6), those below 64 last: old servers refuse them.
_DYNAMIC = (*range(96, 128), *range(35, 64))

#: The payload type of a codec, and of its retransmissions.
_Numbers: TypeAlias = tuple[int, int | None]

_MAX_CANDIDATES = 64

#: Characters of another server's codecs that are repeated in a sentence.
_MAX_NAMES = 100
_DIGEST = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2})*")
_SSRC = re.compile(r"([0-9]{1,10})(?: .*)?")
_GROUP = re.compile(r"FID ([0-9]{1,10}) ([0-9]{1,10})")


@dataclass(frozen=True, slots=True)
class OutgoingMedia:
    """One section of an offer of ours.

    Attributes:
        kind: "audio" or "video".
        codecs: one for each payload type, the preferred one first.
        ssrc: of what we send; None where we only receive.
        rtx_ssrc: of our retransmissions; None where we only receive.
        extensions: header extensions that may come, or that we may send.
    """

    kind: Kind
    codecs: tuple[Codec, ...]
    ssrc: int | None = None
    rtx_ssrc: int | None = None
    extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class AnsweredMedia:
    """What the other side made of one section.

    Attributes:
        kind: "audio" or "video".
        mid: its tag.
        is_accepted: whether there will be media in it.
        codecs: by payload type, in the answer's order.
        rtx: the payload type that is repaired, by that of the retransmissions.
        ssrcs: announced by the answer, in order, without those of retransmissions.
        rtx_ssrcs: the SSRC that is repaired, by that of the retransmissions.
        feedback: RTCP feedback by payload type.
        extensions: the header extensions that were accepted, by id.
        refusal: why there will be none although there might, in words for people; "" where there
            will be, or where the other side just has none to send.
    """

    kind: Kind
    mid: str
    is_accepted: bool
    codecs: dict[int, Codec]
    rtx: dict[int, int]
    ssrcs: tuple[int, ...]
    rtx_ssrcs: dict[int, int]
    feedback: dict[int, frozenset[str]]
    extensions: dict[int, Extension]
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A checked answer.

    Attributes:
        ufrag, pwd: the other side's ICE credentials.
        is_lite: whether it is an ICE-lite agent.
        candidates: from all sections, each once, UDP ones at an address only.
        fingerprints: (hash name, digest) pairs of its certificate.
        dtls_role: *our* role in the handshake.
        rtcp_rsize: whether RTCP may be of reduced size (RFC 5506).
        media: in the order of the offer's sections.
    """

    ufrag: str
    pwd: str
    is_lite: bool
    candidates: tuple[Candidate, ...]
    fingerprints: tuple[tuple[str, str], ...]
    dtls_role: Literal["server", "client"]
    rtcp_rsize: bool
    media: tuple[AnsweredMedia, ...]

    def __repr__(self) -> str:
        return f"Answer(ufrag={self.ufrag!r}, media={self.media!r})"

    def section(self, kind: Kind) -> AnsweredMedia | None:
        """The accepted section of a kind."""
        return next((m for m in self.media if m.kind == kind and m.is_accepted), None)


def write_offer(
    media: Sequence[OutgoingMedia],
    local: LocalParameters,
    *,
    session: int,
    cname: str,
    is_lite: bool = False,
    trickles: bool = False,
) -> str:
    """Write an offer that publishes where a section has an SSRC, and watches elsewhere.

    Args:
        media: at most one section of each kind.
        local: our side; the candidates go into the first section.
        session: a number that no other session of ours has.
        cname: the name of what we send (RFC 3550 section 6.5.1).
        is_lite: our side only answers connectivity checks (RFC 8445 section 2.5).
        trickles: more candidates may follow (RFC 8838).
    """
    numbers = _payload_types(media)
    sections = tuple(
        _section(index, section, local, numbers[index], cname, trickles)
        for index, section in enumerate(media)
    )
    mids = " ".join(str(index) for index in range(len(media)))
    return str(
        SessionDescription(
            attributes=(
                ("group", f"BUNDLE {mids}"),
                *((("ice-lite", None),) if is_lite else ()),
                ("ice-options", f"{ICE_OPTIONS} trickle" if trickles else ICE_OPTIONS),
                ("msid-semantic", "WMS *"),
            ),
            origin=f"- {session} 1 IN IP4 0.0.0.0",
            media=sections,
        )
    )


def _payload_types(media: Sequence[OutgoingMedia]) -> list[list[_Numbers]]:
    """The payload types of each section's codecs; what is preferred has those that all take."""
    free = iter(_DYNAMIC)
    numbers: list[list[_Numbers]] = [[] for _ in media]
    for rank in range(max((len(section.codecs) for section in media), default=0)):
        for section, found in zip(media, numbers, strict=True):
            for codec in section.codecs[rank : rank + 1]:
                number = _static(codec)
                number = next(free) if number is None else number
                found.append((number, next(free) if codec.kind == "video" else None))
    return numbers


def _static(codec: Codec) -> int | None:
    """The payload type that a codec has for ever (RFC 3551 table 4)."""
    if codec.channels != 1 or codec.parameters:
        return None
    return STATIC_PAYLOAD_TYPES.get(f"{codec.name}/{codec.clock_rate}")


def _section(
    index: int,
    media: OutgoingMedia,
    local: LocalParameters,
    numbers: list[_Numbers],
    cname: str,
    trickles: bool,
) -> MediaSection:
    sends = media.ssrc is not None
    attributes: list[Attribute] = []
    if index == 0:
        attributes += [("candidate", str(c)) for c in local.candidates]
        if not trickles:
            attributes.append(("end-of-candidates", None))
    attributes += [
        ("ice-ufrag", local.ufrag),
        ("ice-pwd", local.pwd),
        ("fingerprint", local.fingerprint),
        ("setup", "actpass"),
        ("mid", str(index)),
        ("sendonly" if sends else "recvonly", None),
    ]
    # An extension has one id in all sections of a bundle (RFC 9143 section 9.1).
    attributes += extension_attributes(
        tuple(OfferedExtension(e, int(e), "sendrecv") for e in media.extensions)
    )
    if sends:
        attributes.append(("msid", f"{cname} {media.kind}"))
    # RFC 9725 section 4.4.1 wants rtcp-mux-only too.
    attributes += [("rtcp-mux", None), ("rtcp-mux-only", None), ("rtcp-rsize", None)]
    formats: list[str] = []
    feedback = FEEDBACK[media.kind]
    if Extension.TRANSPORT_CC in media.extensions:
        feedback = (
            *feedback,
            *((REMB,) if media.kind == "video" else ()),
            TRANSPORT_CC,
        )
    for codec, (number, rtx) in zip(media.codecs, numbers, strict=True):
        attributes += codec_attributes(codec, number, rtx, feedback)
        formats += [str(n) for n in (number, rtx) if n is not None]
    if media.ssrc is not None:
        has_rtx = media.kind == "video" and media.rtx_ssrc is not None
        ssrcs = [media.ssrc]
        if has_rtx and media.rtx_ssrc is not None:
            ssrcs.append(media.rtx_ssrc)
            attributes.append(("ssrc-group", f"FID {media.ssrc} {media.rtx_ssrc}"))
        attributes += [("ssrc", f"{ssrc} cname:{cname}") for ssrc in ssrcs]
        attributes += [("ssrc", f"{s} msid:{cname} {media.kind}") for s in ssrcs]
    return MediaSection(
        attributes=tuple(attributes),
        kind=media.kind,
        port=9,
        protocol=_PROTOCOL,
        formats=tuple(formats),
        connection=_NOWHERE,
    )


def read_answer(text: str, offered: Sequence[OutgoingMedia]) -> Answer:
    """Read and check the answer to an offer of ours.

    Candidates, credentials, fingerprint and setup may be in any section or above all of them:
    with one bundle they are the same for all, and servers put them where they like.

    Raises:
        InvalidAnswer: it is malformed or accepts nothing.
    """
    try:
        description = parse(text)
        media = tuple(_answered(description, offered))
    except InvalidAnswer:
        raise
    except InvalidOffer as error:
        # The parser's words are those for offers.
        raise InvalidAnswer(
            f"the answer: {str(error).replace('the offer', 'it')}"
        ) from error
    if not any(section.is_accepted for section in media):
        raise InvalidAnswer("the answer accepts none of the sections that were offered")
    levels: list[Attributes] = [s for s in description.media if s.port or s.has("mid")]
    levels.append(description)
    return Answer(
        ufrag=_credential(levels, "ice-ufrag", UFRAG),
        pwd=_credential(levels, "ice-pwd", PWD),
        is_lite=any(level.has("ice-lite") for level in levels),
        candidates=tuple(usable_candidates(description)),
        fingerprints=_fingerprints(levels),
        dtls_role=_dtls_role(levels),
        rtcp_rsize=all(
            section.has("rtcp-rsize") for section in description.media if section.port
        ),
        media=media,
    )


def _answered(
    description: SessionDescription, offered: Sequence[OutgoingMedia]
) -> Iterator[AnsweredMedia]:
    if len(description.media) != len(offered):
        raise InvalidAnswer(
            f"the answer has {len(description.media)} media sections, "
            f"the offer {len(offered)}"
        )
    for index, (section, ours) in enumerate(
        zip(description.media, offered, strict=True)
    ):
        if section.kind != ours.kind:
            raise InvalidAnswer(
                f"section {index} of the answer is {section.kind[:20]!r}, "
                f"that of the offer {ours.kind!r}"
            )
        yield answered_section(description, section, ours, index)


def answered_section(
    description: SessionDescription,
    section: MediaSection,
    ours: OutgoingMedia,
    index: int,
) -> AnsweredMedia:
    """What the other side made of a section; `index` stands for a tag that it has not."""
    codecs = offered_codecs(section, ours.kind)
    wanted = "sendonly" if ours.ssrc is None else "recvonly"
    direction = section.direction or description.direction or "sendrecv"
    fits = direction in (wanted, "sendrecv")
    is_accepted = section.port != 0 and bool(codecs) and fits
    refusal = ""
    if section.port != 0 and fits and not codecs:
        names = offered_names(section)[:_MAX_NAMES] or "without a codec"
        refusal = f"its section is {names}, which we did not offer"
    elif not is_accepted and ours.ssrc is not None:
        # Who is asked for a kind, and has none, answers in the same way.
        fault = f"is {direction}" if section.port else "has port 0"
        refusal = f"its answer rejects the section, which {fault}"
    pairs = [
        (int(match[2]), int(match[1]))
        for match in map(_GROUP.fullmatch, section.all("ssrc-group"))
        if match is not None
    ]
    rtx_ssrcs = dict(pairs)
    named = [
        int(match[1])
        for match in map(_SSRC.fullmatch, section.all("ssrc"))
        if match is not None and int(match[1]) >> 32 == 0
    ]
    return AnsweredMedia(
        kind=ours.kind,
        mid=section.mid or str(index),
        is_accepted=is_accepted,
        codecs={c.payload_type: c.codec for c in codecs},
        rtx={
            c.rtx_payload_type: c.payload_type
            for c in codecs
            if c.rtx_payload_type is not None
        },
        ssrcs=tuple(s for s in dict.fromkeys(named) if s not in rtx_ssrcs),
        rtx_ssrcs=rtx_ssrcs,
        feedback={c.payload_type: c.feedback for c in codecs},
        extensions={
            e.id: e.extension
            for e in offered_extensions(
                (section, description),
                ours.extensions,
                "recvonly" if ours.ssrc is None else "sendonly",
            )
        },
        refusal=refusal,
    )


def usable_candidates(description: SessionDescription) -> Iterator[Candidate]:
    """The UDP candidates at an address that a description has anywhere, each once."""
    seen: set[tuple[str, int]] = set()
    levels = [*description.media, MediaSection(attributes=description.attributes)]
    found = itertools.chain.from_iterable(level.candidates for level in levels)
    for candidate in found:
        place = candidate.host, candidate.port
        is_fit = candidate.is_usable and candidate.port > 0
        if is_fit and place not in seen and len(seen) < _MAX_CANDIDATES:
            seen.add(place)
            yield replace(candidate, extensions=())


def _first(levels: list[Attributes], name: str) -> str | None:
    return next((v for v in (level.first(name) for level in levels) if v), None)


def _credential(levels: list[Attributes], name: str, grammar: re.Pattern[str]) -> str:
    value = _first(levels, name)
    if value is None or not grammar.fullmatch(value):
        raise InvalidAnswer(f"the answer has no usable {name}")
    return value


def _fingerprints(levels: list[Attributes]) -> tuple[tuple[str, str], ...]:
    found: dict[tuple[str, str], None] = {}
    for value in itertools.chain.from_iterable(
        level.all("fingerprint") for level in levels
    ):
        algorithm, _, digest = value.partition(" ")
        algorithm, digest = algorithm.lower(), digest.strip().upper()
        length = HASHES.get(algorithm, 0)
        is_whole = len(digest) == 3 * length - 1 and _DIGEST.fullmatch(digest)
        if length and is_whole and len(found) < MAX_FINGERPRINTS:
            found[algorithm, digest] = None
    if not found:
        raise InvalidAnswer(
            f"the answer has no usable fingerprint ({', '.join(HASHES)})"
        )
    return tuple(found)


def _dtls_role(levels: list[Attributes]) -> Literal["server", "client"]:
    match _first(levels, "setup"):
        case "active":
            return "server"
        # Without one the other side is passive (RFC 4145 section 4); actpass in an answer is
        # wrong, and those who write it wait (RFC 5763 section 5).
        case "passive" | "actpass" | None:
            return "client"
        case other:
            raise InvalidAnswer(f"the answer's setup is {other[:20]!r}")
