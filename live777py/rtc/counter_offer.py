"""Offers that a server makes instead of taking ours, and our answers to them; pure.

A WHEP server may do so with a status 406 (draft-ietf-wish-whep-03 section 4.3.2). What it offers
is read like an answer to ours, which had all that we know, and so it is treated from then on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from live777py.errors import UnsupportedCodec, UnusableOffer
from live777py.protocol.codecs import Kind
from live777py.protocol.extensions import Extension
from live777py.protocol.sdp import Attribute
from live777py.rtc.answer import AnsweredSection, LocalParameters, write_answer
from live777py.rtc.codecs import (
    codec_attributes,
    extension_attributes,
    offered_extensions,
    offered_names,
)
from live777py.rtc.offer import Offer, OfferedSection, read_offer
from live777py.rtc.outgoing_offer import (
    Answer,
    AnsweredMedia,
    OutgoingMedia,
    answered_section,
    usable_candidates,
)
from live777py.rtc.publisher_answer import PUBLISHER_FEEDBACK, TRANSPORT_CC


@dataclass(frozen=True, slots=True)
class CounterOffer:
    """A checked offer of another server.

    Attributes:
        remote: what it says of the other side, and what may come from there.
    """

    remote: Answer
    _offer: Offer
    _wanted: tuple[OutgoingMedia, ...]

    def answer(self, local: LocalParameters) -> str:
        """Write our answer; all that the other side may send and we know is accepted."""
        agreed = {s.mid: s for s in self.remote.media if s.is_accepted}
        answered = {
            section.mid: self._section(section, agreed[section.mid])
            for section in self._offer.sections
            if section.mid in agreed
        }
        # Who answers opens the connection (RFC 8842 section 5.3), unless the other side wants to.
        role = replace(self._offer.remote, dtls_role=self.remote.dtls_role)
        offer = replace(self._offer, remote=role)
        return write_answer(offer, local, answered, is_lite=False)

    def _section(
        self, section: OfferedSection, agreed: AnsweredMedia
    ) -> AnsweredSection:
        repairs = {repaired: rtx for rtx, repaired in agreed.rtx.items()}
        formats: list[str] = []
        after: list[Attribute] = []
        for number, codec in agreed.codecs.items():
            rtx = repairs.get(number)
            formats += [str(n) for n in (number, rtx) if n is not None]
            feedback = [n for n in PUBLISHER_FEEDBACK if n in agreed.feedback[number]]
            after += codec_attributes(codec, number, rtx, feedback)
        levels = section.media, self._offer.description
        wanted = next(m.extensions for m in self._wanted if m.kind == agreed.kind)
        return AnsweredSection(
            direction="recvonly",
            formats=tuple(formats),
            before=extension_attributes(offered_extensions(levels, wanted, "recvonly")),
            after=after,
        )


def read_counter_offer(text: str, wanted: Sequence[OutgoingMedia]) -> CounterOffer:
    """Read and check an offer that came instead of an answer.

    Args:
        text: its SDP.
        wanted: what we had offered to receive: one section of each kind counts.

    Raises:
        InvalidOffer: it is malformed, or lacks what WebRTC needs.
        UnusableOffer: it sends nothing, or one payload type means two things.
        UnsupportedCodec: there is no codec that we know.
    """
    offer = read_offer(text, may_be_lite=True)
    media = tuple(_media(offer, wanted))
    if not any(section.is_accepted for section in media):
        raise _refusal(offer)
    numbers = [n for m in media for n in (*m.codecs, *m.rtx)]
    if len(set(numbers)) != len(numbers):
        raise UnusableOffer("the offer uses one payload type for two codecs")
    levels = [*(s.media for s in offer.sections), offer.description]
    setup = next((v for v in (level.first("setup") for level in levels) if v), None)
    return CounterOffer(
        Answer(
            ufrag=offer.remote.ufrag,
            pwd=offer.remote.pwd,
            is_lite=any(level.has("ice-lite") for level in levels),
            candidates=tuple(usable_candidates(offer.description)),
            fingerprints=offer.remote.fingerprints,
            dtls_role="server" if setup == "active" else "client",
            rtcp_rsize=offer.remote.rtcp_rsize,
            media=media,
        ),
        offer,
        tuple(wanted),
    )


def _media(offer: Offer, wanted: Sequence[OutgoingMedia]) -> Iterator[AnsweredMedia]:
    """What of each kind the other side may send, as if it had answered so."""
    missing = {section.kind: section for section in wanted}
    refused: dict[Kind, AnsweredMedia] = {}
    for index, (kind, section) in enumerate(offer.acceptable):
        if kind not in missing or section.direction not in ("sendonly", "sendrecv"):
            continue
        read = answered_section(offer.description, section.media, missing[kind], index)
        if read.codecs:
            del missing[kind]
            has_numbers = Extension.TRANSPORT_CC in read.extensions.values()
            known = {*PUBLISHER_FEEDBACK} - (set() if has_numbers else {TRANSPORT_CC})
            yield replace(
                read,
                mid=section.mid,
                is_accepted=True,
                feedback={n: names & known for n, names in read.feedback.items()},
            )
        else:
            refused[kind] = replace(read, mid=section.mid)
    yield from (media for kind, media in refused.items() if kind in missing)


def _refusal(offer: Offer) -> UnusableOffer | UnsupportedCodec:
    names = [offered_names(section.media) for _, section in offer.acceptable]
    if any(s.direction in ("sendonly", "sendrecv") for _, s in offer.acceptable):
        return UnsupportedCodec(
            f"the offer has only {', '.join(filter(None, names)) or 'unnamed codecs'}, "
            "and none of that is forwarded"
        )
    return UnusableOffer("the offer sends nothing")
