"""WHEP counter-offers (draft section 4.3.2): asked for, and answered; not checks themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from live777py.conformance import offers
from live777py.conformance.bench import Bench, Session
from live777py.conformance.exchange import Reply
from live777py.conformance.model import NotApplicable
from live777py.errors import InvalidOffer
from live777py.protocol import sdp

_KEPT = ("rtpmap", "fmtp", "rtcp-mux", "rtcp-mux-only", "rtcp-rsize")


@asynccontextmanager
async def countered(bench: Bench) -> AsyncIterator[tuple[Reply, Session]]:
    """A counter-offer and its session, whose `offer` is our answer, for the time of a block.

    It is asked for by a POST without a body, as players do that want one.

    Raises:
        NotApplicable: the server makes no counter-offers.
    """
    target = bench.target()
    reply = await bench.post("", "no body", target=target)
    try:
        text = reply.text
        if reply.status != 406 or not text.startswith("v=0"):
            raise NotApplicable(f"the server makes none ({reply.sent}: {reply.got})")
        answer = answer_to(text)
        yield reply, Session(target, answer, reply, reply.location or reply.url)
    finally:
        await bench.drop(reply, target)


def answer_to(offer: str) -> str:
    """A player's answer: takes every section and receives."""
    try:
        read = sdp.parse(offer)
    except InvalidOffer as error:
        raise NotApplicable(f"its offer cannot be read: {error}") from error
    ufrag, pwd = offers.credentials()
    _, _, mark = offers.fingerprint().partition(":")
    media = tuple(
        sdp.MediaSection(
            attributes=(
                ("mid", section.mid or str(index)),
                ("ice-ufrag", ufrag),
                ("ice-pwd", pwd),
                ("fingerprint", mark),
                ("setup", "active"),
                ("recvonly", None),
                *(pair for pair in section.attributes if pair[0] in _KEPT),
            ),
            kind=section.kind,
            port=9,
            protocol=section.protocol,
            formats=section.formats,
            connection="IN IP4 0.0.0.0",
        )
        for index, section in enumerate(read.media)
    )
    groups = tuple(pair for pair in read.attributes if pair[0] == "group")
    return str(sdp.SessionDescription(attributes=groups, media=media))
