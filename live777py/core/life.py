"""The life of one session, and what its client says meanwhile. `Live` gives and takes its place."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from live777py.core import paths
from live777py.core.model import IfMatch, Restarted
from live777py.core.ports import Ending, PeerGone
from live777py.core.remote import shown
from live777py.core.stream import Session
from live777py.errors import (
    AtCapacity,
    InvalidFragment,
    LiveError,
    NoAnswerAwaited,
    SessionNotFound,
    StaleVersion,
    VersionRequired,
)
from live777py.log import session_logger

logger = logging.getLogger(__name__)

#: Seconds in which an offer of ours must be answered (draft-ietf-wish-whep-03 section 4.3.2).
OFFER_LIFETIME = 30.0

#: ICE restarts of one session of which the old username fragments are remembered.
MAX_RESTARTS = 64


async def run(
    started: Callable[[str], None],
    session: Session,
    offer: str | None,
    connect_timeout: float,
    connected: Callable[[Session, float], None],
) -> None:
    """The whole life of a session; what it ended of is then its `ending`.

    Args:
        started: told the answer, or our offer, or the URL at another server.
        session: whose place in the stream is taken already.
        offer: the client's; None where we make one.
        connect_timeout: seconds that it may take until media can flow.
        connected: told when it can, and how many seconds that took.

    Raises:
        LiveError, PeerGone: there was no answer.
    """
    log = session_logger(logger, session.stream.name, session.id)
    session.has_begun = True
    ending = Ending("internal error", "internal_error")
    began = time.monotonic()
    try:
        async with session.peer as peer:
            answer = await _negotiate(session, offer)
            paths.trace(session)
            log.info("%s session begins", session.role.value)
            session.is_answered = True
            started(answer)
            try:
                await _connect(session, connect_timeout)
            except PeerGone as gone:
                ending = Ending(str(gone), gone.cause)
            else:
                connected(session, time.monotonic() - began)
                ending = await peer.gone()
    except asyncio.CancelledError:
        ending = Ending("the server is shutting down", "stopped")
        raise
    except LiveError as refused:
        ending = Ending(str(refused), refused.code)
        raise
    finally:
        session.ending = ending
        if session.is_answered:
            log.info(
                "%s session ends after %.1f s: %s",
                session.role.value,
                time.monotonic() - began,
                ending.reason,
            )


async def _negotiate(session: Session, offer: str | None) -> str:
    """The answer to a client's offer, or an offer for one that made none.

    Of a session at another server, its URL there.
    """
    if session.remote is not None and session.cascade is not None:
        opened = await session.remote.open()
        session.cascade = replace(session.cascade, session_url=shown(opened.url))
        session.path = opened.path
        session.warnings = opened.warnings
        return opened.url
    if offer is not None:
        return await session.peer.answer(offer)
    if session.viewer is None:
        raise RuntimeError("publishers make their own offers")
    session.awaits_answer = True
    return await session.viewer.offer()


async def _connect(session: Session, connect_timeout: float) -> None:
    """Wait until a session's media can flow.

    Raises:
        PeerGone: it never will, or not in time.
    """
    limit = OFFER_LIFETIME if session.awaits_answer else connect_timeout
    try:
        # `accept` moves the deadline.
        async with asyncio.timeout(limit) as session.deadline:
            await session.peer.connected()
    except TimeoutError:
        if session.awaits_answer:
            reason = f"our offer was not answered within {OFFER_LIFETIME:g} s"
            raise PeerGone(reason, "not_answered") from None
        reason = f"not connected within {connect_timeout:g} s"
        raise PeerGone(reason, f"{session.peer.stage}_timeout") from None
    finally:
        session.deadline = None


def accept(session: Session, answer: str, connect_timeout: float) -> None:
    """Take a viewer's answer to our offer; from now on it has so long to be connected.

    Raises:
        SessionNotFound: the answer came too late.
        NoAnswerAwaited: there was no offer of ours, or it has been answered.
        Invalid: the answer cannot be used; another one may be.
    """
    if session.viewer is None or not session.awaits_answer:
        raise NoAnswerAwaited
    if session.deadline is None or session.deadline.expired():
        # Its task just has not run yet, and the deadline can be moved no more.
        raise SessionNotFound(session.stream.name, session.id)
    session.viewer.accept(answer)
    session.awaits_answer = False
    now = asyncio.get_running_loop().time()
    session.deadline.reschedule(now + connect_timeout)


def trickle(
    session: Session, ufrag: str, pwd: str, condition: IfMatch | None
) -> Restarted | None:
    """Take what a client says of its ICE; the new credentials after a restart.

    Raises:
        VersionRequired: there is no condition.
        StaleVersion: it is meant for other credentials than the session's.
        InvalidFragment: a restart without a password.
        AtCapacity: ICE was restarted very often.
    """
    peer = session.peer
    if condition is None:
        raise VersionRequired
    if not condition.matches(peer.version) or ufrag in session.past_ufrags:
        raise StaleVersion
    if ufrag in ("", peer.remote_ufrag) or not peer.remote_ufrag:
        return None
    if not pwd:
        raise InvalidFragment("an ICE restart needs ice-pwd beside ice-ufrag")
    if len(session.past_ufrags) >= MAX_RESTARTS:
        raise AtCapacity(
            f"ICE was restarted {MAX_RESTARTS} times in this session: POST a new one"
        )
    session.past_ufrags.add(peer.remote_ufrag)
    fragment = peer.restart(ufrag, pwd)
    session_logger(logger, session.stream.name, session.id).info("ICE restarts")
    return Restarted(fragment, peer.version)
