"""Checks of SDP answers: directions, bundle, multiplexing, DTLS roles, candidates, codecs."""

from __future__ import annotations

from collections.abc import Sequence

from live777py.conformance.bench import (
    Bench,
    Call,
    Session,
    described,
    expect,
)
from live777py.conformance.catalogue import check
from live777py.conformance.checks.counter_offer import countered
from live777py.conformance.model import Failed, Level, NotApplicable
from live777py.protocol import sdp
from live777py.protocol.sdp import MediaSection, SessionDescription

#: Seconds that an answer may take without a client's losing patience.
PATIENCE = 4.0

#: What must be the same in all sections of a bundle that write it at all.
_TRANSPORT = ("ice-ufrag", "ice-pwd", "fingerprint", "setup")


def accepted(answer: SessionDescription) -> list[MediaSection]:
    """The sections that are taken; a bundled one may have port 0 if it says bundle-only."""
    return [s for s in answer.media if s.port or s.has("bundle-only")]


def direction(answer: SessionDescription, section: MediaSection) -> str:
    """The direction of a section."""
    return section.direction or answer.direction or "sendrecv"


def _all_are(session: Session, wanted: str) -> str:
    answer = described(session)
    found = [direction(answer, section) for section in accepted(answer)]
    expect(
        found and set(found) == {wanted},
        session.reply,
        f"{wanted} in every accepted section",
        f"answer {wanted} whatever is offered",
        f"with {', '.join(found) or 'no accepted section'}",
    )
    return f"{len(found)} × {wanted}"


@check(29, "the answer is recvonly", Level.MUST, whip="4.2")
async def receives_only(bench: Bench) -> str:
    return _all_are(await bench.sample(), "recvonly")


@check(30, "an offer of sendrecv is answered recvonly", Level.MUST, whip="4.2")
async def sendrecv(bench: Bench) -> str:
    what = "an offer of sendrecv"
    reply = await bench.post(bench.offer(direction="sendrecv"), what)
    await bench.drop(reply)
    expect(reply.status == 201, reply, "201", "browsers offer it by default")
    session = Session(bench.target(), "", reply, reply.location or reply.url)
    return _all_are(session, "recvonly")


@check(31, "offers of recvonly or inactive are refused", Level.PRACTICE, whip="4.2")
async def wrong_direction(bench: Bench) -> str:
    seen = []
    for offered in ("recvonly", "inactive"):
        reply = await bench.posted(
            bench.offer(direction=offered), f"an offer of {offered}"
        )
        expect(
            reply.is_refusal,
            reply,
            "a 4xx status",
            "answer 422: nothing could ever be published",
        )
        seen.append(f"{offered} {reply.status}")
    return ", ".join(seen)


@check(32, "the answer is sendonly", Level.MUST, whep="4.3.5")
async def sends_only(bench: Bench) -> str:
    session = await bench.sample()
    seen = _all_are(session, "sendonly")
    async with bench.opened(
        bench.offer(direction="sendrecv"), "an offer of sendrecv"
    ) as other:
        _all_are(other, "sendonly")
    return f"{seen}; sendrecv likewise"


@check(33, "a counter-offer is sendonly", Level.SHOULD, whep="4.3.5")
async def counter_direction(bench: Bench) -> str:
    async with countered(bench) as (reply, _session):
        offer = sdp.parse(reply.text)
        found = {direction(offer, section) for section in offer.media}
    expect(
        found <= {"sendonly"},
        reply,
        "sendonly in every section",
        "recvonly and inactive must not be offered",
        f"with {', '.join(sorted(found))}",
    )
    return "sendonly"


