"""One peer connection of a client that came to us: ICE-lite, DTLS, RTCP, its end."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

from live777py.aio.finish import finish
from live777py.core import lineage
from live777py.core.model import NO_TRAFFIC, PeerState, Traffic
from live777py.core.ports import Ending, Peer, PeerGone
from live777py.protocol import rtcp, sdpfrag
from live777py.protocol.candidate import Candidate
from live777py.protocol.rtp import Malformed
from live777py.relay.plane import Plane
from live777py.relay.seam import Path, PeerId, SrtpKeys
from live777py.rtc.answer import ICE_OPTIONS
from live777py.rtc.counters import Counts
from live777py.rtc.dtls import Cause, Certificate, Dtls, HandshakeFailed
from live777py.rtc.ice import IceAgent
from live777py.rtc.negotiation import LocalParameters, RemoteParameters
from live777py.rtc.path_messages import PathHearing, PathTelling
from live777py.rtc.reports import WallClock
from live777py.rtc.tracks import StreamTracks
from live777py.rtc.transport import Transport

logger = logging.getLogger(__name__)

#: Seconds between two reports, and between two looks at whether the peer still lives.
TICK = 1.0

#: Ticks of all peers fall on multiples of this, in seconds: to wake the event loop up costs two
#: or three times what a viewer's tick does, and so many share one.
SLOT = 0.05

#: A look at a peer that comes this many seconds late: the process stood still, or its machine.
STALL = 0.25

NANOSECONDS = 1_000_000_000

#: Ticks over which the bitrate is taken.
BITRATE_TICKS = 2

#: Why a handshake failed, as a word for counting.
CAUSES: dict[Cause, str] = {
    Cause.FINGERPRINT: "dtls_fingerprint",
    Cause.NO_SRTP_PROFILE: "dtls_srtp_profile",
    Cause.PROTOCOL: "dtls_protocol",
    Cause.TIMED_OUT: "dtls_timeout",
    Cause.CLOSED: "dtls_closed",
}


def call_in_slot(
    loop: asyncio.AbstractEventLoop,
    delay: float,
    slot: float,
    callback: Callable[[], None],
) -> asyncio.TimerHandle:
    """Call back after `delay`, or up to `slot` earlier, together with others of that slot."""
    # Never at once: who calls for the next time from there would keep the loop busy.
    slot = min(slot, delay / 2)
    return loop.call_at((loop.time() + delay) // slot * slot, callback)


@dataclass(frozen=True, slots=True)
class Resources:
    """What all peers of an engine share.

    Attributes:
        plane, transport: where packets go and come from.
        certificate: presented in every DTLS handshake.
        candidates: announced in every answer, the one to use first.
        clock: NTP time for all sender reports.
        idle_timeout: seconds without anything authenticated after which a peer is gone.
        counts: what all peers count together.
    """

    plane: Plane
    transport: Transport
    certificate: Certificate
    candidates: tuple[Candidate, ...]
    clock: WallClock
    idle_timeout: float
    counts: Counts = field(default_factory=Counts)


class RtcPeer(Peer):
    """What publishers and viewers have in common.

    Its life: `async with` takes a place in the plane, `answer` negotiates, `connected` waits for
    a valid ICE path and runs the DTLS handshake, `gone` waits for the end. All else happens in
    callbacks of the transport and in one timer; there is no task.

    Who makes an offer itself (`_local`, sent to the client) calls `_agreed` with what the client
    answered.
    """

    def __init__(self, resources: Resources, tracks: StreamTracks) -> None:
        loop = asyncio.get_running_loop()
        self._resources = resources
        self._plane = resources.plane
        self._tracks = tracks
        self._loop = loop
        self._state = PeerState.NEW
        self._id = PeerId(-1)
        self._agent: IceAgent
        self._dtls: Dtls | None = None
        self._reachable: asyncio.Future[None] = loop.create_future()
        self._negotiated: asyncio.Future[None] = loop.create_future()
        #: Our username fragments that the transport knows.
        self._ufrags: tuple[str, ...] = ()
        #: When so many bytes had passed, for the bitrate.
        self._samples: deque[tuple[int, int]] = deque(maxlen=BITRATE_TICKS + 1)
        self._bitrate = 0
        self._recent = NO_TRAFFIC
        #: What had passed when the peer left; until then it is counted anew.
        self._passed: Traffic | None = None
        self._ending: asyncio.Future[Ending] = loop.create_future()
        self._connecting: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: None where the other side is no node, or has nothing to say.
        self._hearing: PathHearing | None = None
        self._telling: PathTelling | None = None
        #: When a check or RTCP packet was last authenticated; media is counted by the plane.
        self._heard = time.monotonic_ns()
        #: Until when silence is no fault of the other side's.
        self._pardoned = 0

    @property
    def state(self) -> PeerState:
        """Where in its life the peer is."""
        return self._state

    @property
    def version(self) -> str:
        """The local username fragment: new with every ICE restart, so it is a strong ETag."""
        return self._agent.local.ufrag

    @property
    def remote_ufrag(self) -> str:
        """The client's current ICE username fragment; "" before the answer."""
        return self._agent.remote_ufrag

    @property
    def traffic(self) -> Traffic:
        """What has passed; stays what it was when the peer ends."""
        passed = self._count() if self._passed is None else self._passed
        return replace(passed, bitrate=self._bitrate)

    @property
    def recent(self) -> Traffic:
        """What had passed at the latest tick; with a thousand peers counting takes a while."""
        return self._recent if self._passed is None else self._passed

    @property
    def stage(self) -> str:
        """What has to come next until media can flow."""
        return "dtls" if self._reachable.done() else "ice"

    @property
    def silence(self) -> float:
        """Seconds since anything authenticated came."""
        return self._silent(time.monotonic_ns())

    async def __aenter__(self) -> Self:
        self._id = self._plane.add_peer()
        self._register()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            self._passed = self._count()
            self._bitrate = 0
            self._leave()
            await self._say_goodbye()
        finally:
            self._resources.transport.unregister(self._id)
            self._plane.remove_peer(self._id)
            self._state = PeerState.CLOSED

    # What core calls.

    async def answer(self, offer: str) -> str:
        """Answer an SDP offer.

        Raises:
            Invalid: the offer is malformed, unusable or without a common codec.
        """
        sdp, remote = await self._negotiate(offer, self._local())
        self._agreed(remote)
        return sdp

    def _local(self) -> LocalParameters:
        """What our side puts into an answer or an offer."""
        return LocalParameters(
            ufrag=self._agent.local.ufrag,
            pwd=self._agent.local.pwd,
            fingerprint=self._resources.certificate.fingerprint,
            candidates=self._resources.candidates,
        )

    def _agreed(self, remote: RemoteParameters) -> None:
        """Offer and answer are there: the handshake may begin."""
        self._agent.set_remote_ufrag(remote.ufrag)
        self._dtls = Dtls(
            self._resources.certificate,
            role=remote.dtls_role,
            fingerprints=remote.fingerprints,
            send=self._send,
            on_closed=self._closed_by_client,
        )
        self._state = PeerState.CONNECTING
        self._negotiated.set_result(None)

    def restart(self, ufrag: str, pwd: str) -> str:
        """Restart ICE for a client with these new credentials; media flows on.

        Our own checks would need its password, but a lite agent sends none.

        Returns:
            An SDP fragment with new credentials of ours and all candidates.
        """
        local = self._agent.restart()
        self._agent.set_remote_ufrag(ufrag)
        self._register_ufrags()
        return sdpfrag.write(
            ufrag=local.ufrag,
            pwd=local.pwd,
            options=ICE_OPTIONS,
            mid=self._mid,
            candidates=self._resources.candidates,
        )

    def _register_ufrags(self) -> None:
        """Tell the transport which of our username fragments are valid now."""
        valid = self._agent.ufrags
        for gone in set(self._ufrags) - set(valid):
            self._resources.transport.remove_ufrag(self._id, gone)
        for new in set(valid) - set(self._ufrags):
            self._resources.transport.add_ufrag(self._id, new)
        self._ufrags = valid

    async def connected(self) -> None:
        """Wait for a valid path, run the DTLS handshake, give the plane its keys.

        Raises:
            PeerGone: the handshake failed, or the peer was ended meanwhile.
        """
        try:
            # end() lets this "time out" at once, which needs neither a task nor a race.
            async with asyncio.timeout(None) as self._connecting:
                if self._ending.done():
                    raise PeerGone(*self._ending.result())
                keys = await self._establish()
        except TimeoutError:
            raise PeerGone(*self._ending.result()) from None
        finally:
            self._connecting = None
        if self._ending.done():
            # Between the handshake's end and this task's turn: it must take nobody's place.
            raise PeerGone(*self._ending.result())
        self._prepare()
        self._plane.set_keys(self._id, keys)
        self._state = PeerState.CONNECTED
        self._call_again()
        self._ready()
        self._send_path()

    async def gone(self) -> Ending:
        """Wait until the peer ends; returns how."""
        return await asyncio.shield(self._ending)

    def end(self, reason: str, cause: str = "ended") -> None:
        """End the peer; the first reason stays."""
        if not self._ending.done():
            self._ending.set_result(Ending(reason, cause))
            if self._connecting is not None:
                self._connecting.reschedule(self._loop.time())

    def hear_paths(self, heard: Callable[[lineage.Path], None]) -> None:
        """Believe what the other side says of where its media comes from."""
        self._hearing = PathHearing(heard)

    def tell_path(self, path: lineage.Path) -> None:
        """Tell the other side where what it is sent comes from, as soon as it is connected."""
        if self._telling is None:
            self._telling = PathTelling(self._tracks.cname)
        self._telling.tell(path, time.monotonic_ns())
        self._send_path()

    # What peers that we open ourselves do differently.

    def _register(self) -> None:
        """Have the transport hand over what comes for this peer."""
        self._agent = IceAgent(self._plane, self._id, activity=self._last_received)
        self._ufrags = self._agent.ufrags
        self._resources.transport.register(self._id, self._agent.ufrag, self)

    async def _establish(self) -> SrtpKeys:
        """Find a path and shake hands."""
        await self._negotiated
        await self._reachable
        return await self._handshake()

    async def _say_goodbye(self) -> None:
        """Tell the other side; not to be cut short by a cancellation."""
        if self._dtls is not None:
            await finish(self._dtls.aclose)

    # What publishers and viewers do differently.

    @abstractmethod
    async def _negotiate(
        self, offer: str, local: LocalParameters
    ) -> tuple[str, RemoteParameters]:
        """Make the answer and keep what was agreed."""

    def _prepare(self) -> None:
        """The handshake is done; media that outran it flows as soon as this returns."""

    @property
    @abstractmethod
    def _mid(self) -> str:
        """The tag of the first section that carries media."""

    @abstractmethod
    def _count(self) -> Traffic:
        """What has passed so far."""

    @abstractmethod
    def _ready(self) -> None:
        """Media can flow."""

    @abstractmethod
    def _leave(self) -> None:
        """Let go of the tracks; called once, also when `_ready` never was."""

    def _look(self, silent: float) -> None:
        """Called about once a second, with the seconds since the client was last heard of."""

    @abstractmethod
    def _report(self, now: int) -> list[rtcp.Packet]:
        """The reports that are due, once a second."""

    @abstractmethod
    def _receive(self, packet: rtcp.Packet, now: int) -> None:
        """Take in an RTCP packet of the client."""

    # What the transport calls.

    def receive_stun(self, data: bytes, path: Path, arrived: int) -> None:
        """Answer a connectivity check."""
        reply = self._agent.receive_check(data, path, arrived)
        if reply is not None:
            self._plane.send(reply, path)
        if self._ufrags != self._agent.ufrags:
            self._register_ufrags()
        if self._agent.selected is not None and not self._reachable.done():
            self._reachable.set_result(None)

    def receive_dtls(self, data: bytes, path: Path, arrived: int) -> None:
        """Feed the handshake; a ClientHello may come before our answer has been read."""
        if self._dtls is not None:
            self._dtls.receive(data)

    def receive_rtcp(self, data: bytes, path: Path, arrived: int) -> None:
        """Decrypt and take in a compound RTCP packet."""
        if self._dtls is None:
            return
        plain = self._dtls.unprotect_rtcp(data)
        if plain is None:
            return
        self._heard = arrived
        self._agent.heard(path, arrived)
        try:
            packets = rtcp.parse(plain)
        except Malformed as fault:
            logger.debug("peer %d: malformed RTCP: %s", self._id, fault)
            return
        self._take(packets, arrived)

    # Inside.

    def _take(self, packets: list[rtcp.Packet], now: int) -> None:
        for packet in packets:
            if not isinstance(packet, rtcp.App):
                self._receive(packet, now)
            elif self._hearing is not None:
                self._hearing.receive(packet, now)

    def _send_path(self) -> None:
        # Before the first tick there is nobody to hear it.
        if self._telling is not None and self._timer is not None:
            packets = self._telling.due(time.monotonic_ns())
            if packets:
                self._send_rtcp(*packets)

    def _send_rtcp(self, *packets: rtcp.Packet) -> None:
        if self._dtls is not None and self._state is PeerState.CONNECTED:
            self._send(self._dtls.protect_rtcp(rtcp.compound(*packets)))

    def _send(self, data: bytes) -> None:
        if self._agent.selected is not None:
            self._plane.send(data, self._agent.selected)

    def _closed_by_client(self, reason: str) -> None:
        self.end(f"closed by the client: {reason}", "closed")

    def _last_received(self) -> int:
        return max(self._heard, self._plane.peer_stats(self._id).last_received)

    def _silent(self, now: int) -> float:
        """Seconds since anything authenticated came."""
        last = max(self._last_received(), self._agent.last_check, self._pardoned)
        return (now - last) / NANOSECONDS

    def _tick(self) -> None:
        now = time.monotonic_ns()
        if self._timer is not None:
            self._pardon(now, self._loop.time() - self._timer.when())
        silent = self._silent(now)
        limit = self._resources.idle_timeout
        if silent > limit:
            self.end(f"nothing authenticated came for {limit:g} s", "silent")
            return
        self._call_again()
        self._look(silent)
        self._measure(now)
        packets = self._report(now)
        if packets:
            self._send_rtcp(*packets)
        self._send_path()

    def _call_again(self) -> None:
        delay = min(TICK, self._resources.idle_timeout / 2)
        self._timer = call_in_slot(self._loop, delay, SLOT, self._tick)

    def _pardon(self, now: int, late: float) -> None:
        """Do not take it for the client's silence that nobody here listened for a while.

        What came meanwhile is still to be read, and our own standstill would end every session.
        """
        if late > STALL:
            silent = max(0.0, self._silent(now) - late)
            self._pardoned = now - int(silent * NANOSECONDS)

    def _measure(self, now: int) -> None:
        self._recent = self._count()
        passed = self._recent.bytes
        self._samples.append((now, passed))
        then, before = self._samples[0]
        if now > then:
            self._bitrate = 8 * (passed - before) * NANOSECONDS // (now - then)

    async def _handshake(self) -> SrtpKeys:
        if self._dtls is None:
            raise RuntimeError("answer() comes before connected()")
        try:
            return await self._dtls.handshake()
        except HandshakeFailed as failure:
            self._state = PeerState.FAILED
            reason = f"the DTLS handshake failed: {failure}"
            raise PeerGone(reason, CAUSES[failure.cause]) from failure
