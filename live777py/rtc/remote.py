"""Peers that this node opens at another server: a stream's publisher, or one of its viewers.

aioice makes the connection, on sockets of its own; then the data plane adopts the one in use, and
what is not media goes back to aioice and its DTLS. The rest is a publisher's or a viewer's.

Through a TURN server nothing is relayed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from abc import abstractmethod
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from live777py.aio.finish import finish
from live777py.clients.sdp_session import (
    VIA,
    Refused,
    SdpClient,
    SdpSession,
    Unreachable,
)
from live777py.clients.whep import WhepClient
from live777py.clients.whip import WhipClient
from live777py.core.ports import PeerGone, RemotePeer
from live777py.core.remote import Remote
from live777py.errors import (
    BadGateway,
    GatewayTimeout,
    InvalidAnswer,
    Loop,
    NotPublished,
)
from live777py.protocol import rtcp
from live777py.protocol.codecs import Kind
from live777py.protocol.extensions import Extension
from live777py.protocol.rtp import Malformed
from live777py.relay.seam import Path, SrtpKeys
from live777py.rtc.negotiation import ReceivedMedia
from live777py.rtc.outgoing import ConnectFailed, Detached, OutgoingPeer
from live777py.rtc.outgoing_offer import (
    Answer,
    AnsweredMedia,
    OutgoingMedia,
    read_answer,
)
from live777py.rtc.peer import Resources, RtcPeer
from live777py.rtc.publisher import Publisher
from live777py.rtc.publisher_answer import REMB, TRANSPORT_CC
from live777py.rtc.tracks import StreamTracks
from live777py.rtc.viewer import Viewer, sent_media
from live777py.rtc.watched import pulled

logger = logging.getLogger(__name__)

#: Seconds that the DELETE of a session may take.
GOODBYE = 5.0

#: Seconds of silence after which the other server is gone: aioice asks it about every five
#: seconds whether it is there (RFC 7675), and waits half a minute before it gives up.
LOST_AFTER = 12.0

#: Seconds between two looks at which codec comes, until one does.
SETTLE = 0.1

#: So many looks may pass between the first packet of one kind and that of the other.
SETTLE_LOOKS = 3

#: Of a status 508 (RFC 5842 section 7.2).
LOOP_DETECTED = 508


class OpenedPeer(RtcPeer, RemotePeer):
    """What both directions have in common."""

    def __init__(
        self, resources: Resources, tracks: StreamTracks, remote: Remote
    ) -> None:
        super().__init__(resources, tracks)
        self._remote = remote
        self._goodbyes = AsyncExitStack()
        self._client: SdpClient
        self._session: SdpSession | None = None
        self._outgoing: OutgoingPeer
        self._detached: Detached | None = None
        self._answered: Answer

    @property
    def version(self) -> str:
        """Nobody restarts ICE here but we."""
        return "cascade"

    @property
    def remote_ufrag(self) -> str:
        """None that a client could change."""
        return ""

    @property
    def stage(self) -> str:
        """As long as it is not connected; aioice knows better."""
        return "ice"

    async def open(self) -> str:
        """Post an offer and read the answer; returns the session's URL."""
        try:
            # As in `connected`: end() lets this "time out" at once.
            async with asyncio.timeout(None) as self._connecting:
                if self._ending.done():
                    raise PeerGone(*self._ending.result())
                return await self._post()
        except TimeoutError:
            raise PeerGone(*self._ending.result()) from None
        finally:
            self._connecting = None

    # What the two directions do differently.

    @abstractmethod
    def _new_client(self, token: str | None, headers: dict[str, str]) -> SdpClient:
        """A client of the other server's."""

    @abstractmethod
    async def _to_offer(self) -> tuple[OutgoingMedia, ...]:
        """The sections of the offer."""

    # What the base class asks.

    def _register(self) -> None:
        self._resources.transport.register_own(self._id, self)

    async def _establish(self) -> SrtpKeys:
        if self._session is None:
            raise RuntimeError("open() comes before connected()")
        try:
            self._answered = await self._outgoing.connect(self._session.answer)
        except ConnectFailed as failure:
            raise PeerGone(str(failure), "connect_failed") from failure
        detached = self._outgoing.detach()
        keys = self._outgoing.keys
        if detached is None or keys is None:
            raise PeerGone("the way leads through a TURN server", "connect_failed")
        self._detached = detached
        # What came before is lost, and asked for again like any loss.
        with detached.socket as sock:
            local = sock.getsockname()
            scope = local[3] if len(local) > 3 else 0
            host, port = detached.remote[:2]
            path = Path(host.partition("%")[0], port, local[0].partition("%")[0], scope)
            self._plane.adopt(self._id, sock, path)
        self._heard = time.monotonic_ns()
        return keys

    async def _say_goodbye(self) -> None:
        await finish(self._hang_up)

    async def _hang_up(self) -> None:
        async with self._goodbyes:
            if self._session is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GOODBYE):
                        await self._client.delete(self._session)

    def _send_rtcp(self, *packets: rtcp.Packet) -> None:
        self._outgoing.send_rtcp(rtcp.compound(*packets))

    def _silent(self, now: int) -> float:
        return (now - self._last_received()) / 1e9

    def _look(self, silent: float) -> None:
        if silent > LOST_AFTER:
            reason = f"nothing came from the other server for {LOST_AFTER:g} s"
            self.end(reason, "silent")

    # What the transport calls.

    def receive_stun(self, data: bytes, path: Path, arrived: int) -> None:
        """Give aioice what it asked for, or is asked."""
        self._heard = arrived
        self._hand_back(data)

    def receive_dtls(self, data: bytes, path: Path, arrived: int) -> None:
        """The end of the association, or somebody who did not hear of its beginning."""
        self._hand_back(data)

    def receive_rtcp(self, data: bytes, path: Path, arrived: int) -> None:
        """RTCP to be decrypted."""
        self._hand_back(data)

    # Inside.

    def _hand_back(self, data: bytes) -> None:
        if self._detached is not None:
            self._detached.receive(data)

    def _take_rtcp(self, plain: bytes) -> None:
        now = time.monotonic_ns()
        self._heard = now
        try:
            packets = rtcp.parse(plain)
        except Malformed as fault:
            logger.debug("peer %d: malformed RTCP: %s", self._id, fault)
            return
        # What comes before the plane is ready has nobody to act on it.
        if self._timer is not None:
            for packet in packets:
                self._receive(packet, now)

    def _closed_by_server(self, reason: str) -> None:
        self.end(f"closed by the other server: {reason}", "closed")

    async def _post(self) -> str:
        remote = self._remote
        media = await self._to_offer()
        self._client = await self._goodbyes.enter_async_context(
            self._new_client(remote.token or None, {VIA: remote.via})
        )
        self._outgoing = await self._goodbyes.enter_async_context(
            OutgoingPeer(
                media,
                certificate=self._resources.certificate,
                target=urlsplit(remote.url).hostname or "",
                cname=self._tracks.cname,
                on_rtcp=self._take_rtcp,
                on_closed=self._closed_by_server,
            )
        )
        try:
            offer = await self._outgoing.offer()
            self._session = await self._client.post(remote.url, offer)
            read_answer(self._session.answer, media)
        except Refused as error:
            if error.status == LOOP_DETECTED:
                raise Loop(self._tracks.name) from error
            raise BadGateway(
                str(error), error.status, error.body, error.retry_after
            ) from error
        except InvalidAnswer as error:
            raise BadGateway(f"{remote.shown}: {error}", 201) from error
        except (Unreachable, ConnectFailed) as error:
            raise GatewayTimeout(str(error)) from error
        return self._session.url or ""


