"""Answers to publishers (RFC 9725 section 4.2): one codec of each kind, received as it comes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from live777py.errors import UnsupportedCodec, UnusableOffer
from live777py.protocol.codecs import Codec, Kind
from live777py.protocol.extensions import FORWARDED, Extension
from live777py.protocol.profiles import FORWARDED_CODECS
from live777py.protocol.sdp import MediaSection
from live777py.rtc.answer import AnsweredSection, LocalParameters, write_answer
from live777py.rtc.codecs import (
    OfferedCodec,
    codec_attributes,
    extension_attributes,
    offered_codecs,
    offered_extensions,
    offered_names,
)
from live777py.rtc.offer import Offer, OfferedSection, RemoteParameters, read_offer

TRANSPORT_CC = "transport-cc"

REMB = "goog-remb"

#: The RTCP feedback that we send to publishers, in the order of the answer. `TRANSPORT_CC`
#: goes with its header extension and takes REMB's place: a sender follows one of them.
PUBLISHER_FEEDBACK: tuple[str, ...] = (
    "nack",
    "nack pli",
    "ccm fir",
    REMB,
    TRANSPORT_CC,
)


@dataclass(frozen=True, slots=True)
class ReceivedMedia:
    """One kind of media that a publisher will send.

    Attributes:
        mid: the tag of its section.
        kind: audio or video.
        codec: as offered; the stream's parameter sets may know better.
        payload_type: under which it comes.
        rtx_payload_type: of retransmissions, None when there are none.
        extensions: the header extensions that were answered, by id.
        feedback: the RTCP feedback that may be sent.
        ssrcs: announced for media (not for retransmissions); often empty with simulcast.
        rids: announced simulcast encodings.
    """

    mid: str
    kind: Kind
    codec: Codec
    payload_type: int
    rtx_payload_type: int | None
    extensions: dict[int, Extension]
    feedback: frozenset[str]
    ssrcs: tuple[int, ...]
    rids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublisherAnswer:
    """An answer, and what it means for the transport and for the tracks."""

    sdp: str
    remote: RemoteParameters
    media: tuple[ReceivedMedia, ...]


def answer_publisher(
    offer_text: str,
    local: LocalParameters,
    feedback: tuple[str, ...] = PUBLISHER_FEEDBACK,
) -> PublisherAnswer:
    """Answer a WHIP offer.

    Of each section the first codec that we forward is kept, with its retransmissions.

    Args:
        offer_text: the SDP of the client.
        local: what our side is.
        feedback: the RTCP feedback that we are able to send.

    Raises:
        InvalidOffer: the offer is malformed or lacks what WebRTC needs.
        UnusableOffer: it does not send, or more than one audio or video.
        UnsupportedCodec: a section has no codec that we forward.
    """
    offer = read_offer(offer_text)
    _check_directions(offer)
    media = []
    answered = {}
    for kind, section in offer.acceptable:
        chosen = _choose(section, kind)
        answered[section.mid], received = _answer(
            offer, section, kind, chosen, feedback
        )
        media.append(received)
    _check_payload_types(media)
    return PublisherAnswer(
        write_answer(offer, local, answered), offer.remote, tuple(media)
    )


def _check_directions(offer: Offer) -> None:
    kinds = set()
    for kind, section in offer.acceptable:
        if section.direction not in ("sendonly", "sendrecv"):
            raise UnusableOffer(
                f"the {kind} section is {section.direction}: a publisher has to offer "
                "sendonly"
            )
        if kind in kinds:
            raise UnusableOffer(
                f"the offer has more than one {kind} section: a stream has one"
            )
        kinds.add(kind)


def _choose(section: OfferedSection, kind: Kind) -> OfferedCodec:
    codecs = offered_codecs(section.media, kind)
    if not codecs:
        raise UnsupportedCodec(
            f"the publisher's {kind} is {offered_names(section.media) or 'unnamed'}; "
            f"this server forwards {', '.join(FORWARDED_CODECS[kind])}"
        )
    return codecs[0]


def _answer(
    offer: Offer,
    section: OfferedSection,
    kind: Kind,
    chosen: OfferedCodec,
    feedback: tuple[str, ...],
) -> tuple[AnsweredSection, ReceivedMedia]:
    wanted = FORWARDED | {Extension.MID}
    if TRANSPORT_CC in feedback and TRANSPORT_CC in chosen.feedback:
        wanted |= {Extension.TRANSPORT_CC}
    extensions = offered_extensions(
        (section.media, offer.description), wanted, "recvonly"
    )
    has_numbers = any(e.extension is Extension.TRANSPORT_CC for e in extensions)
    unused = REMB if has_numbers else TRANSPORT_CC
    agreed = [n for n in feedback if n in chosen.feedback and n != unused]
    numbers = [chosen.payload_type]
    if chosen.rtx_payload_type is not None:
        numbers.append(chosen.rtx_payload_type)
    return (
        AnsweredSection(
            direction="recvonly",
            formats=tuple(map(str, numbers)),
            before=extension_attributes(extensions),
            after=codec_attributes(
                chosen.codec, chosen.payload_type, chosen.rtx_payload_type, agreed
            ),
        ),
        ReceivedMedia(
            mid=section.mid,
            kind=kind,
            codec=chosen.codec,
            payload_type=chosen.payload_type,
            rtx_payload_type=chosen.rtx_payload_type,
            extensions={e.id: e.extension for e in extensions},
            feedback=frozenset(agreed),
            ssrcs=_ssrcs(section.media),
            rids=_rids(section.media),
        ),
    )


def _ssrcs(media: MediaSection) -> tuple[int, ...]:
    retransmissions = set()
    for value in media.all("ssrc-group"):
        semantics, *members = value.split() or [""]
        if semantics == "FID":
            retransmissions.update(members[1:])
    numbers = dict.fromkeys(value.partition(" ")[0] for value in media.all("ssrc"))
    return tuple(
        int(n)
        for n in numbers
        if n not in retransmissions
        and re.fullmatch("[0-9]{1,10}", n)
        and int(n) >> 32 == 0
    )


def _rids(media: MediaSection) -> tuple[str, ...]:
    words = (value.split() for value in media.all("rid"))
    return tuple(dict.fromkeys(w[0] for w in words if w[1:2] == ["send"]))


def _check_payload_types(media: list[ReceivedMedia]) -> None:
    # In a bundle the payload type alone tells the sections apart (RFC 9143 section 9.2).
    numbers = [m.payload_type for m in media]
    numbers += [m.rtx_payload_type for m in media if m.rtx_payload_type is not None]
    if len(set(numbers)) != len(numbers):
        raise UnusableOffer("the offer uses one payload type for two codecs")
