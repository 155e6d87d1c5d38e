"""Checks of PATCH: trickle ICE, ICE restarts, and the conditions they are bound to."""

from __future__ import annotations

import re

from live777py.conformance import fragments, offers
from live777py.conformance.bench import Bench, Patching, Session, expect
from live777py.conformance.catalogue import check
from live777py.conformance.exchange import FRAGMENT, Reply
from live777py.conformance.model import Level, NotApplicable, Skipped

#: A strong entity tag (RFC 9110 section 8.8.3).
_STRONG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')

_STALE = '"an-entity-tag-of-nobody"'


async def _needs(
    bench: Bench, *, trickle: bool = False, restart: bool = False
) -> Patching:
    """What PATCH does, if it does what a check is about.

    Raises:
        NotApplicable: it does not.
    """
    found = await bench.patching()
    if trickle and not found.has_trickle:
        raise NotApplicable(f"no trickle ICE ({found.trickle.got})")
    if restart and not found.has_restart:
        raise NotApplicable(f"no ICE restarts ({found.restart.got})")
    return found


@check(48, "PATCH of another Content-Type: 4xx", Level.MUST, whip="4.3.1", whep="4.5.1")
async def other_type(bench: Bench) -> str:
    await bench.patching()
    async with bench.opened() as session:
        reply = await bench.patch(
            session,
            fragments.write(*fragments.credentials_of(session.offer)),
            "a fragment as text/plain",
            match=session.etag,
            media_type="text/plain",
        )
    expect(
        reply.is_refusal,
        reply,
        "a 4xx status",
        f"answer 415 with Accept-Patch: {FRAGMENT} (RFC 5789 2.2)",
    )
    return reply.got


@check(49, "PATCH of a malformed fragment: 4xx", Level.MUST, whip="4.3.1", whep="4.5.1")
async def malformed(bench: Bench) -> str:
    await bench.patching()
    async with bench.opened() as session:
        reply = await bench.patch(
            session, "this is no fragment", "a malformed fragment", match=session.etag
        )
    expect(reply.is_refusal, reply, "a 4xx status", "answer 400")
    return reply.got


@check(
    50,
    "trickle or restart alone: 422 for the other",
    Level.MUST,
    whip="4.3.1",
    whep="4.5.1",
)
async def only_one(bench: Bench) -> str:
    found = await bench.patching()
    if found.has_trickle and found.has_restart:
        return "both are supported"
    other = found.restart if found.has_trickle else found.trickle
    expect(
        (found.has_trickle or found.has_restart) and other.status == 422,
        other,
        "422 for the one that is not supported, 405 for both",
        "support trickle ICE and restarts, or say which it is not",
    )
    return f"{other.sent}: 422"


@check(
    51,
    "restarts: a strong, quoted ETag in the 201",
    Level.MUST,
    whip="4.3.1",
    whep="4.5.1",
)
async def entity_tag(bench: Bench) -> str:
    await _needs(bench, restart=True)
    reply = (await bench.sample()).reply
    _is_strong(reply)
    async with bench.opened() as other:
        expect(
            other.etag != reply.headers["ETag"],
            other.reply,
            "an ETag of its own for each ICE session",
            "make a new value for every session and restart",
            f"with the same ETag {other.etag} as the session before",
        )
    return f"ETag: {reply.headers['ETag']}"


def _is_strong(reply: Reply) -> None:
    tag = reply.headers.get("ETag", "")
    expect(
        _STRONG.fullmatch(tag),
        reply,
        'a strong ETag such as "xyzzy", in quotes (RFC 9110 8.8.3)',
        "name the ICE session",
        f"with ETag {tag}" if tag else "without ETag",
    )


@check(52, "PATCH without If-Match: 428", Level.MUST, whip="4.3.1", whep="4.5.1")
async def unconditional(bench: Bench) -> str:
    await _needs(bench, restart=True)
    async with bench.opened() as session:
        body = fragments.write(*fragments.credentials_of(session.offer))
        reply = await bench.patch(session, body, "a candidate without If-Match")
    expect(
        reply.status == 428,
        reply,
        "428 Precondition Required (RFC 6585 3)",
        "ask for If-Match where restarts are supported",
    )
    return reply.got


@check(53, "PATCH with a stale If-Match: 412", Level.MUST, whip="4.3.1", whep="4.5.1")
async def stale(bench: Bench) -> str:
    await _needs(bench, restart=True)
    async with bench.opened() as session:
        reply = await bench.trickle(
            session, f"a candidate, If-Match: {_STALE}", match=_STALE
        )
    expect(
        reply.status == 412,
        reply,
        "412 Precondition Failed",
        "compare If-Match with the ICE session's entity tag",
    )
    return reply.got