@check(34, "one bundle, one transport", Level.MUST, whip="4.4.1", whep="4.6.1")
async def bundle(bench: Bench) -> str:
    session = await bench.sample()
    _one_bundle(session)
    what = "an offer with a bundle-only section, port 0"
    reply = await bench.post(bench.offer(bundle_only=True), what)
    await bench.drop(reply)
    expect(
        reply.status == 201,
        reply,
        "201, as in the example of RFC 9725",
        "sections of a bundle need no ICE attributes of their own (RFC 9143 7.2.1)",
    )
    _one_bundle(Session(session.target, "", reply, session.url))
    return "one group of all sections; bundle-only taken"


def _one_bundle(session: Session) -> None:
    answer = described(session)
    groups = [v.split()[1:] for v in answer.all("group") if v.startswith("BUNDLE")]
    taken = accepted(answer)
    expect(
        len(groups) == 1 and {s.mid for s in taken} <= set(groups[0]),
        session.reply,
        "one BUNDLE group of all accepted sections",
        "support max-bundle",
        f"with groups {groups}",
    )
    for name in _TRANSPORT:
        values = {value for section in taken if (value := section.first(name))}
        expect(
            len(values) <= 1,
            session.reply,
            "the same transport in all sections of the bundle",
            "bundled sections share one",
            f"with {len(values)} values of {name}",
        )


@check(35, "rtcp-mux and rtcp-mux-only", Level.MUST, whip="4.4.1", whep="4.6.1")
async def rtcp_mux(bench: Bench) -> str:
    session = await bench.sample()
    for section in accepted(described(session)):
        missing = [n for n in ("rtcp-mux", "rtcp-mux-only") if not section.has(n)]
        expect(
            not missing,
            session.reply,
            "both in every bundled section (RFC 8858 section 3)",
            "add the line to each section of the answer",
            f"without {', '.join(missing)} in section {section.mid}",
        )
    return "in every section"


@check(36, "one stream, one track of each kind", Level.MUST, whip="4.4.2", whep="4.6.2")
async def one_stream(bench: Bench) -> str:
    if bench.side == "whip":
        reply = await bench.posted(
            bench.offer(kinds=("video", "video")), "an offer of two videos"
        )
        if reply.status == 201:
            raise NotApplicable("the server takes two tracks of a kind")
        expect(
            reply.status in (400, 422),
            reply,
            "422 or 400 if two tracks of a kind are not supported",
            "answer 422",
        )
        return f"two videos: {reply.status}"
    session = await bench.sample()
    sections = accepted(described(session))
    streams = {(section.first("msid") or "").partition(" ")[0] for section in sections}
    expect(
        sections and len(streams) == 1 and "" not in streams,
        session.reply,
        "a=msid with the same stream in every section",
        "name the stream in each section (RFC 8830)",
        f"with {', '.join(sorted(s or 'no msid' for s in streams))}",
    )
    kinds = [section.kind for section in sections]
    expect(
        len(kinds) == len(set(kinds)),
        session.reply,
        "one track of a kind at most",
        "send one",
        f"with {', '.join(kinds)}",
    )
    return f"{len(sections)} sections, one stream"


@check(37, "no partial answers", Level.SHOULD, whip="4.4.3")
async def no_partial(bench: Bench) -> str:
    what = "an offer with a video codec that there is not"
    reply = await bench.posted(bench.offer(unknown=("video",)), what)
    expect(
        reply.status in (400, 422),
        reply,
        "422 or 400 for the whole offer",
        "refuse it whole: half a broadcast misleads people",
    )
    return f"{reply.status} for the whole"


@check(
    38, "DTLS: the client may be active", Level.SHOULD, whip="4.4.4", whep="RFC 8842 5"
)
async def roles(bench: Bench) -> str:
    session = await bench.sample()
    first = _setup(session)
    expect(
        first in ("active", "passive"),
        session.reply,
        "a=setup:active or passive for actpass",
        "choose; passive suits ICE-lite",
        f"with {first}",
    )
    reply = await bench.posted(bench.offer(setup="active"), "an offer of setup:active")
    if reply.status in (400, 422):
        return f"actpass: {first}; active is refused by {reply.status}, as is allowed"
    expect(reply.status == 201, reply, "201, or 422 or 400", "be the DTLS server")
    second = _setup(Session(session.target, "", reply, session.url))
    expect(
        second == "passive",
        reply,
        "a=setup:passive",
        "be the DTLS server, or answer 422",
        f"with {second}",
    )
    return f"actpass: {first}; active: passive"


