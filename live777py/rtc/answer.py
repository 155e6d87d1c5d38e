"""Answers as text: what publishers' and viewers' answers have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from live777py.protocol.candidate import Candidate
from live777py.protocol.sdp import Attribute, MediaSection, SessionDescription
from live777py.rtc.offer import Offer, OfferedSection

#: We are an agent of RFC 8445 (its section 10 asks for this), and we do not trickle: all
#: candidates are in the answer.
ICE_OPTIONS = "ice2"

_NOWHERE = "IN IP4 0.0.0.0"


@dataclass(frozen=True, slots=True)
class LocalParameters:
    """What our side puts into an answer.

    Attributes:
        ufrag, pwd: the ICE credentials of this session.
        fingerprint: of our certificate, as "sha-256 AA:BB:…".
        candidates: all of them, first the one that a client should use.
    """

    ufrag: str
    pwd: str
    fingerprint: str
    candidates: tuple[Candidate, ...]

    def __repr__(self) -> str:
        return f"LocalParameters(ufrag={self.ufrag!r}, candidates={self.candidates!r})"


@dataclass(frozen=True, slots=True)
class AnsweredSection:
    """The part of an accepted section that depends on what is answered.

    Attributes:
        direction: seen from us.
        formats: the payload types, the preferred one first.
        before: attributes that stand before the direction, such as header extensions.
        after: those that stand after `rtcp-mux`: codecs and SSRCs.
    """

    direction: str
    formats: tuple[str, ...]
    before: Sequence[Attribute] = ()
    after: Sequence[Attribute] = ()


def write_answer(
    offer: Offer,
    local: LocalParameters,
    answered: dict[str, AnsweredSection],
    *,
    is_lite: bool = True,
) -> str:
    """Write the answer to an offer.

    Sections keep their order and tags (RFC 3264 section 6, RFC 8829 section 5.3.1).

    Args:
        offer: what is answered.
        local: what our side is.
        answered: by mid, the sections that are accepted; all others are rejected.
        is_lite: our side only answers connectivity checks (RFC 8445 section 2.5).
    """
    bundle = [mid for mid in offer.bundle if mid in answered]
    # The candidates belong into one section, that which tags the bundle.
    tagged = bundle[0] if bundle else next(iter(answered))
    media = tuple(
        _accepted(offer, section, local, answered[section.mid], section.mid == tagged)
        if section.mid in answered
        else _rejected(section)
        for section in offer.sections
    )
    attributes: list[Attribute] = []
    if bundle:
        attributes.append(("group", f"BUNDLE {' '.join(bundle)}"))
    if offer.description.has("extmap-allow-mixed"):
        attributes.append(("extmap-allow-mixed", None))
    if is_lite:
        attributes.append(("ice-lite", None))
    attributes.append(("ice-options", ICE_OPTIONS))
    return str(
        SessionDescription(
            attributes=tuple(attributes),
            origin=f"- {_session_id(local)} 1 {_NOWHERE}",
            media=media,
        )
    )


def _session_id(local: LocalParameters) -> int:
    """A number of 63 bits that differs with the session (RFC 8829 section 5.2.1)."""
    digest = hashlib.sha256(f"{local.ufrag} {local.fingerprint}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def _accepted(
    offer: Offer,
    section: OfferedSection,
    local: LocalParameters,
    answered: AnsweredSection,
    tagged: bool,
) -> MediaSection:
    port, connection = _default_destination(local)
    setup = "passive" if offer.remote.dtls_role == "server" else "active"
    attributes: list[Attribute] = []
    if tagged and local.candidates:
        attributes += [("candidate", str(c)) for c in local.candidates]
        attributes.append(("end-of-candidates", None))
    # Of a bundle only the tagged section needs these; clients read them from any.
    attributes += [
        ("ice-ufrag", local.ufrag),
        ("ice-pwd", local.pwd),
        ("fingerprint", local.fingerprint),
        ("setup", setup),
    ]
    if section.has_mid:
        attributes.append(("mid", section.mid))
    if section.media.has("extmap-allow-mixed"):
        attributes.append(("extmap-allow-mixed", None))
    attributes += answered.before
    attributes.append((answered.direction, None))
    # RFC 9725 section 4.4.1 wants both, in answers too.
    attributes += [("rtcp-mux", None), ("rtcp-mux-only", None)]
    if section.media.has("rtcp-rsize"):
        attributes.append(("rtcp-rsize", None))
    attributes += answered.after
    return MediaSection(
        attributes=tuple(attributes),
        kind=section.media.kind,
        port=port,
        protocol=section.media.protocol,
        formats=answered.formats,
        connection=connection,
    )


def _rejected(section: OfferedSection) -> MediaSection:
    attributes: list[Attribute] = []
    if section.has_mid:
        attributes.append(("mid", section.mid))
    return MediaSection(
        attributes=(*attributes, ("inactive", None)),
        kind=section.media.kind,
        port=0,
        protocol=section.media.protocol,
        formats=section.media.formats or ("0",),
        connection=_NOWHERE,
    )


def _default_destination(local: LocalParameters) -> tuple[int, str]:
    if not local.candidates:
        return 9, _NOWHERE
    first = local.candidates[0]
    family = "IP6" if ":" in first.host else "IP4"
    return first.port, f"IN {family} {first.host}"
