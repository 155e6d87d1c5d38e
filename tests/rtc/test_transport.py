from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from aioice import stun

from live777py.relay.seam import Control, ControlPacket, Gap, Path, PeerId, TrackId
from live777py.rtc.transport import Transport

PATH = Path("203.0.113.1", 1000, "10.0.0.1")
ONE, TWO = PeerId(1), PeerId(2)


class Source:
    """A plane's end: one queue for each kind, read in the order of the kinds."""

    def __init__(self) -> None:
        self.control_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._queues: dict[Control, deque[ControlPacket]] = {
            k: deque() for k in Control
        }
        self._gaps: deque[Gap] = deque()

    def put_gap(self, track: int) -> None:
        self._gaps.append(Gap(TrackId(track), 5, 6, 1, 8, 7))
        os.eventfd_write(self.control_fd, 1)

    def notices(self) -> Iterator[Gap]:
        while self._gaps:
            yield self._gaps.popleft()

    def put(self, kind: Control, data: bytes = b"", peer: int = -1) -> None:
        self._queues[kind].append(ControlPacket(kind, peer, PATH, data, 7))
        os.eventfd_write(self.control_fd, 1)

    def control_packets(self) -> Iterator[ControlPacket]:
        with suppress(BlockingIOError):
            os.eventfd_read(self.control_fd)
        for queue in self._queues.values():
            for _ in range(len(queue)):
                yield queue.popleft()


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    yield source
    os.close(source.control_fd)


class Receiver:
    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.on_packet: Callable[[], None] = lambda: None

    def receive_stun(self, data: bytes, path: Path, arrived: int) -> None:
        self._take("stun", data, path, arrived)

    def receive_dtls(self, data: bytes, path: Path, arrived: int) -> None:
        self._take("dtls", data, path, arrived)

    def receive_rtcp(self, data: bytes, path: Path, arrived: int) -> None:
        self._take("rtcp", data, path, arrived)

    def _take(self, kind: str, data: bytes, path: Path, arrived: int) -> None:
        assert (path, arrived) == (PATH, 7)
        self.got.append((kind, data))
        self.on_packet()


class Broken(Receiver):
    def _take(self, kind: str, data: bytes, path: Path, arrived: int) -> None:
        raise RuntimeError("a bug")


def check(ufrag: str) -> bytes:
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{ufrag}:them"
    return bytes(message)


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_peer_with_its_own_socket_gets_all_that_comes_by_it(
    source: Source,
) -> None:
    one, two = Receiver(), Receiver()
    with Transport(source) as transport:
        transport.register_own(ONE, one)
        transport.register(TWO, "second", two)
        with pytest.raises(ValueError, match="registered already"):
            transport.register_own(ONE, one)
        for kind in (Control.STUN, Control.DTLS, Control.RTCP):
            source.put(kind, b"\1\1", peer=ONE)
        source.put(Control.STUN, check("second"), peer=ONE)
        await turns()
        assert [kind for kind, _ in one.got] == ["stun", "stun", "dtls", "rtcp"]
        assert two.got == []
        transport.unregister(ONE)
        source.put(Control.STUN, check("second"), peer=ONE)
        await turns()
        assert len(two.got) == 1


async def test_checks_go_to_the_peer_that_they_name(source: Source) -> None:
    one, two = Receiver(), Receiver()
    with Transport(source) as transport:
        transport.register(ONE, "first", one)
        transport.register(TWO, "second", two)
        source.put(Control.STUN, check("second"))
        # The address may still be that of another peer.
        source.put(Control.STUN, check("first"), peer=TWO)
        await turns()
        assert one.got == [("stun", one.got[0][1])]
        assert two.got == [("stun", two.got[0][1])]


async def test_the_rest_goes_to_the_peer_of_the_address(source: Source) -> None:
    one, two = Receiver(), Receiver()
    with Transport(source) as transport:
        transport.register(ONE, "first", one)
        transport.register(TWO, "second", two)
        source.put(Control.DTLS, b"d", peer=ONE)
        source.put(Control.RTCP, b"r", peer=TWO)
        await turns()
        assert one.got == [("dtls", b"d")]
        assert two.got == [("rtcp", b"r")]


