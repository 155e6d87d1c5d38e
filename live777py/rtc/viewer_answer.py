"""Answers to viewers (draft-ietf-wish-whep section 4): made from what is really published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from live777py.errors import UnsupportedCodec, UnusableOffer
from live777py.protocol.codecs import Codec, Kind
from live777py.protocol.extensions import FORWARDED, Extension
from live777py.protocol.profiles import (
    FORWARDED_CODECS,
    best_match,
    describe_all,
    describe_stream,
    is_stereo,
    lacks_fragments,
)
from live777py.protocol.sdp import Attribute, MediaSection
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

#: The RTCP feedback of viewers that we act on, in the order of the answer.
VIEWER_FEEDBACK = ("nack", "nack pli", "ccm fir", "rrtr")


#: What the sections of an offer, by mid, can carry.
_Codecs: TypeAlias = Mapping[str, tuple[OfferedCodec, ...]]


@dataclass(frozen=True, slots=True)
class Sender:
    """The SSRCs under which one kind of media is sent, and its retransmissions."""

    ssrc: int
    rtx_ssrc: int


@dataclass(frozen=True, slots=True)
class SentMedia:
    """One kind of media that a viewer will be sent.

    Attributes:
        mid: the tag of its section.
        kind: audio or video.
        codecs: what the viewer can play, as (codec as offered, payload type, payload type of
            retransmissions or None); the live codec first.
        extensions: the ids under which the viewer wants header extensions.
        feedback: the RTCP feedback that it may send for the first codec.
    """

    mid: str
    kind: Kind
    codecs: tuple[tuple[Codec, int, int | None], ...]
    extensions: dict[Extension, int]
    feedback: frozenset[str]

    def payload_type_for(self, codec: Codec) -> tuple[int, int | None] | None:
        """The payload types for a stream of this codec; None when it cannot be played."""
        best = best_match(codec, (offered for offered, _, _ in self.codecs))
        for offered, payload_type, rtx in self.codecs:
            if offered is best:
                return payload_type, rtx
        return None


@dataclass(frozen=True, slots=True)
class ViewerAnswer:
    """An answer, and what it means for the transport and for the tracks."""

    sdp: str
    remote: RemoteParameters
    media: tuple[SentMedia, ...]


@dataclass(frozen=True, slots=True)
class _Publication:
    """What an answer to a viewer depends on besides the offer."""

    source: Mapping[Kind, Codec] | None
    senders: Mapping[Kind, Sender]
    stream_id: str
    cname: str


def answer_viewer(
    offer_text: str,
    local: LocalParameters,
    source: Mapping[Kind, Codec] | None,
    senders: Mapping[Kind, Sender],
    *,
    stream_id: str,
    cname: str,
) -> ViewerAnswer:
    """Answer a WHEP offer.

    Args:
        offer_text: the SDP of the client.
        local: what our side is.
        source: what is being published, by kind; None when nothing is.
        senders: the SSRCs for each kind.
        stream_id: the id of the viewer's MediaStream, of token characters (RFC 8830).
        cname: the RTCP name that joins audio and video, likewise.

    Raises:
        InvalidOffer: the offer is malformed or lacks what WebRTC needs.
        UnusableOffer: it does not receive, or nothing that the stream has.
        UnsupportedCodec: the viewer cannot decode what is being published.
    """
    offer, codecs, chosen = _read(offer_text, source)
    publication = _Publication(source, senders, stream_id, cname)
    answered = {}
    media = []
    for kind, section in offer.acceptable:
        if section.mid in chosen:
            answered[section.mid], sent = _answer(
                offer, section, kind, chosen[section.mid], publication
            )
            media.append(sent)
        else:
            answered[section.mid] = _inactive(section.media, codecs[section.mid])
    return ViewerAnswer(
        write_answer(offer, local, answered), offer.remote, tuple(media)
    )


def check_viewer(offer_text: str) -> None:
    """See whether a WHEP offer could be answered if something that it can play were published.

    Raises:
        InvalidOffer: the offer is malformed or lacks what WebRTC needs.
        UnusableOffer: it does not receive.
        UnsupportedCodec: the viewer can decode nothing that is forwarded.
    """
    _read(offer_text, None)


def _read(
    offer_text: str, source: Mapping[Kind, Codec] | None
) -> tuple[Offer, _Codecs, _Codecs]:
    """An offer, its codecs by mid, and those to answer in the sections that carry media."""
    offer = read_offer(offer_text)
    wanted = _wanted(offer)
    codecs = {s.mid: offered_codecs(s.media, kind) for kind, s in offer.acceptable}
    return offer, codecs, _choose(wanted, codecs, source)


def _wanted(offer: Offer) -> dict[Kind, OfferedSection]:
    """The sections in which the viewer wants to receive, one of a kind."""
    wanted: dict[Kind, OfferedSection] = {}
    for kind, section in offer.acceptable:
        if section.direction == "sendonly":
            raise UnusableOffer(
                f"the {kind} section is sendonly: a viewer has to offer recvonly"
            )
        if section.direction == "inactive":
            continue
        if kind in wanted:
            raise UnusableOffer(
                f"the offer has more than one {kind} section: a stream has one"
            )
        wanted[kind] = section
    if not wanted:
        raise UnusableOffer("all sections are inactive: a viewer has to offer recvonly")
    return wanted


def _choose(
    wanted: Mapping[Kind, OfferedSection],
    codecs: _Codecs,
    source: Mapping[Kind, Codec] | None,
) -> dict[str, tuple[OfferedCodec, ...]]:
    """By mid, the codecs to answer in the sections that will carry media."""
    if source is None:
        chosen = {s.mid: codecs[s.mid] for s in wanted.values() if codecs[s.mid]}
        if not chosen:
            raise UnsupportedCodec(
                f"{_playable(wanted, codecs)}; this server forwards "
                + ", ".join(name for kind in wanted for name in FORWARDED_CODECS[kind])
            )
        return chosen
    chosen = {}
    for kind, section in wanted.items():
        if kind not in source:
            continue
        offered = codecs[section.mid]
        best = best_match(source[kind], (o.codec for o in offered))
        if best is None:
            message = f"the stream is {describe_stream(source)}; " + _playable(
                {kind: section}, codecs
            )
            if lacks_fragments(source[kind], (o.codec for o in offered)):
                message += (
                    ", but only by packetization-mode=0, and the stream's packets are those of "
                    "packetization-mode=1: offer that"
                )
            raise UnsupportedCodec(message)
        live = next(o for o in offered if o.codec is best)
        chosen[section.mid] = (live, *(o for o in offered if o is not live))
    if not chosen:
        raise UnusableOffer(
            f"the stream is {describe_stream(source) or 'empty'}; the viewer asks only for "
            + " and ".join(wanted)
        )
    return chosen


def _playable(
    wanted: Mapping[Kind, OfferedSection],
    codecs: _Codecs,
) -> str:
    known = [o.codec for s in wanted.values() for o in codecs[s.mid]]
    names = [offered_names(s.media) for s in wanted.values()]
    text = describe_all(known) if known else ", ".join(filter(None, names))
    return f"the viewer can play {text or 'nothing'}"


def _answer(
    offer: Offer,
    section: OfferedSection,
    kind: Kind,
    codecs: tuple[OfferedCodec, ...],
    publication: _Publication,
) -> tuple[AnsweredSection, SentMedia]:
    levels = (section.media, offer.description)
    extensions = offered_extensions(levels, FORWARDED, "sendonly")
    formats: list[int] = []
    after: list[Attribute] = []
    for offered in codecs:
        pt, rtx = offered.payload_type, offered.rtx_payload_type
        formats += [pt] if rtx is None else [pt, rtx]
        codec = _as_played(offered.codec, publication.source)
        after += codec_attributes(codec, pt, rtx, _agreed(offered))
    has_rtx = any(offered.rtx_payload_type is not None for offered in codecs)
    after += _ssrc_attributes(kind, has_rtx, publication)
    msid = ("msid", f"{publication.stream_id} {kind}")
    return (
        AnsweredSection(
            direction="sendonly",
            formats=tuple(map(str, formats)),
            before=(*extension_attributes(extensions), msid),
            after=after,
        ),
        SentMedia(
            mid=section.mid,
            kind=kind,
            codecs=tuple((o.codec, o.payload_type, o.rtx_payload_type) for o in codecs),
            extensions={e.extension: e.id for e in extensions},
            feedback=frozenset(_agreed(codecs[0])),
        ),
    )


def _agreed(offered: OfferedCodec) -> list[str]:
    return [name for name in VIEWER_FEEDBACK if name in offered.feedback]


def _as_played(codec: Codec, source: Mapping[Kind, Codec] | None) -> Codec:
    """The codec with the parameters of our answer: those offered, and stereo for Opus.

    Browsers play Opus in mono unless the answer says stereo. While nothing is published it
    says so too, for the publisher that may come.
    """
    if codec.name != "opus":
        return codec
    live = None if source is None else source.get("audio")
    if source is not None and (live is None or not is_stereo(live)):
        return codec
    parameters = {**dict(codec.parameters), "stereo": "1", "sprop-stereo": "1"}
    return replace(codec, parameters=tuple(parameters.items()))


def _ssrc_attributes(
    kind: Kind, has_rtx: bool, publication: _Publication
) -> list[Attribute]:
    sender = publication.senders[kind]
    ssrcs = [sender.ssrc]
    attributes: list[Attribute] = []
    if has_rtx:
        ssrcs.append(sender.rtx_ssrc)
        attributes.append(("ssrc-group", f"FID {sender.ssrc} {sender.rtx_ssrc}"))
    for ssrc in ssrcs:
        attributes.append(("ssrc", f"{ssrc} cname:{publication.cname}"))
        attributes.append(("ssrc", f"{ssrc} msid:{publication.stream_id} {kind}"))
    return attributes


def _inactive(media: MediaSection, codecs: tuple[OfferedCodec, ...]) -> AnsweredSection:
    """A section that stays in the bundle but carries nothing.

    It is not rejected: Chromium under max-bundle fails when that happens to the first one.
    """
    after: list[Attribute] = []
    for offered in codecs:
        after += codec_attributes(offered.codec, offered.payload_type, None, ())
    if codecs:
        return AnsweredSection(
            "inactive", tuple(str(o.payload_type) for o in codecs), after=after
        )
    lines = [a for a in media.attributes if a[0] in ("rtpmap", "fmtp")]
    return AnsweredSection("inactive", media.formats or ("0",), after=lines)
