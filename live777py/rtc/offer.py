"""Offers of WHIP and WHEP clients: read, checked, and reduced to what an answer is made from.

The checks are those of RFC 9725 section 4.4 and draft-ietf-wish-whep section 4.6, which are
the same. What a *publisher* or a *viewer* may offer is checked by their own modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from live777py.errors import InvalidOffer, UnusableOffer
from live777py.protocol.codecs import KINDS, Kind
from live777py.protocol.sdp import (
    MAX_SECTIONS,
    Attributes,
    MediaSection,
    SessionDescription,
    parse,
)
from live777py.protocol.sdpfrag import PWD, UFRAG

#: Hash functions that certificates may be fingerprinted with, and their digests' lengths. SHA-1
#: and MD5 are too weak (RFC 8122 section 5), all others are unknown to our DTLS.
HASHES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}

#: Transport profiles that mean DTLS-SRTP over UDP (RFC 8829 section 5.1.2).
PROTOCOLS = frozenset(
    {"UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP"}
)

#: What is kept of an offer as long as its session lives is bounded: certificates are hashed
#: in a few ways, and simulcast has a few encodings with short names (RFC 8852 section 3.1).
MAX_FINGERPRINTS = 16
MAX_RIDS = 16
MAX_RID_CHARACTERS = 255

_MID = re.compile(r"[!-~]{1,64}")
_DIGEST = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2})*")


@dataclass(frozen=True, slots=True)
class RemoteParameters:
    """What the transport needs to know of the other side.

    Attributes:
        ufrag, pwd: its ICE credentials.
        fingerprints: (hash name, digest) pairs of its certificate, at least one.
        dtls_role: *our* role in the handshake.
        rtcp_rsize: whether RTCP may be of reduced size in all sections (RFC 5506).
    """

    ufrag: str
    pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    dtls_role: Literal["server", "client"]
    rtcp_rsize: bool

    def __repr__(self) -> str:
        return f"RemoteParameters(ufrag={self.ufrag!r}, dtls_role={self.dtls_role!r})"


@dataclass(frozen=True, slots=True)
class OfferedSection:
    """One media section with what the levels above say filled in.

    Attributes:
        media: the section itself.
        mid: its tag; made up when it has none, with a blank, which no real one has.
        has_mid: whether the tag may be used in the answer.
        direction: seen from the client.
        kind: "audio" or "video" for a section that can be accepted; None for one that is
            rejected by the client (port 0) or cannot be accepted (data channels).
    """

    media: MediaSection
    mid: str
    has_mid: bool
    direction: str
    kind: Kind | None


@dataclass(frozen=True, slots=True)
class Offer:
    """A checked offer.

    Attributes:
        description: all of it.
        sections: as many as the offer has, in its order; at least one can be accepted.
        bundle: the tags of the BUNDLE group that exist; empty without such a group.
        remote: what the transport needs.
    """

    description: SessionDescription
    sections: tuple[OfferedSection, ...]
    bundle: tuple[str, ...]
    remote: RemoteParameters

    @property
    def acceptable(self) -> tuple[tuple[Kind, OfferedSection], ...]:
        """The sections that can be accepted, each with its kind."""
        return tuple((s.kind, s) for s in self.sections if s.kind is not None)


def read_offer(text: str, *, may_be_lite: bool = False) -> Offer:
    """Read and check an offer.

    Args:
        text: its SDP.
        may_be_lite: our side checks connectivity, so that the other one need not.

    Raises:
        InvalidOffer: it is malformed or lacks what WebRTC needs.
        UnusableOffer: it is well-formed, but no peer of ours can be at its other end.
    """
    description = parse(text)
    if not description.media:
        raise InvalidOffer("the offer has no media section")
    groups = _bundle_groups(description)
    sections = _sections(description, groups)
    bundle = _bundle(groups, sections)
    order = sorted(
        sections,
        key=lambda s: bundle.index(s.mid) if s.mid in bundle else len(bundle),
    )
    # Who is bundled may leave the transport's attributes out of all sections but the tagged
    # one, which is the first of the group (RFC 9143 section 7.2).
    levels: list[Attributes] = [
        *(s.media for s in order if s.kind is not None or s.media.port),
        description,
    ]
    _check_transport(description, sections, may_be_lite)
    _check_rids(sections)
    return Offer(
        description,
        sections,
        bundle,
        RemoteParameters(
            ufrag=_credential(levels, "ice-ufrag", UFRAG),
            pwd=_credential(levels, "ice-pwd", PWD),
            fingerprints=_fingerprints(levels),
            dtls_role=_dtls_role(levels),
            rtcp_rsize=all(
                s.media.has("rtcp-rsize") for s in sections if s.kind is not None
            ),
        ),
    )


def _bundle_groups(description: SessionDescription) -> list[list[str]]:
    groups = [value.split() for value in description.all("group")]
    bundles = [group[1:] for group in groups if group[:1] == ["BUNDLE"]]
    if sum(map(len, bundles)) > MAX_SECTIONS:
        raise InvalidOffer(
            f"the offer's BUNDLE groups name more than {MAX_SECTIONS} sections"
        )
    return bundles


def _sections(
    description: SessionDescription, groups: list[list[str]]
) -> tuple[OfferedSection, ...]:
    mids = [section.mid for section in description.media]
    named = [mid for mid in mids if mid is not None]
    if len(set(named)) != len(named):
        raise InvalidOffer("two media sections of the offer have the same mid")
    if not all(map(_MID.fullmatch, named)):
        raise InvalidOffer("a mid of the offer is empty, too long or has blanks")
    # A group that names sections which do not name themselves can only mean them in order.
    unclaimed = iter(
        [m for group in groups for m in group if _MID.fullmatch(m) and m not in named]
    )
    default = description.direction or "sendrecv"
    sections = []
    for index, (media, mid) in enumerate(zip(description.media, mids, strict=True)):
        tag = mid or next(unclaimed, None)
        sections.append(
            OfferedSection(
                media,
                tag or f"section {index}",
                tag is not None,
                media.direction or default,
                _kind(media),
            )
        )
    return tuple(sections)


def _kind(media: MediaSection) -> Kind | None:
    kind = next((kind for kind in KINDS if kind == media.kind), None)
    # Port 0 is a refusal, unless the section only exists within the bundle (RFC 9143 section 6).
    if kind is None or (media.port == 0 and not media.has("bundle-only")):
        return None
    if media.protocol.upper() not in PROTOCOLS:
        raise UnusableOffer(
            f"the {kind} section's transport is {media.protocol}: only DTLS-SRTP over UDP "
            "(UDP/TLS/RTP/SAVPF) is possible"
        )
    return kind


def _bundle(
    groups: list[list[str]], sections: tuple[OfferedSection, ...]
) -> tuple[str, ...]:
    tagged = [s.mid for s in sections if s.has_mid]
    # FFmpeg names "0 1" even when there is only one of them.
    existing = [tuple(m for m in dict.fromkeys(g) if m in tagged) for g in groups]
    accepted = {s.mid for s in sections if s.kind is not None}
    if not accepted:
        raise UnusableOffer("the offer has no audio or video section")
    for group in existing:
        if accepted <= set(group):
            return group
    if len([s for s in sections if s.kind is not None]) > 1:
        raise UnusableOffer(
            "the offer's audio and video are not in one BUNDLE group: all media has to "
            "share one transport"
        )
    return ()


def _check_transport(
    description: SessionDescription,
    sections: tuple[OfferedSection, ...],
    may_be_lite: bool,
) -> None:
    if description.has("ice-lite") and not may_be_lite:
        raise UnusableOffer(
            "the offer is of an ICE-lite peer, and so is this server: neither would begin"
        )
    accepted = [s.media for s in sections if s.kind is not None]
    if not any(m.has("rtcp-mux") or m.has("rtcp-mux-only") for m in accepted):
        raise UnusableOffer(
            "the offer lacks rtcp-mux: RTP and RTCP have to share a port"
        )


def _check_rids(sections: tuple[OfferedSection, ...]) -> None:
    for section in sections:
        if section.kind is None:
            continue
        rids = [value.partition(" ")[0] for value in section.media.all("rid")]
        if len(rids) > MAX_RIDS or any(len(rid) > MAX_RID_CHARACTERS for rid in rids):
            raise InvalidOffer(
                f"the {section.kind} section has more than {MAX_RIDS} rids, or one of more "
                f"than {MAX_RID_CHARACTERS} characters"
            )


def _values(levels: list[Attributes], name: str) -> Iterator[str]:
    """The values of an attribute at the first level that has it."""
    return next((level.all(name) for level in levels if level.first(name)), iter(()))


def _credential(levels: list[Attributes], name: str, grammar: re.Pattern[str]) -> str:
    value = next(_values(levels, name), None)
    if value is None:
        raise InvalidOffer(f"the offer has no {name}")
    if not grammar.fullmatch(value):
        raise InvalidOffer(f"the offer's {name} is not as RFC 8839 wants it")
    return value


def _fingerprints(levels: list[Attributes]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    algorithms: list[str] = []
    for value in _values(levels, "fingerprint"):
        algorithm, _, digest = value.partition(" ")
        algorithm, digest = algorithm.lower(), digest.strip().upper()
        algorithms.append(algorithm)
        length = HASHES.get(algorithm)
        if length is None:
            continue
        if len(digest) != 3 * length - 1 or not _DIGEST.fullmatch(digest):
            raise InvalidOffer(f"the offer's {algorithm} fingerprint is malformed")
        if len(found) == MAX_FINGERPRINTS:
            raise InvalidOffer(
                f"the offer has more than {MAX_FINGERPRINTS} fingerprints in one section"
            )
        found.append((algorithm, digest))
    if not algorithms:
        raise InvalidOffer("the offer has no fingerprint: DTLS could not be trusted")
    if not found:
        raise UnusableOffer(
            f"the offer's fingerprint is {algorithms[0][:20]}: use {', '.join(HASHES)}"
        )
    return tuple(found)


def _dtls_role(levels: list[Attributes]) -> Literal["server", "client"]:
    setup = next(_values(levels, "setup"), "actpass")
    match setup:
        # A server that never sends first is best off waiting (RFC 8842 section 5.3).
        case "actpass" | "active":
            return "server"
        case "passive":
            return "client"
        case "holdconn":
            raise UnusableOffer("the offer holds the connection (setup:holdconn)")
        case _:
            raise InvalidOffer(f"the offer's setup is {setup[:20]!r}")