@check(54, "trickle: 204, no body, no ETag", Level.MUST, whip="4.3.2", whep="4.5.2")
async def trickle(bench: Bench) -> str:
    reply = (await _needs(bench, trickle=True)).trickle
    expect(
        reply.status == 204 and not reply.body,
        reply,
        "204 without a body",
        "the answer to candidates is empty",
        f"with {len(reply.body)} bytes" if reply.body else "",
    )
    expect(
        "ETag" not in reply.headers,
        reply,
        "no ETag",
        "the ICE session is still the same",
        f"with ETag {reply.headers.get('ETag', '')}",
    )
    return reply.got


async def _taken(bench: Bench, session: Session, what: str, **form: object) -> None:
    reply = await bench.trickle(session, what, **form)  # type: ignore[arg-type]
    expect(reply.status == 204, reply, "204", "take it, as clients write it so")


@check(55, "trickle with If-Match: *", Level.PRACTICE, whip="–", whep="–")
async def any_match(bench: Bench) -> str:
    await _needs(bench, trickle=True)
    async with bench.opened() as session:
        await _taken(
            bench, session, "a candidate, If-Match: *, same credentials", match="*"
        )
    return "204"


@check(
    56, 'restart with If-Match: * and "*"', Level.PRACTICE, whip="4.3.3", whep="4.5.3"
)
async def both_stars(bench: Bench) -> str:
    await _needs(bench, restart=True)
    for star in ("*", '"*"'):
        async with bench.opened() as session:
            reply = await bench.patch(
                session,
                fragments.write(*offers.credentials()),
                f"an ICE restart, If-Match: {star}",
                match=star,
            )
        expect(
            reply.status == 200,
            reply,
            "200",
            'take both: the RFC prints "*" in its example, HTTP\'s grammar has *',
        )
    return "both 200"


@check(
    57,
    "unknown transports and addresses are dropped",
    Level.MUST,
    whip="4.3.2",
    whep="4.5.2",
)
async def odd_candidates(bench: Bench) -> str:
    await _needs(bench, trickle=True)
    async with bench.opened() as session:
        for name, candidate in (
            ("TCP", fragments.TCP),
            ("mDNS", fragments.MDNS),
            ("a name that does not resolve", fragments.NAME),
            ("component 2", fragments.RTCP),
        ):
            reply = await bench.trickle(
                session,
                f"a candidate: {name}, and a usual one",
                candidates=(candidate, fragments.HOST),
            )
            expect(
                reply.status == 204,
                reply,
                "204",
                "drop what cannot be used and take the rest",
            )
    return "TCP, mDNS, names, component 2"


@check(
    58,
    "fragments in the forms of real clients",
    Level.PRACTICE,
    whip="RFC 8840 4.4",
    whep="RFC 8840 4.4",
)
async def forms(bench: Bench) -> str:
    await _needs(bench, trickle=True)
    async with bench.opened() as session:
        await _taken(
            bench, session, "m=audio 9 RTP/AVP 0 (Eyevinn)", media="audio 9 RTP/AVP 0"
        )
        await _taken(
            bench, session, "credentials at session level (medooze)", above=True
        )
        ufrag, pwd = fragments.credentials_of(session.offer)
        second = (
            "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:1\n"
            f"a=ice-ufrag:{ufrag}\na=ice-pwd:{pwd}\n"
        )
        await _taken(bench, session, "two sections", also=second)
    return "three forms"


@check(
    59,
    "end-of-candidates does not end ICE",
    Level.MUST,
    whip="RFC 8840 4.4",
    whep="RFC 8840 4.4",
    timeout=15.0,
)
async def end_of_candidates(bench: Bench) -> str:
    await _needs(bench, trickle=True)

    def bare(offer: str) -> str:
        kept = ("a=candidate:", "a=end-of-candidates")
        lines = offer.splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith(kept))

    async def end(session: Session) -> None:
        await _taken(
            bench,
            session,
            "end-of-candidates and no candidate",
            candidates=(),
            ended=True,
        )

    async with bench.connected(
        edit=bare, before=end, what="an offer without candidates"
    ):
        return "204, and the client still connects"