async def test_key_frames_go_to_the_callback_of_the_track(source: Source) -> None:
    got: list[tuple[bytes, int]] = []
    with Transport(source) as transport:
        # Ids of tracks and peers are apart.
        transport.register(ONE, "first", Broken())
        transport.register_key_frames(TrackId(1), lambda *args: got.append(args))
        source.put(Control.KEY_FRAME, b"k", peer=1)
        await turns()
        assert got == [(b"k", 7)]
        transport.unregister_key_frames(TrackId(1))
        transport.unregister_key_frames(TrackId(1))
        source.put(Control.KEY_FRAME, b"k", peer=1)
        await turns()
        assert got == [(b"k", 7)]


async def test_gaps_go_to_the_callback_of_the_track_whatever_else_there_is(
    source: Source,
) -> None:
    got: list[Gap] = []
    with Transport(source, max_per_turn=4) as transport:
        transport.register_gaps(TrackId(1), got.append)
        for _ in range(10):
            source.put(Control.STUN, b"flood")
        source.put_gap(1)
        source.put_gap(2)
        await turns()
        assert [gap.track for gap in got] == [1]
        assert transport.counters()["control_unknown_peer"] == 1
        source.put_gap(1)
        await turns()
        assert len(got) == 2
        transport.unregister_gaps(TrackId(1))
        transport.unregister_gaps(TrackId(1))
        source.put_gap(1)
        await turns()
        assert len(got) == 2