class Source(OpenedPeer, Publisher):
    """Takes a stream from another server's WHEP endpoint."""

    def __init__(
        self, resources: Resources, tracks: StreamTracks, remote: Remote
    ) -> None:
        super().__init__(resources, tracks, remote)
        self._sections: dict[Kind, AnsweredMedia] = {}
        #: Payload types of what has come and is forwarded.
        self._settled: dict[Kind, int] = {}
        self._looks = 0
        self._settle_timer: asyncio.TimerHandle | None = None

    def _new_client(self, token: str | None, headers: dict[str, str]) -> SdpClient:
        return WhepClient(token, headers=headers)

    async def _to_offer(self) -> tuple[OutgoingMedia, ...]:
        return pulled()

    def _prepare(self) -> None:
        answer = self._answered
        for section in answer.media:
            if section.is_accepted:
                self._sections[section.kind] = section
                self._expect(_received(section, next(iter(section.codecs))))
        self._may_reduce = answer.rtcp_rsize
        super()._prepare()

    def _bind(self, media: ReceivedMedia) -> None:
        # A server where nobody publishes, and many where somebody does, answer with all that
        # they may send one day.
        section = self._sections[media.kind]
        for payload_type in section.codecs:
            super()._bind(_received(section, payload_type))

    def _take_over(self, media: tuple[ReceivedMedia, ...]) -> None:
        # An answer is no promise: MediaMTX's has a sound track beside every picture.
        self._settle_timer = self._loop.call_later(SETTLE, self._wait_for_media)

    def _leave(self) -> None:
        if self._settle_timer is not None:
            self._settle_timer.cancel()
            self._settle_timer = None
        super()._leave()

    def _look(self, silent: float) -> None:
        super()._look(silent)
        if self._settled:
            self._settle()

    def _wait_for_media(self) -> None:
        """Say that somebody publishes as soon as it is known what."""
        coming = self._coming()
        self._looks += bool(coming)
        if coming and (
            len(coming) == len(self._sections) or self._looks > SETTLE_LOOKS
        ):
            self._settle_timer = None
            self._settle()
        else:
            self._settle_timer = self._loop.call_later(SETTLE, self._wait_for_media)

    def _settle(self) -> None:
        """Tell the tracks what comes, if it is something else than before."""
        coming = {**self._settled, **self._coming()}
        if coming == self._settled:
            return
        # What came before another codec says nothing of that one.
        since = None if self._settled else self._started
        self._settled = coming
        for kind, payload_type in coming.items():
            self._media[kind] = _received(self._sections[kind], payload_type)
        media = tuple(self._media[kind] for kind in coming)
        self._tracks.begin(self, media, since=since)
        self.request_key_frame()

    def _coming(self) -> dict[Kind, int]:
        """The payload types of the latest packets, as far as there were any."""
        return {
            kind: stats.payload_type
            for kind, stats in self._stats().items()
            if stats.last_arrival > self._started
            and stats.payload_type in self._sections[kind].codecs
        }


