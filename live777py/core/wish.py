"""One wish to have a stream pulled from other servers, or pushed to one: what has become of it.

It opens nothing and owns no task: `Cascades` asks it what is next, and tells it what came of that.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from live777py.core.demand import Demand
from live777py.core.edge import Edge, Failure
from live777py.core.model import (
    NO_TRAFFIC,
    Cascade,
    CascadeId,
    CascadeInfo,
    CascadeState,
    Role,
)
from live777py.core.ports import Ending, PeerGone
from live777py.core.remote import Remote
from live777py.core.rounds import Rounds
from live777py.core.seekers import Seekers, settled
from live777py.core.stream import Session, Stream, now_ms
from live777py.errors import (
    AlreadyPublishing,
    GatewayTimeout,
    NotPublished,
    ShuttingDown,
)

#: Seconds for which a connection must have lasted to count as a success: what breaks at once,
#: again and again, is tried less and less often.
STABLE = 10.0

#: Seconds for which one must have lasted that ends since something else is published, so that
#: the other server is told so at once.
STEADY = 1.0

#: Seconds without a media packet after which a source is lost, where there are others.
NO_MEDIA = 5.0

#: Seconds after which a connection without media has none.
PROMPT = 1.0

#: Seconds for which a failure answers whoever asks for the same stream.
MEMORY = 1.0

#: Seconds in which a server has to answer where there are others: less than seekers wait.
ANSWER = 4.0

#: Why a session ended in that case, as a word.
NO_ANSWER = "no_answer"

#: Warnings of one cascade that are logged: another server may have new ones for ever.
MAX_WARNED = 16

#: Seconds for which a viewer is kept waiting for its answer until it is known what will come.
HOLD = 0.5

#: Seconds between two looks at that.
GLANCE = 0.01


class Wish:
    """One cascade.

    It tries its servers in `rounds`, as long as there is a `demand`: one with `close_after` is
    wanted only while the stream has an audience, and a little longer; `watch` is to be called
    whenever that may have changed, or who publishes.

    Attributes:
        rounds: the servers, and when to rest.
        demand: whether there is to be a session.
        may_wait: whether the server whose turn it is may let us wait for a publisher.
        is_configured: the configuration asked for it, and nobody else ends it.
        edge: whose it is where viewers alone asked for it, None elsewhere.
        session: the current one, also while it is being opened.
        is_stopped: it ends, whatever it is doing.
        has_ended: set when nothing of it is left.
    """

    def __init__(
        self,
        stream: Stream,
        role: Role,
        remotes: tuple[Remote, ...],
        *,
        is_configured: bool = False,
        close_after: float | None = None,
        edge: Edge | None = None,
    ) -> None:
        self.id = CascadeId(secrets.token_hex(16))
        self.stream = stream
        self.role = role
        self.rounds = Rounds(stream, remotes, edge)
        self.demand = Demand(stream, close_after, self._close)
        self.may_wait = True
        self.is_configured = is_configured
        self.edge = edge
        self.session: Session | None = None
        self.is_stopped = False
        self.has_ended = asyncio.Event()
        self._created_at = now_ms()
        self._state = (
            CascadeState.IDLE if self.is_on_demand else CascadeState.CONNECTING
        )
        self._since = self._created_at
        self._attempts = 0
        self._error = ""
        self._passed = NO_TRAFFIC
        #: Warnings that were logged.
        self._warned: set[str] = set()
        self._wake = asyncio.Event()
        self._seekers = Seekers()
        #: It waits since somebody else publishes.
        self._is_displaced = False
        #: The session ends since nobody watches.
        self._is_closing = False

    # What is shown of it.

    @property
    def is_on_demand(self) -> bool:
        """Whether it needs somebody who watches."""
        return self.demand.close_after is not None

    @property
    def is_unasked_for(self) -> bool:
        """Whether nobody asked for it by the API: the configuration did, or viewers."""
        return self.is_configured or self.edge is not None

    @property
    def remote(self) -> Remote:
        """The server whose turn it is."""
        return self.rounds.remote

    @property
    def cascade(self) -> Cascade:
        """What is shown of where it leads, before there is a session."""
        if self.role is Role.PUBLISH:
            return Cascade(source_url=self.remote.shown)
        return Cascade(target_url=self.remote.shown)

    @property
    def error(self) -> str:
        """Why the latest attempt failed, or the connection was lost."""
        return self._error

    def info(self) -> CascadeInfo:
        """A snapshot."""
        session, rounds = self.session, self.rounds
        traffic = self._passed
        if session is not None:
            traffic = replace(traffic + session.peer.traffic, round_trip=None)
        return CascadeInfo(
            id=self.id,
            stream=self.stream.name,
            cascade=(session and session.cascade) or self.cascade,
            state=self._state,
            created_at=self._created_at,
            since=self._since,
            attempts=self._attempts,
            error=self._error,
            session=None if session is None else session.id,
            warnings=() if session is None else session.warnings,
            sources=tuple(r.shown for r in rounds.remotes) if rounds.has_others else (),
            is_configured=self.is_configured,
            is_on_demand=self.is_on_demand,
            traffic=traffic,
        )

    def new_warnings(self) -> list[str]:
        """What does not pass in the current session and was not said of one before."""
        warnings = () if self.session is None else self.session.warnings
        new = [warning for warning in warnings if warning not in self._warned]
        del new[max(0, MAX_WARNED - len(self._warned)) :]
        self._warned.update(new)
        return new

    # What becomes of it.

    def choose(self) -> None:
        """Take the next remote of the round."""
        self.rounds.choose()
        self.may_wait = not (
            self.rounds.has_others
            or self._seekers
            or (self.is_on_demand and self.stream.policy.refuse_waiting)
        )

    def attempt(self, session: Session) -> None:
        """A session is about to be opened."""
        self.session = session
        self._attempts += 1
        self._enter(CascadeState.CONNECTING)
        if self.rounds.has_others:
            loop = asyncio.get_running_loop()
            loop.call_later(ANSWER, self._give_up, session)

    def opened(self) -> None:
        """The other server has made it."""
        self.rounds.answered()
        if not self.may_wait:
            self._seekers.tell(None)

    def connected(self, session: Session) -> None:
        """Media can flow in a session of the stream."""
        if session is self.session:
            self._attempts = 0
            self.rounds.connected()
            self._enter(CascadeState.CONNECTED)
        if session.role is Role.PUBLISH:
            if self._seekers:
                self._look_for_media(session)
            if self.role is Role.SUBSCRIBE and self.is_waiting:
                self.wake()

    def failed(self, error: Exception) -> None:
        """The attempt has come to nothing."""
        if self.is_stopped:
            self._wait(str(error))
            return
        if isinstance(error, PeerGone) and error.cause == NO_ANSWER:
            error = GatewayTimeout(f"{self.remote.shown}: {error}")
        self._is_displaced = isinstance(error, AlreadyPublishing)
        self.rounds.refused(error)
        self._wait(str(error))
        if self._is_closing:
            self._restart()
        elif self.rounds.is_over:
            self._end_round()

    def lost(self, session: Session) -> None:
        """The session has ended."""
        ending = session.ending or Ending("it has ended")
        was_connected = session.connected_at is not None
        lasted = session.lasted
        self._passed += replace(session.peer.traffic, bitrate=0)
        self._wait(ending.reason)
        if self.is_stopped:
            return
        if self._is_closing:
            self._restart()
            return
        if ending.cause == "codec_changed" and was_connected and lasted >= STEADY:
            # Nothing has failed.
            self._restart()
            return
        refusal = None if was_connected else PeerGone(*ending)
        self.rounds.lost(refusal, has_lasted=lasted >= STABLE)
        if self.rounds.is_over:
            self._end_round()
        if self.demand.is_about_to_end:
            # There is nothing left that another viewer could have at once.
            self.demand.close()

    def starve(self) -> None:
        """There is nothing that could be pushed."""
        self._wait("nobody publishes")

    def idle(self) -> None:
        """Nobody watches, and nothing is to be done before somebody does."""
        self._error = ""
        self._attempts = 0
        self._restart()
        self._enter(CascadeState.IDLE)

    def stop(self, reason: str, cause: str) -> None:
        """End it, whatever it is doing."""
        self.is_stopped = True
        self._wake.set()
        self.demand.release()
        self._seekers.tell(NotPublished(self.stream.name))
        if self.session is not None:
            self.session.peer.end(reason, cause)

    def end(self) -> None:
        """It is over: nothing may be left that waits for it."""
        self.demand.cancel()
        if self.edge is not None and self.rounds.failure is not None:
            self.edge.remember(self.stream.name, self.rounds.failure)
        self._seekers.tell(NotPublished(self.stream.name))
        self.has_ended.set()

    @property
    def is_waiting(self) -> bool:
        """Whether it would be tried sooner if it were woken."""
        return self._state is CascadeState.WAITING

    def wake(self) -> None:
        """What it waits for may be there now: try again at once."""
        self.rounds.hasten()
        self._wake.set()

    # What is to be waited for.

    async def rest(self) -> None:
        """Wait until it is time for the next round, or something else has changed."""
        await self.pause(self.rounds.rest_left)
        self.rounds.end_rest()

    async def pause(self, delay: float) -> None:
        """Wait so long, or until something has changed; what, is to be looked at anew."""
        self._wake.clear()
        try:
            async with asyncio.timeout(delay):
                await self._wake.wait()
        except TimeoutError:
            pass

    # Who asks for it.

    def watch(self) -> None:
        """See who publishes, and whether somebody still watches, or does again."""
        if self._is_displaced and self.stream.publisher is None:
            self._is_displaced = False
            self.wake()
        if not self.is_on_demand or self.is_stopped:
            return
        if self.is_superseded and self.session is None:
            self._wake.set()
        self.demand.watch()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Be watched for the time of a block, by one who has no place in the stream yet."""
        try:
            with self.demand.guest():
                self.watch()
                yield
        finally:
            self.watch()

    @contextmanager
    def seeking(self) -> Iterator[Awaitable[None]]:
        """Be asked whether the stream is there, inside a block of `watched`.

        What the block gets is to be awaited, and raises why it is not.
        """
        with self._seekers.added() as verdict:
            self._tell_what_is_known()
            yield settled(verdict, self.rounds.why_not)

    async def until_known(self) -> None:
        """Wait a moment for what is sent, if that may be known soon.

        A viewer is then answered with just that, and need not expect every codec there is.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + HOLD
        while self._may_be_known_soon and loop.time() < end:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(GLANCE)

    def recall(self, failure: Failure) -> None:
        """A wish for the same stream failed a moment ago."""
        self.rounds.recall(failure, until=failure.at + MEMORY)
        self._wait(failure.reason)

    def refuse(self) -> None:
        """The node is about to stop: nobody is to wait for an answer."""
        self._seekers.tell(ShuttingDown())
        if self.session is not None and not self.session.is_answered:
            self.session.peer.end("the server is shutting down", "stopped")

    # Inside.

    @property
    def is_superseded(self) -> bool:
        """Whether somebody publishes what was fetched for viewers only for want of that."""
        publisher = self.stream.publisher
        return self.edge is not None and publisher not in (None, self.session)

    def is_silent(self, session: Session) -> bool:
        """Whether no media has come for a while, and others may have it."""
        return (
            self.rounds.has_others
            and session.remote is not None
            and session.is_connected
            and session.remote.media_silence >= NO_MEDIA
        )

    @property
    def _may_be_known_soon(self) -> bool:
        if self.stream.relay.codecs or self.rounds.must_rest or self.is_stopped:
            return False
        session = self.session
        if session is None or not session.is_connected:
            return not self.is_superseded
        return session.lasted < HOLD

    def _end_round(self) -> None:
        failure = self.rounds.end(self._error)
        if failure is not None:
            self._seekers.tell(failure.answer)

    def _restart(self) -> None:
        """As if it began only now."""
        self._is_closing = False
        self.rounds.restart()

    def _tell_what_is_known(self) -> None:
        if self.is_stopped:
            self._seekers.tell(NotPublished(self.stream.name))
        elif self._is_closing:
            return
        elif self.is_waiting:
            now = asyncio.get_running_loop().time()
            failure = self.rounds.failure
            if failure is not None and now - failure.at < MEMORY:
                self._seekers.tell(failure.answer)
            else:
                self.wake()
        elif self.session is not None and self.session.is_answered:
            if not self.may_wait:
                self._seekers.tell(None)
            elif self._state is CascadeState.CONNECTED:
                self._look_for_media(self.session)

    def _give_up(self, session: Session) -> None:
        """Whoever waits is not to wait for a server that says nothing, where there are others."""
        if session is self.session and not session.is_answered:
            session.peer.end(f"no answer within {ANSWER:g} s", NO_ANSWER)

    def _look_for_media(self, session: Session) -> None:
        """Tell those who ask what becomes of a connection, which may be without media."""
        if not session.is_connected or not self._seekers:
            return
        if self.stream.relay.codecs:
            self._seekers.tell(None)
        elif session.lasted >= PROMPT:
            # We wait at the other server, where nobody publishes.
            self._seekers.tell(NotPublished(self.stream.name))
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(PROMPT / 10, self._look_for_media, session)

    def _close(self) -> None:
        """Nobody watches any more."""
        self._wake.set()
        if self.session is not None:
            self._is_closing = True
            self.session.peer.end("nobody watches it any more", "unwatched")

    def _wait(self, reason: str) -> None:
        self.session = None
        self._error = reason
        self._enter(CascadeState.WAITING)

    def _enter(self, state: CascadeState) -> None:
        if state is not self._state:
            self._state = state
            self._since = now_ms()
