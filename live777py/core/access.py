"""Who may do what: rights, and the verbs of `Live` for a caller that has only some of them.

HTTP dialects find out who calls and make a `Caller` of it; they never call `Live` themselves, so
that no handler can forget to ask.
"""

from __future__ import annotations

import enum
import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from live777py.core.events import Subscription
from live777py.core.live import Live
from live777py.core.model import (
    Answered,
    Cascade,
    CascadeInfo,
    IfMatch,
    Restarted,
    Role,
    SessionId,
    SideInfo,
    StreamInfo,
)
from live777py.core.stream import stream_name
from live777py.errors import NotPermitted
from live777py.protocol.codecs import Kind

#: The stream of a grant that holds for all streams and for the node itself.
ANY_STREAM = "*"


class Right(enum.Flag):
    """What may be done with a stream; the values are the bits of live777's `mode` claim."""

    MANAGE = 1
    PUBLISH = 2
    SUBSCRIBE = 4


ALL_RIGHTS = Right.MANAGE | Right.PUBLISH | Right.SUBSCRIBE


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody was granted.

    Attributes:
        stream: the name of the one stream that it is for, or "*" for all and for the node.
        rights: what may be done.
        holder: who it is, for the log; never a secret.
    """

    stream: str = ANY_STREAM
    rights: Right = ALL_RIGHTS
    holder: str = ""

    def permits(self, right: Right, stream: str = ANY_STREAM) -> bool:
        """Whether something may be done with a stream, or with the node."""
        return right in self.rights and self.stream in (ANY_STREAM, stream)

    def require(self, right: Right, stream: str = ANY_STREAM) -> None:
        """Make sure that something may be done.

        Raises:
            NotPermitted: it may not; the message names the right that is missing.
        """
        if not self.permits(right, stream):
            raise NotPermitted(right.name or "", stream)

    def require_any(self, stream: str) -> None:
        """Make sure that this is for the stream, whatever may be done with it.

        Raises:
            NotPermitted: it is for another one.
        """
        if not any(self.permits(right, stream) for right in Right):
            raise NotPermitted("use", stream)


#: What everybody has where nothing is configured.
EVERYTHING = Grant()


@dataclass(frozen=True, slots=True)
class Client:
    """What is known of a client beside its grant.

    Attributes:
        address: its IP address.
        user_agent: what it calls itself.
    """

    address: str = ""
    user_agent: str = ""


class Admission(Protocol):
    """Somebody outside who has a say in who may publish and watch."""

    async def admit(
        self, role: Role, stream: str, grant: Grant, client: Client
    ) -> None:
        """Ask.

        Raises:
            Denied: it was refused; the message says why if anybody told us.
            Unavailable: nobody answered.
        """


@dataclass(frozen=True, slots=True)
class Caller:
    """The verbs of `Live` for somebody with a grant.

    Each raises `NotPermitted` when the grant is not for that, before anything is looked up: who
    may not do a thing does not learn whether it would have worked. All else is said at `Live`'s
    verb of the same name.

    A session's URL is a secret; beside it any right to its stream will do.
    """

    live: Live
    grant: Grant = EVERYTHING
    client: Client = Client()
    admission: Admission | None = None

    async def publish(self, name: str, offer: str, via: str = "") -> Answered:
        """Begin a publisher's session."""
        self.grant.require(Right.PUBLISH, name)
        await self._admit(Role.PUBLISH, name)
        return await self.live.publish(name, offer, via)

    async def subscribe(
        self,
        name: str,
        offer: str | None,
        via: str = "",
        *,
        may_wait: bool = True,
        seen: float | None = None,
    ) -> Answered:
        """Begin a viewer's session."""
        self.grant.require(Right.SUBSCRIBE, name)
        await self._admit(Role.SUBSCRIBE, name)
        return await self.live.subscribe(name, offer, via, may_wait=may_wait, seen=seen)

    def accept(self, name: str, session_id: str, answer: str) -> None:
        """Answer an offer of ours."""
        self.grant.require_any(name)
        self.live.accept(name, session_id, answer)

    def trickle(
        self,
        name: str,
        session_id: str,
        *,
        ufrag: str,
        pwd: str,
        condition: IfMatch | None,
    ) -> Restarted | None:
        """Send candidates, or restart ICE."""
        self.grant.require_any(name)
        return self.live.trickle(
            name, session_id, ufrag=ufrag, pwd=pwd, condition=condition
        )

    def mute(self, name: str, session_id: str, kind: Kind, *, muted: bool) -> None:
        """Mute a kind for a viewer."""
        self.grant.require_any(name)
        self.live.mute(name, session_id, kind, muted=muted)

    def layers(self, name: str, session_id: str) -> tuple[str, ...]:
        """The layers of which a session may choose one."""
        self.grant.require_any(name)
        return self.live.layers(name, session_id)

    def choose_layer(self, name: str, session_id: str, layer: str | None) -> None:
        """Choose one for a viewer."""
        self.grant.require_any(name)
        self.live.choose_layer(name, session_id, layer)

    def session_version(self, name: str, session_id: str) -> str:
        """The version of a session's ICE credentials."""
        self.grant.require_any(name)
        return self.live.session(name, session_id).peer.version

    async def end_session(self, name: str, session_id: str) -> None:
        """End a session."""
        self.grant.require_any(name)
        await self.live.end_session(name, session_id)

    def streams(self) -> list[StreamInfo]:
        """All streams."""
        self.grant.require(Right.MANAGE)
        return self.live.streams()

    def stream(self, name: str) -> StreamInfo:
        """One stream; any right to it will do.

        Who may not manage it is shown other ids in the place of its sessions': with the right
        ones a viewer could end the publisher. Nor is it told of servers behind this one.
        """
        self.grant.require_any(name)
        info = self.live.stream(name)
        return info if self.grant.permits(Right.MANAGE, name) else _disguised(info)

    def create_stream(self, name: str) -> None:
        """Make a stream."""
        self.grant.require(Right.MANAGE, name)
        self.live.create_stream(name)

    async def delete_stream(self, name: str) -> None:
        """End a stream."""
        self.grant.require(Right.MANAGE, name)
        await self.live.delete_stream(name)

    async def cascade(
        self, name: str, *, source: str, target: str, token: str
    ) -> CascadeInfo:
        """Have a stream pulled or pushed."""
        self.grant.require(Right.MANAGE, name)
        return await self.live.cascade(name, source=source, target=target, token=token)

    def cascades(self, name: str | None = None) -> list[CascadeInfo]:
        """The cascades of a stream, or of the node."""
        self.grant.require(Right.MANAGE, ANY_STREAM if name is None else name)
        return self.live.cascades(name)

    def cascade_info(self, name: str, cascade_id: str) -> CascadeInfo:
        """One cascade."""
        self.grant.require(Right.MANAGE, name)
        return self.live.cascade_info(name, cascade_id)

    async def end_cascade(self, name: str, cascade_id: str) -> None:
        """Delete a cascade."""
        self.grant.require(Right.MANAGE, name)
        await self.live.end_cascade(name, cascade_id)

    def events(self) -> AbstractContextManager[Subscription]:
        """What happens on the node from now on."""
        self.grant.require(Right.MANAGE)
        return self.live.events.subscribe()

    def stream_events(self, name: str) -> AbstractContextManager[Subscription]:
        """What happens from now on, for somebody who watches one stream."""
        self.grant.require(Right.SUBSCRIBE, name)
        return self.live.events.subscribe()

    async def _admit(self, role: Role, name: str) -> None:
        if self.admission is not None:
            # What can be no stream is nothing to ask about.
            stream_name(name)
            await self.admission.admit(role, name, self.grant, self.client)


def _disguised(info: StreamInfo) -> StreamInfo:
    """A stream whose sessions can be told apart and not be used."""
    return replace(
        info,
        publish=_disguised_side(info.publish),
        subscribe=_disguised_side(info.subscribe),
    )


def _disguised_side(side: SideInfo) -> SideInfo:
    return replace(
        side,
        sessions=tuple(
            replace(
                session,
                id=SessionId(hashlib.sha256(session.id.encode()).hexdigest()[:32]),
                cascade=session.cascade and Cascade(),
            )
            for session in side.sessions
        ),
    )
