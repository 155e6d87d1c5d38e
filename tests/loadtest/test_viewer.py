"""A viewer that is fed by hand; whole sessions are in test_run.py."""

from __future__ import annotations

import asyncio
import time

from live777py.loadtest.playback import Prepared
from live777py.loadtest.publisher import Publisher
from live777py.loadtest.sockets import Batch
from live777py.loadtest.viewer import Measurement, Viewer
from live777py.protocol import rtcp, rtp
from live777py.protocol.rtcp import GenericNack
from live777py.protocol.rtp import RtpPacket
from live777py.rtc.dtls import Certificate
from tests.loadtest.test_playback import CLIP

CERTIFICATE = Certificate.generate()
SSRC, RTX_SSRC = 77, 78
SHIFT = 123_456


class Fed:
    """A viewer whose packets are in clear and come from a publisher that sends nothing."""

    def __init__(self, loss: float = 0.0) -> None:
        self.measurement = Measurement(loss, 1)
        self.measurement.is_on = True
        self.publisher = Publisher(
            "http://h/whip",
            1,
            Prepared.of(CLIP),
            certificate=CERTIFICATE,
            hosts=[],
            seed=1,
        )
        self.viewer = Viewer(
            "http://h/whep",
            self.publisher,
            self.measurement,
            certificate=CERTIFICATE,
            hosts=[],
        )
        self.sent = self.publisher.tracks["video"]
        self.viewer._codecs = {96: self.sent.codec}
        self.viewer._rtx = {97: 96}
        self.viewer._rtx_ssrcs = {RTX_SSRC: SSRC}
        peer = self.viewer._peer
        peer.unprotect_rtp = lambda data: data  # type: ignore[method-assign]
        self.asked: list[GenericNack] = []
        peer.send_rtcp = self._note  # type: ignore[method-assign]
        self._batch = Batch()

    def _note(self, packet: bytes) -> None:
        self.asked += [p for p in rtcp.parse(packet) if isinstance(p, GenericNack)]

    def take(self, packet: RtpPacket) -> None:
        data = bytes(packet)
        self._batch.buffer[: len(data)] = data
        self.viewer.take(self._batch, 0, len(data))

    def play(self, frames: int = 1, *, but: int | None = None) -> list[RtpPacket]:
        """Send pictures, all packets renumbered as a server does, but for one of them."""
        played = []
        for _ in range(frames):
            frame, packets = self.sent.next_sample()
            frame.sent = time.time_ns()
            for data in packets:
                packet = rtp.parse(data)
                played.append(
                    RtpPacket(
                        96,
                        (packet.sequence + 100) % rtp.SEQUENCES,
                        (packet.timestamp + SHIFT) % rtp.TIMESTAMPS,
                        SSRC,
                        packet.payload,
                        packet.marker,
                    )
                )
        for index, packet in enumerate(played):
            if index != but:
                self.take(packet)
        return played


def test_a_stream_is_recognised_though_its_numbers_differ() -> None:
    fed = Fed()
    played = [packet for _ in range(10) for packet in fed.play()]
    (source,) = fed.viewer.sources.values()
    assert source.offset == SHIFT
    assert fed.viewer.packets == fed.viewer.expected == len(played)
    assert fed.viewer.first_key_frame
    assert fed.viewer.altered == fed.viewer.undecryptable == 0
    # The first frame was under way when the first packet came.
    assert fed.measurement.latency.count == 9
    assert fed.viewer.jitter is not None


def test_what_is_missing_at_the_end_is_missing() -> None:
    fed = Fed()
    fed.play(5)
    packets = fed.sent.packets
    for _ in range(3):
        fed.sent.next_sample()
    missing = fed.sent.packets - packets
    assert missing > 0
    assert fed.viewer.expected - fed.viewer.packets == missing


def test_a_viewer_to_whom_nothing_came_misses_all() -> None:
    fed = Fed()
    fed.sent.next_sample()
    assert fed.viewer.packets == 0
    assert fed.viewer.expected == fed.sent.packets


def test_a_payload_that_was_changed_is_noticed() -> None:
    fed = Fed()
    played = fed.play()
    last = played[-1]
    fed.take(RtpPacket(96, last.sequence + 1, last.timestamp, SSRC, b"\x41changed"))
    assert fed.viewer.altered == 1


def test_once_known_a_stream_is_decrypted_only_while_it_is_the_sample() -> None:
    fed = Fed()
    fed.play(3)
    before = fed.viewer.verified
    fed.play(3)
    assert fed.viewer.verified == before
    fed.viewer.sample(True)
    played = fed.play(3)
    assert fed.viewer.verified == before + len(played)
    fed.viewer.sample(False)
    fed.play(3)
    assert fed.viewer.verified == before + len(played)


async def test_a_dropped_packet_is_asked_for_and_its_return_counted() -> None:
    fed = Fed(loss=1e-12)
    fed.play(2)
    fed.measurement.random = lambda: 0.0
    lost = fed.play()
    assert fed.measurement.dropped == len(lost)
    fed.measurement.random = lambda: 1.0
    await asyncio.sleep(0)
    (nack,) = fed.asked
    assert (nack.media_ssrc, nack.lost) == (SSRC, tuple(p.sequence for p in lost))
    # One comes as it was, one by RTX, the others not.
    fed.take(lost[0])
    payload = lost[1].sequence.to_bytes(2) + lost[1].payload
    fed.take(RtpPacket(97, 1, lost[1].timestamp, RTX_SSRC, payload))
    assert fed.measurement.recovery.count == fed.measurement.within_200ms == 2
    assert fed.viewer.expected - fed.viewer.packets == len(lost) - 2
    await asyncio.sleep(0.06)
    fed.asked.clear()
    fed.viewer.ask_again()
    await asyncio.sleep(0)
    assert [nack.lost for nack in fed.asked] == [tuple(p.sequence for p in lost[2:])]


def test_strange_datagrams_do_no_harm() -> None:
    fed = Fed()
    fed.play()
    back: list[bytes] = []
    fed.viewer._back = back.append
    for data in (b"\x00\x01", b"\x16" * 40, b"\x80\xc8" + bytes(20)):
        fed._batch.buffer[: len(data)] = data
        fed.viewer.take(fed._batch, 0, len(data))
    assert len(back) == 3
    for ssrc in range(1000, 1100):
        fed.take(RtpPacket(120, 1, 1, ssrc, b"x"))
    assert len(fed.viewer.sources) <= 16
