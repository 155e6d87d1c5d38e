"""What 5 % of random loss costs: how much comes back in time, and whether pictures freeze."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING

from bench.chromium import Missing
from bench.load import Result
from bench.target import Endpoint, Ours, Target
from live777py.protocol import rtp
from live777py.protocol.rtcp import GenericNack, ReceiverReport
from live777py.protocol.rtp import Malformed, RtpPacket
from tests.support.link import Conditions, Link
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient

if TYPE_CHECKING:
    from tests.e2e.losses import End

LOSS = 0.05
#: Half a round trip.
DELAY = 0.01
IN_TIME = 0.2
#: Long enough for some 230 losses: 99.5 % of fewer would be all or not.
SECONDS = 21.0
#: Frames over which freezes are counted: some ten seconds.
FRAMES = 300

#: 240 packets a second of 1,100 bytes in 30 frames.
_FRAME_RATE = 30
_FRAME_PACKETS = 8
_CLOCK_RATE = 90_000
_SSRC = 0x55667788
#: A VP8 payload that begins a frame, an inter frame; then comes the packet's index.
_HEAD = b"\x10\x01"
_BODY = bytes(1_090)
#: Who only receives repeats a request so late in Chromium.
_REPEAT = 0.11
_TICK = 0.002


class Losses:
    """Loses media at random on its way, and notes when what came first.

    Attributes:
        dropped: by sequence number, when its first copy should have arrived.
    """

    def __init__(self, seed: int) -> None:
        self.dropped: dict[int, float] = {}
        self.is_on = False
        self._noise = random.Random(seed)
        self._seen: set[int] = set()

    def drop(self, data: bytes) -> bool:
        """Whether a datagram is lost; for a `Direction` of a link."""
        if not self.is_on or not 128 <= data[0] < 192:
            return False
        is_lost = self._noise.random() < LOSS
        if not 192 <= data[1] <= 223:
            ssrc_and_number = data[2:4] + data[8:12]
            number = int.from_bytes(ssrc_and_number)
            if is_lost and number not in self._seen:
                self.dropped[number] = time.monotonic() + DELAY
            self._seen.add(number)
        return is_lost


class Viewer(RtpClient):
    """Watches, and asks for what is missing as Chromium does.

    Attributes:
        arrivals: by (sequence number, SSRC), as `Losses` has them, when a packet came, by
            itself or as a retransmission; by the index in its payload, too.
    """

    arrivals: dict[int, float]
    by_index: dict[int, float]
    ssrc: int
    _newest: int
    _due: dict[int, float]

    def begin(self) -> None:
        """Prepare; call once the answer is there."""
        self.arrivals, self.by_index, self._due = {}, {}, {}
        self.ssrc = self.answer.section("video").ssrcs[0]
        self._newest = -1

    def take_rtp(self, data: bytes) -> None:
        """Note when a packet came."""
        with contextlib.suppress(Malformed):
            packet = rtp.parse(data)
            if hasattr(self, "arrivals"):
                self._take(packet)

    def _take(self, packet: RtpPacket) -> None:
        now = time.monotonic()
        sequence, payload = packet.sequence, packet.payload
        if packet.ssrc != self.ssrc:
            sequence, payload = int.from_bytes(payload[:2]), payload[2:]
        self.arrivals.setdefault(sequence << 32 | self.ssrc, now)
        self.by_index.setdefault(int.from_bytes(payload[2:10]), now)
        self._due.pop(sequence, None)
        if self._newest < 0:
            self._newest = sequence
        ahead = (sequence - self._newest) & 0xFFFF
        if ahead < 1 << 15:
            for missing in range(1, ahead):
                self._due[(self._newest + missing) & 0xFFFF] = now
            self._newest = sequence

    async def ask(self) -> None:
        """Ask for what is due."""
        now = time.monotonic()
        lost = [number for number, due in self._due.items() if due <= now]
        for number in lost:
            self._due[number] = now + _REPEAT
        if lost:
            nack = GenericNack(1, self.ssrc, tuple(lost[:100]))
            await self.send_rtcp(ReceiverReport(1), nack)


class Publisher(RtpClient):
    """Publishes numbered packets, and sends again what is asked for, each once a round trip."""

    async def play(self, seconds: float) -> None:
        """Send for so long."""
        sent: dict[int, bytes] = {}
        again: dict[int, float] = {}
        began = time.monotonic()
        index = 0
        while (elapsed := time.monotonic() - began) < seconds:
            while index < elapsed * _FRAME_RATE * _FRAME_PACKETS:
                frame, place = divmod(index, _FRAME_PACKETS)
                packet = RtpPacket(
                    payload_type=96,
                    sequence=index & 0xFFFF,
                    timestamp=frame * _CLOCK_RATE // _FRAME_RATE,
                    ssrc=_SSRC,
                    payload=_HEAD + index.to_bytes(8) + _BODY,
                    marker=place == _FRAME_PACKETS - 1,
                )
                sent[index & 0xFFFF] = self.protect(bytes(packet))
                await self.send_datagram(sent[index & 0xFFFF])
                index += 1
            nacks, self.rtcp = self.rtcp, []
            now = time.monotonic()
            for nack in nacks:
                for number in nack.lost if isinstance(nack, GenericNack) else ():
                    if number in sent and now - again.get(number, 0.0) >= 2 * DELAY:
                        again[number] = now
                        await self.send_datagram(sent[number])
            await asyncio.sleep(_TICK)


async def recovered(target: Target) -> Result:
    """Of the packets that one path loses, how much reaches a viewer within 200 ms."""
    return {
        "viewer_back": await _recovered(target, "viewer"),
        "publisher_back": await _recovered(target, "publisher"),
    }


async def _recovered(target: Target, end: End) -> float:
    clear = Conditions(delay=DELAY)
    async with (
        target.running() as server,
        Link(up=clear, down=clear) as first,
        Link(up=clear, down=clear) as second,
    ):
        publisher = Publisher.publisher(
            server.whip(0).url, video(VP8, ssrc=_SSRC, rtx=False)
        )
        viewer = Viewer.viewer(server.whep(0).url, video(VP8))
        for client, link, endpoint in (
            (publisher, first, server.whip(0)),
            (viewer, second, server.whep(0)),
        ):
            _lead(client, link, endpoint)
        async with publisher, viewer:
            viewer.begin()
            forth, back = Losses(1), Losses(2)
            impaired = first if end == "publisher" else second
            impaired.up.drop, impaired.down.drop = forth.drop, back.drop
            playing = asyncio.create_task(publisher.play(SECONDS))
            ends = time.monotonic() + SECONDS + 0.5
            begins = time.monotonic() + 1
            while time.monotonic() < ends:
                is_on = begins < time.monotonic() < ends - 1
                forth.is_on = back.is_on = is_on
                await viewer.ask()
                await asyncio.sleep(_TICK)
            await playing
    lost = forth.dropped if end == "publisher" else back.dropped
    # From the publisher's side to the viewer's it takes a way more.
    extra = DELAY if end == "publisher" else 0.0
    in_time = 0
    for number, due in lost.items():
        arrived = (
            viewer.by_index.get(number >> 32)
            if end == "publisher"
            else viewer.arrivals.get(number)
        )
        in_time += arrived is not None and arrived - due - extra <= IN_TIME
    return in_time / len(lost)


def _lead(client: RtpClient, link: Link, endpoint: Endpoint) -> None:
    client.signalling.edit_answer = link.rewrite
    client.signalling.token = endpoint.token


async def freezes(target: Target) -> Result:
    """Freezes in Chromium on a path that loses packets, and beside it on one that does not.

    Only of our server, whose pages are needed.
    """
    if not isinstance(target, Ours):
        return {}
    try:
        # `make bench` does not install what this needs.
        from tests.e2e import losses
    except ImportError:
        raise Missing("Playwright is not here: `make test` installs it") from None
    figures: Result = {}
    ends: tuple[End, ...] = ("viewer", "publisher")
    for end in ends:
        async with target.running() as server:
            url = server.whip(0).url.partition("/whip/")[0]
            clear, impaired = await losses.compare(
                url, end, "VP8", losses.AT_RANDOM, FRAMES
            )
        figures |= {
            f"{end}_freezes": float(impaired.freezes),
            f"{end}_freezes_clear": float(clear.freezes),
        }
    return figures
