"""Checks of a session's end: by DELETE, by DTLS, by silence."""

from __future__ import annotations

import asyncio
import contextlib

from live777py.conformance.bench import Bench, Call, Session, described, expect
from live777py.conformance.catalogue import check
from live777py.conformance.model import Failed, Level, NotApplicable, Skipped

#: Consent lasts thirty seconds (RFC 7675 section 5.1), and a server looks every few.
CONSENT = 35.0

#: Seconds within which a goodbye has to have its effect.
GOODBYE = 3.0

#: Seconds between looks at a session whose GET tells whether it is there.
_LOOK = 1.0


@check(
    66,
    "DELETE ends session, ICE and DTLS",
    Level.MUST,
    whip="4.2",
    whep="4.4",
    timeout=15.0,
)
async def delete(bench: Bench) -> str:
    async with bench.connected() as call:
        session = call.session
        reply = await bench.ask("DELETE", session.url, session.target)
        expect(
            reply.is_success,
            reply,
            "2xx",
            "answer 200: OBS warns of anything else",
        )
        reason = await _closed(call)
    if reason is None:
        raise Failed(
            reply.sent,
            f"{reply.got}, and no end of the DTLS association within {GOODBYE:g} s",
            "DTLS close_notify, and no more consent (RFC 7675 5.2)",
            "end the transport with the session",
        )
    return f"{reply.got}, then {reason}"


async def _closed(call: Call) -> str | None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE):
            return await call.peer.closed()
    return None


@check(67, "DELETE ignores If-Match", Level.MUST, whip="4.3.1", whep="4.5.1")
async def unconditional_delete(bench: Bench) -> str:
    async with bench.opened() as session:
        reply = await bench.ask(
            "DELETE",
            session.url,
            session.target,
            headers={"If-Match": '"an-entity-tag-of-nobody"'},
            what="If-Match of another session",
        )
    expect(reply.is_success, reply, "2xx", "look at entity tags in PATCH only")
    return reply.got


@check(
    68,
    "a second DELETE: 404",
    Level.HTTP,
    whip="RFC 9110 15.5.5",
    whep="RFC 9110 15.5.5",
)
async def second_delete(bench: Bench) -> str:
    async with bench.opened() as session:
        first = await bench.ask("DELETE", session.url, session.target)
        if not first.is_success:
            raise Skipped(f"{first.sent}: {first.got}")
        reply = await bench.ask(
            "DELETE", session.url, session.target, what="a second time"
        )
    expect(
        reply.status in (404, 410), reply, "404", "the session is no resource any more"
    )
    return reply.got


@check(
    69,
    "silence ends the session: consent",
    Level.MUST,
    whip="4.2",
    whep="4.3.8",
    timeout=55.0,
    slow=True,
)
async def consent(bench: Bench) -> str:
    async with bench.connected() as call:
        is_lite = described(call.session).has("ice-lite")
        await call.peer.vanish()
        try:
            seconds = await _ended(
                bench, call.session, CONSENT, "a client that has vanished"
            )
        except Failed:
            if is_lite:
                raise NotApplicable(
                    "an ICE-lite server need not check consent, and this one does not"
                ) from None
            raise
    return f"gone within {seconds:.0f} s"


@check(
    70,
    "the client's close_notify ends the session",
    Level.MUST,
    whip="4.2",
    whep="4.3.8",
    timeout=20.0,
)
async def close_notify(bench: Bench) -> str:
    async with bench.connected() as call:
        await call.peer.aclose()
        await _ended(bench, call.session, GOODBYE, "DTLS close_notify")
    return f"gone within {GOODBYE:g} s"


async def _ended(bench: Bench, session: Session, timeout: float, what: str) -> float:
    """Wait until a session has ended; returns after how many seconds at most.

    DELETE tells, but would end it; GET tells before, where the server has it.

    Raises:
        Failed: it has not.
        Skipped: the server does not let anybody know.
    """
    loop = asyncio.get_running_loop()
    start = loop.time()
    look = await bench.ask("GET", session.url, session.target)
    is_told = look.is_success
    while loop.time() - start < timeout and (look.is_success or not is_told):
        await asyncio.sleep(min(_LOOK, timeout / 3))
        if is_told:
            look = await bench.ask("GET", session.url, session.target)
    seconds = loop.time() - start
    end = await bench.ask("DELETE", session.url, session.target, what=what)
    if end.is_success:
        again = await bench.ask("DELETE", session.url, session.target)
        if again.is_success:
            raise Skipped("DELETE of an ended session is 2xx: its end cannot be seen")
    elif not end.is_gone:
        raise Skipped(f"{end.sent}: {end.got}: its end cannot be seen")
    expect(
        end.is_gone,
        end,
        f"404: the session to have ended within {timeout:g} s",
        "end the session with its transport",
        f"after {seconds:.0f} s",
    )
    return seconds


@check(
    71,
    "a publisher that vanished can come back",
    Level.PRACTICE,
    whip="–",
    timeout=50.0,
    slow=True,
)
async def comes_back(bench: Bench) -> str:
    loop = asyncio.get_running_loop()
    async with bench.connected() as call:
        await call.peer.vanish()
        start = loop.time()
        while True:
            reply = await bench.post(
                bench.offer(),
                "an offer, its last publisher vanished",
                target=call.session.target,
            )
            await bench.drop(reply)
            seconds = loop.time() - start
            if reply.status == 201:
                return f"taken after {seconds:.0f} s"
            expect(
                seconds < CONSENT,
                reply,
                f"201 within {CONSENT:g} s",
                "let a dead publisher's place be taken: OBS reconnects at once",
                f"still after {seconds:.0f} s",
            )
            await asyncio.sleep(2)