@check(
    60,
    "restart: 200, new credentials, new ETag, media goes on",
    Level.MUST,
    whip="4.3.3",
    whep="4.5.3",
    timeout=20.0,
)
async def restart(bench: Bench) -> str:
    found = await _needs(bench, restart=True)
    reply = found.restart
    expect(
        reply.media_type == FRAGMENT,
        reply,
        f"Content-Type: {FRAGMENT}",
        "answer with a fragment",
        f"with {reply.headers.get('Content-Type', 'no Content-Type')}",
    )
    ours = fragments.read(reply.text)
    expect(
        ours.ufrag and ours.pwd,
        reply,
        "ice-ufrag and ice-pwd",
        "make new credentials",
        "without them",
    )
    expect(
        (ours.ufrag, ours.pwd) != (found.before.ufrag, found.before.pwd),
        reply,
        "new credentials",
        "make new ones at every restart",
        "with those of the answer",
    )
    _is_strong(reply)
    expect(
        reply.headers["ETag"] != found.tag,
        reply,
        "a new ETag",
        "the ICE session is another one",
        "with that of the 201",
    )
    expect(
        not found.flows,
        reply,
        "checks with the new credentials to be answered, and media to go on",
        "keep DTLS and SRTP as they are",
        f"and then {found.flows}",
    )
    return "200, and media goes on"


@check(
    61,
    "restart: ICE attributes as in the answer",
    Level.MUST,
    whip="4.3.3",
    whep="4.5.3",
)
async def same_attributes(bench: Bench) -> str:
    found = await _needs(bench, restart=True)
    now = fragments.read(found.restart.text)
    for name, before, after in (
        ("ice-options", found.before.options, now.options),
        ("ice-lite", found.before.is_lite, now.is_lite),
        ("ice-pacing", found.before.pacing, now.pacing),
    ):
        expect(
            before == after,
            found.restart,
            "ice-options, ice-pacing and ice-lite as in the answer",
            "write the same lines into the fragment",
            f"with another {name} than the answer has",
        )
    return "the same"


@check(
    62,
    "a restart that is refused leaves the session",
    Level.MUST,
    whip="4.3.3",
    whep="4.5.3",
    timeout=20.0,
)
async def refused_restart(bench: Bench) -> str:
    found = await bench.patching()
    if not found.has_restart:
        expect(
            found.survives and not found.flows,
            found.restart,
            "the session to stand as it was",
            "keep the existing ICE session",
            f"and then {found.flows or 'the session was gone'}",
        )
        return f"{found.restart.got}, and the session stands"
    async with bench.opened() as session:
        reply = await bench.patch(
            session,
            fragments.write("x", "short"),
            "a restart with credentials that are too short (RFC 8839 5.4)",
            match="*",
        )
        end = await bench.ask("DELETE", session.url, session.target)
    if reply.is_success:
        raise Skipped("the server takes credentials of any length: nothing is refused")
    expect(
        reply.is_refusal and end.is_success,
        reply,
        "a 4xx status, and the session to stand",
        "keep the existing ICE session",
        "" if end.is_success else f"and then DELETE: {end.got}",
    )
    return f"{reply.got}, and the session stands"


@check(
    63, "restart: old candidates are forgotten", Level.MUST, whip="4.3.3", whep="4.5.3"
)
async def old_candidates(bench: Bench) -> str:
    await _needs(bench, restart=True)
    raise Skipped("cannot be seen from outside")


@check(
    64,
    "PATCH for the ICE session before a restart: 412",
    Level.MUST,
    whip="4.3.1",
    whep="4.5.1",
)
async def old_tag(bench: Bench) -> str:
    found = await _needs(bench, restart=True)
    if found.old is None or found.tag is None:
        raise Skipped("the 201 has no ETag (check 51)")
    expect(
        found.old.status == 412,
        found.old,
        "412 Precondition Failed",
        "a restart makes the old entity tag invalid",
    )
    return found.old.got


@check(
    65,
    "PATCH after DELETE: 404",
    Level.HTTP,
    whip="RFC 9110 15.5.5",
    whep="RFC 9110 15.5.5",
)
async def after_delete(bench: Bench) -> str:
    await bench.patching()
    async with bench.opened() as session:
        end = await bench.ask("DELETE", session.url, session.target)
        if not end.is_success:
            raise Skipped(f"{end.sent}: {end.got}")
        reply = await bench.trickle(session, "a candidate after DELETE")
    expect(
        reply.status in (404, 410), reply, "404", "the session is no resource any more"
    )
    return reply.got