@check(
    39,
    "DTLS: the client may be passive",
    Level.MUST,
    whip="RFC 8842 5",
    whep="RFC 8842 5",
    timeout=15.0,
)
async def passive_client(bench: Bench) -> str:
    def passive(offer: str) -> str:
        return offer.replace("a=setup:actpass", "a=setup:passive")

    what = "an offer of setup:passive"
    reply = await bench.posted(bench.offer(setup="passive"), what)
    expect(reply.status == 201, reply, "201", "be the DTLS client (FFmpeg 8)")
    async with bench.connected(edit=passive, what=what) as call:
        found = _setup(call.session)
        expect(
            found == "active",
            call.session.reply,
            "a=setup:active",
            "be the DTLS client (FFmpeg 8 offers passive)",
            f"with {found}",
        )
    return "answered active, and connected"


def _setup(session: Session) -> str | None:
    answer = described(session)
    found = (section.first("setup") for section in accepted(answer))
    return next((value for value in found if value), answer.first("setup"))


@check(40, "fingerprints", Level.MUST, whip="RFC 8827 6.5", whep="RFC 8827 6.5")
async def fingerprints(bench: Bench) -> str:
    reply = await bench.posted(
        bench.offer(certificate=""), "an offer without a fingerprint"
    )
    expect(
        reply.is_refusal,
        reply,
        "a 4xx status",
        "answer 400: without it nobody knows who connects",
    )
    mark = "a=fingerprint:sha-999 AA:BB:CC"
    unknown = await bench.posted(
        bench.offer(certificate=mark), "a fingerprint of an unknown hash"
    )
    what = "a fingerprint at session level"
    above = await bench.posted(bench.offer(certificate_above=True), what)
    expect(above.status == 201, above, "201", "it counts for all sections (OBS)")
    # To notice an unknown hash in the handshake only is late, and still safe.
    return f"none refused, unknown hash {unknown.status}, session level taken"


@check(
    41,
    "ICE: full, or lite at session level",
    Level.SHOULD,
    whip="4.4.5",
    whep="4.6.3",
    timeout=15.0,
)
async def ice_kind(bench: Bench) -> str:
    session = await bench.sample()
    answer = described(session)
    expect(
        not any(section.has("ice-lite") for section in answer.media),
        session.reply,
        "a=ice-lite at session level (RFC 8839 5.3)",
        "move it above the sections",
        "with ice-lite in a section",
    )
    async with bench.connected() as call:
        await _has_media(bench, call)
    return f"{'lite' if answer.has('ice-lite') else 'full'}, and it connects"


async def _has_media(bench: Bench, call: Call) -> None:
    if bench.side == "whep" and not await bench.flows(call):
        raise Failed(
            f"{call.session.reply.sent}, then ICE and DTLS by its answer",
            "a connection and no media",
            "the media that is published",
            "send it as soon as DTLS is done",
        )


@check(42, "the answer has all candidates", Level.MUST, whip="4.3.2", whep="4.5.2")
async def candidates(bench: Bench) -> str:
    session = await bench.sample()
    answer = described(session)
    found = [c for section in answer.media for c in section.candidates]
    found += MediaSection(attributes=answer.attributes).candidates
    expect(
        found,
        session.reply,
        "candidates in the answer",
        "gather them all before answering: WHIP cannot signal more later",
        "without any",
    )
    expect(
        session.reply.seconds < PATIENCE,
        session.reply,
        f"an answer within {PATIENCE:g} s",
        "do not wait for STUN servers that are silent",
        f"after {session.reply.seconds:.1f} s",
    )
    return f"{len(found)}, after {session.reply.seconds * 1000:.0f} ms"