class Sink(OpenedPeer, Viewer):
    """Sends a stream to another server's WHIP endpoint."""

    def _new_client(self, token: str | None, headers: dict[str, str]) -> SdpClient:
        return WhipClient(token, headers=headers)

    async def _to_offer(self) -> tuple[OutgoingMedia, ...]:
        if self._tracks.source is None:
            raise NotPublished(self._tracks.name)
        self._offered = await self._published()
        return self._offered

    def _prepare(self) -> None:
        accepted = (m for m in self._answered.media if m.is_accepted)
        self._media = {media.kind: sent_media(media) for media in accepted}

    def source_changed(self) -> None:
        """Send what is now being published, or begin anew where it was not offered."""
        new = self._tracks.codecs.keys() - {media.kind for media in self._offered}
        if new:
            self.end(f"the stream now has {' and '.join(new)}", "codec_changed")
            return
        super().source_changed()


def _received(section: AnsweredMedia, payload_type: int) -> ReceivedMedia:
    """What an answer lets the other server send."""
    repairs = {repaired: rtx for rtx, repaired in section.rtx.items()}
    feedback = section.feedback[payload_type]
    has_numbers = Extension.TRANSPORT_CC in section.extensions.values()
    # A sender follows one of them.
    unused = REMB if has_numbers and TRANSPORT_CC in feedback else TRANSPORT_CC
    return ReceivedMedia(
        mid=section.mid,
        kind=section.kind,
        codec=section.codecs[payload_type],
        payload_type=payload_type,
        rtx_payload_type=repairs.get(payload_type),
        extensions=section.extensions,
        feedback=feedback - {unused},
        ssrcs=section.ssrcs,
        rids=(),
    )