async def test_a_gap_callback_that_raises_is_logged_once_and_called_again(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[Gap] = []

    def broken(gap: Gap) -> None:
        got.append(gap)
        raise RuntimeError("a bug")

    with Transport(source) as transport:
        transport.register_gaps(TrackId(1), broken)
        source.put_gap(1)
        source.put_gap(1)
        await turns()
        assert len(got) == 2
        assert transport.counters()["control_receiver_errors"] == 2
    assert [r.getMessage() for r in caplog.records] == ["track 1 failed on a gap"]


async def test_what_nobody_waits_for_is_dropped_and_counted(source: Source) -> None:
    with Transport(source) as transport:
        source.put(Control.STUN, check("stranger"))
        source.put(Control.STUN, b"\0\1")
        source.put(Control.DTLS, b"d", peer=9)
        source.put(Control.RTCP, b"r", peer=9)
        source.put(Control.KEY_FRAME, b"k", peer=9)
        await turns()
        assert transport.counters() == {
            "stun_unknown_ufrag": 2,
            "control_unknown_peer": 3,
            "control_receiver_errors": 0,
        }


async def test_an_unregistered_peer_receives_nothing(source: Source) -> None:
    one = Receiver()
    with Transport(source) as transport:
        transport.register(ONE, "first", one)
        transport.unregister(ONE)
        transport.unregister(ONE)
        source.put(Control.STUN, check("first"))
        source.put(Control.DTLS, b"d", peer=ONE)
        await turns()
        assert one.got == []
        transport.register(ONE, "first", one)


async def test_a_second_fragment_leads_to_the_same_peer(source: Source) -> None:
    one = Receiver()
    with Transport(source) as transport:
        transport.register(ONE, "old", one)
        transport.add_ufrag(ONE, "new")
        source.put(Control.STUN, check("new"))
        source.put(Control.STUN, check("old"))
        await turns()
        assert len(one.got) == 2
        transport.remove_ufrag(ONE, "old")
        transport.remove_ufrag(ONE, "old")
        source.put(Control.STUN, check("old"))
        await turns()
        assert len(one.got) == 2


async def test_nothing_is_registered_twice(source: Source) -> None:
    transport = Transport(source)
    transport.register(ONE, "first", Receiver())
    with pytest.raises(ValueError, match="registered already"):
        transport.register(ONE, "second", Receiver())
    with pytest.raises(ValueError, match="in use"):
        transport.register(TWO, "first", Receiver())
    transport.register(TWO, "second", Receiver())


async def test_a_receiver_that_raises_is_logged_once_and_stops_nobody(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    two = Receiver()
    with Transport(source) as transport:
        transport.register(ONE, "first", Broken())
        transport.register(TWO, "second", two)
        for _ in range(3):
            source.put(Control.DTLS, b"d", peer=ONE)
            source.put(Control.DTLS, b"d", peer=TWO)
        await turns()
        assert len(two.got) == 3
        assert transport.counters()["control_receiver_errors"] == 3
    assert [record.getMessage() for record in caplog.records] == [
        "peer 1 failed on a DTLS"
    ]


async def test_a_key_frame_callback_that_raises_is_logged_once_and_called_again(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[bytes] = []

    def picky(data: bytes, _arrived: int) -> None:
        got.append(data)
        if data == b"bad":
            raise RuntimeError("a bug")

    with Transport(source) as transport:
        transport.register_key_frames(TrackId(4), picky)
        for data in (b"bad", b"good", b"bad"):
            source.put(Control.KEY_FRAME, data, peer=4)
        await turns()
        assert got == [b"bad", b"good", b"bad"]
        assert transport.counters()["control_receiver_errors"] == 2
    assert [record.getMessage() for record in caplog.records] == [
        "track 4 failed on a key frame"
    ]


async def test_a_key_frame_callback_may_unregister_itself_and_then_raise(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    with Transport(source) as transport:

        def last(_data: bytes, _arrived: int) -> None:
            transport.unregister_key_frames(TrackId(4))
            raise RuntimeError("a bug")

        transport.register_key_frames(TrackId(4), last)
        source.put(Control.KEY_FRAME, b"k", peer=4)
        source.put(Control.KEY_FRAME, b"k", peer=4)
        await turns()
        assert transport.counters()["control_receiver_errors"] == 1
        assert transport.counters()["control_unknown_peer"] == 1
    assert len(caplog.records) == 1


async def test_a_flood_leaves_the_event_loop_its_turns(source: Source) -> None:
    one = Receiver()
    with Transport(source, max_per_turn=10) as transport:
        transport.register(ONE, "first", one)
        for _ in range(35):
            source.put(Control.DTLS, b"d", peer=ONE)
        seen = []
        while len(one.got) < 35:
            await asyncio.sleep(0)
            seen.append(len(one.got))
        steps = [
            after - before for before, after in zip([0, *seen], seen, strict=False)
        ]
        assert max(steps) <= 10


async def test_a_flood_of_one_kind_does_not_starve_another(source: Source) -> None:
    one = Receiver()
    with Transport(source, max_per_turn=4) as transport:
        transport.register(ONE, "first", one)

        def flood() -> None:
            for _ in range(2):
                source.put(Control.STUN, check("first"))

        one.on_packet = flood
        flood()
        source.put(Control.DTLS, b"d", peer=ONE)
        await turns(10)
        assert ("dtls", b"d") in one.got
        one.on_packet = lambda: None


async def test_nothing_is_delivered_after_the_end(source: Source) -> None:
    one = Receiver()
    transport = Transport(source, max_per_turn=2)
    transport.register(ONE, "first", one)
    with transport:
        for _ in range(10):
            source.put(Control.DTLS, b"d", peer=ONE)
        await turns(2)
    got = len(one.got)
    assert 0 < got < 10
    await turns(5)
    assert len(one.got) == got
    transport.__exit__(None, None, None)


async def test_a_receiver_may_end_it(source: Source) -> None:
    one = Receiver()
    transport = Transport(source)
    one.on_packet = lambda: transport.__exit__(None, None, None)
    transport.register(ONE, "first", one)
    with transport:
        source.put(Control.DTLS, b"d", peer=ONE)
        source.put(Control.DTLS, b"d", peer=ONE)
        await turns(5)
    assert len(one.got) == 1
