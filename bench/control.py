"""What control costs: the event loop's time for each thing that it does for a peer.

`python -m bench.control`. A real server, one publisher and one viewer in one process; what the
event loop would call by and by is called many times in a row. CPU time of the best round, which
disturbs a busy machine's figures least; they are of a warm cache, so that a server with many
peers pays somewhat more.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator

from aioice import stun

from live777py.config import Config
from live777py.protocol import rtcp
from live777py.protocol.rtcp import ReceiverReport, ReportBlock, SenderReport
from live777py.relay.seam import Path
from live777py.rtc.congestion import TransportWideFeedback
from live777py.rtc.publisher import Publisher
from live777py.rtc.viewer import Viewer
from live777py.server import Server
from tests.support.media import RtpStream
from tests.support.offers import VP8, audio, video
from tests.support.rtp_client import RtpClient

ROUNDS = 15
CALLS = 200

#: Packets of one publisher in 90 ms at 2.5 and at 10 Mbit/s.
BATCHES = (21, 84)

CONFIG = Config.model_validate(
    {
        "http": {"listen": "127.0.0.1:0"},
        "webrtc": {"listen": "127.0.0.1:0", "addresses": ["127.0.0.1"]},
    }
)


def best(call: Callable[[], object]) -> float:
    """Microseconds that a call takes."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.thread_time_ns()
        for _ in range(CALLS):
            call()
        rounds.append((time.thread_time_ns() - began) / CALLS / 1000)
    return min(rounds)


async def measure() -> dict[str, float]:
    """All figures, in microseconds."""
    async with Server(CONFIG) as server:
        resources = server._engine._resources
        url = server.http_urls[0]
        publishing = RtpClient.publisher(
            f"{url}/whip/cam", video(VP8, ssrc=1), audio(ssrc=2)
        )
        watching = RtpClient.viewer(f"{url}/whep/cam", video(VP8), audio())
        async with publishing, watching:
            await _talk(publishing, watching)
            peers = [r.receiver for r in resources.transport._peers.values()]
            (publisher,) = (peer for peer in peers if isinstance(peer, Publisher))
            (viewer,) = (peer for peer in peers if isinstance(peer, Viewer))
            tracks = publisher._tracks
            track = tracks.tracks["video"].id
            return {
                "track_stats": best(lambda: resources.plane.track_stats(track)),
                "reading of the clocks": best(
                    lambda: publisher.reading(time.monotonic_ns())
                ),
                "publisher's report": best(
                    lambda: publisher._report(time.monotonic_ns())
                ),
                "publisher's tick": best(lambda: _tick(publisher)),
                "viewer's tick": best(lambda: _tick(viewer)),
                "receiver report of a viewer": _best_of(
                    _reports(watching), viewer.receive_rtcp, _path(viewer)
                ),
                "connectivity check": _best_of(
                    _checks(viewer), viewer.receive_stun, _path(viewer)
                ),
                **{
                    f"feedback of {count} packets": best(
                        _Feedback(publisher, count).send
                    )
                    for count in BATCHES
                },
            }


async def _talk(publishing: RtpClient, watching: RtpClient) -> None:
    """Have both tracks flowing, and the clocks known."""
    streams = (RtpStream(96, 1), RtpStream(111, 2))
    for tick in range(20):
        for stream in streams:
            sample = b"\x10\x00" + bytes(300)
            await publishing.send_rtp(*stream.packets(sample, tick * 900))
        await publishing.send_rtcp(
            SenderReport(1, (3_900_000_000 << 32) + (tick << 26), tick * 900, 9, 9),
            SenderReport(2, (3_900_000_000 << 32) + (tick << 26), tick * 900, 9, 9),
        )
        await asyncio.sleep(0.02)
    await watching.until(lambda: watching.rtp_of("audio") and watching.rtp_of("video"))


def _path(viewer: Viewer) -> Path:
    path = viewer._agent.selected
    assert path is not None  # noqa: S101 - it is connected
    return path


def _tick(peer: Publisher | Viewer) -> None:
    assert peer._timer is not None  # noqa: S101 - it is connected
    peer._timer.cancel()
    peer._tick()


def _best_of(
    packets: Iterator[bytes], take: Callable[[bytes, Path, int], None], path: Path
) -> float:
    rounds = []
    for _ in range(ROUNDS):
        some = [next(packets) for _ in range(CALLS)]
        began = time.thread_time_ns()
        for packet in some:
            take(packet, path, began)
        rounds.append((time.thread_time_ns() - began) / CALLS / 1000)
    return min(rounds)


def _reports(watching: RtpClient) -> Iterator[bytes]:
    session = watching._dtls._tx_srtp
    assert session is not None  # noqa: S101 - it is connected
    ssrcs = [watching.answer.section(kind).ssrcs[0] for kind in ("video", "audio")]
    blocks = tuple(ReportBlock(ssrc, 0, 0, 40, 3, 7, 9) for ssrc in ssrcs)
    plain = rtcp.compound(ReceiverReport(7, blocks))
    while True:
        yield session.protect_rtcp(plain)


def _checks(viewer: Viewer) -> Iterator[bytes]:
    local = viewer._agent.local
    theirs = viewer._agent._session.remote_ufrag
    while True:
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{local.ufrag}:{theirs}"
        message.attributes["ICE-CONTROLLING"] = 1
        message.attributes["PRIORITY"] = 2
        message.add_message_integrity(local.pwd.encode())
        yield bytes(message)


class _Feedback:
    """Congestion feedback as a publisher is sent it, of packets that come in bursts."""

    def __init__(self, publisher: Publisher, count: int) -> None:
        self._publisher = publisher
        self._count = count
        self._number = 0
        self._time = 1_000_000_000
        self._congestion = TransportWideFeedback(1)

    def send(self) -> None:
        packets = []
        for i in range(self._count):
            self._time += 15 if i % 7 else 90_000 * 7 // self._count
            # One in fifty is lost.
            self._number += 1 + (self._number % 50 == 0)
            packets.append((self._number & 0xFFFF, self._time))
        for feedback in self._congestion.feedback(packets, 1):
            self._publisher._send_rtcp(*self._publisher._reports.feedback(feedback))


def main() -> int:
    """Run from the command line."""
    for name, value in asyncio.run(measure()).items():
        sys.stdout.write(f"{name:<30} {value:6.1f} us\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