@check(43, "simulcast is answered by RFC 8853", Level.MUST, whip="4.8")
async def simulcast(bench: Bench) -> str:
    async with bench.opened(
        bench.offer(simulcast=True), "an offer of simulcast"
    ) as session:
        answer = described(session)
    videos = [s for s in accepted(answer) if s.kind == "video"]
    lines = [value for section in videos for value in section.all("simulcast")]
    if not lines:
        raise NotApplicable("the server takes one layer, which is allowed")
    rids = [value.split()[:2] for section in videos for value in section.all("rid")]
    layers = [layer for layer in lines[0].removeprefix("recv ").split(";") if layer]
    expect(
        lines[0].startswith("recv ")
        and set(layers) <= {"h", "m", "l"}
        and all([layer, "recv"] in rids for layer in layers),
        session.reply,
        "a=simulcast:recv with layers of the offer, and a=rid:… recv for each",
        "answer by RFC 8853 section 5.3.2",
        f"with a=simulcast:{lines[0]}",
    )
    return f"a=simulcast:{lines[0]}"


@check(
    44,
    "sections keep number, order and mid",
    Level.MUST,
    whip="RFC 3264 6",
    whep="RFC 3264 6",
)
async def order(bench: Bench) -> str:
    for kinds in (("audio", "video"), ("video", "audio")):
        async with bench.opened(
            bench.offer(kinds=kinds), f"an offer of {' and '.join(kinds)}"
        ) as session:
            answer = described(session)
        found = [(section.kind, section.mid) for section in answer.media]
        expect(
            found == [(kind, str(mid)) for mid, kind in enumerate(kinds)],
            session.reply,
            "the sections of the offer, in its order, with its mids",
            "answer each section in its place (RFC 8829 5.3.1)",
            f"with {', '.join(f'{kind} {mid}' for kind, mid in found)}",
        )
    return "audio and video in both orders"


@check(
    45,
    "payload types are those of the offer",
    Level.SHOULD,
    whip="RFC 3264 6.1",
    whep="RFC 3264 6.1",
)
async def payload_types(bench: Bench) -> str:
    session = await bench.sample()
    offered = _codecs(sdp.parse(session.offer).media)
    answered = _codecs(accepted(described(session)))
    changed = [
        f"{n} is {name}" for n, name in answered.items() if offered.get(n) != name
    ]
    expect(
        answered and not changed,
        session.reply,
        "the numbers of the offer for the same codecs",
        "keep them: FFmpeg sends with its own whatever the answer says",
        f"with {', '.join(changed)}",
    )
    return ", ".join(answered)


def _codecs(sections: Sequence[MediaSection]) -> dict[str, str]:
    pairs = (value.split(" ", 1) for s in sections for value in s.all("rtpmap"))
    return {pair[0]: pair[-1].lower().removesuffix("/1") for pair in pairs}


@check(46, "no codec in common: 4xx", Level.SHOULD, whip="4.4.3")
async def no_codec(bench: Bench) -> str:
    reply = await bench.posted(
        bench.offer(unknown=("audio", "video")), "an offer of unknown codecs only"
    )
    expect(
        reply.status in (400, 406, 415, 422),
        reply,
        "422 or 400",
        "answer 422 and name the codecs of both sides",
    )
    return str(reply.status)


@check(47, "lines end with CRLF", Level.MUST, whip="RFC 8866 5", whep="RFC 8866 5")
async def line_ends(bench: Bench) -> str:
    reply = (await bench.sample()).reply
    text = reply.text
    expect(
        text.startswith("v=0\r\n")
        and text.endswith("\r\n")
        and "\n" not in text.replace("\r\n", ""),
        reply,
        "v=0 first, CRLF after each line and at the end",
        "OBS and FFmpeg parse by CRLF",
        f"with {text[:8]!r} … {text[-8:]!r}",
    )
    return f"{text.count(chr(10))} lines"
