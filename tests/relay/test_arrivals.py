from __future__ import annotations

import time

import pytest

from live777py.relay.arrivals import received_at
from live777py.relay.loop import read_clock
from live777py.relay.tables import ARRIVALS

from .support import Endpoint, Rig, rig, rtp

ID = 3


def numbered(number: int) -> tuple[int, bytes]:
    """A header extension with a transport-wide number behind another element."""
    data = number.to_bytes(2, "big")
    return 0xBEDE, bytes([0x50, 7, 0, ID << 4 | 1]) + data


def listening(r: Rig) -> Endpoint:
    publisher, _, _ = r.stream(0)
    r.plane.set_transport_cc(publisher.peer, ID)
    r.turn()
    return publisher


def until_stamped(r: Rig, publisher: Endpoint) -> int:
    """Wait until the kernel stamps datagrams as they come; the position in the log.

    It begins a moment after the first socket of the machine has asked for it, and until then
    says when a datagram was taken.
    """
    position = 0
    for sequence in range(500):
        sent = time.monotonic_ns() // 1000
        publisher.publish(rtp(sequence, extension=numbered(sequence)))
        time.sleep(0.01)
        r.turn()
        packets, position = r.plane.arrivals(publisher.peer, position)
        if packets and packets[-1][1] < sent + 5_000:
            return position
    raise AssertionError("the kernel stamps nothing")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_numbers_are_noted_with_the_time_of_their_arrival(host: str) -> None:
    with rig(host=host) as r:
        publisher = r.endpoint(host)
        track = r.plane.add_track()
        r.bind(publisher, track)
        r.plane.set_transport_cc(publisher.peer, ID)
        r.turn()
        position = until_stamped(r, publisher)
        distances = []
        for start in range(1000, 1020, 4):
            before = time.monotonic_ns() // 1000
            for sequence, number in enumerate((65_535, 0, 2, 1), start):
                publisher.publish(rtp(sequence, extension=numbered(number)))
            after = time.monotonic_ns() // 1000
            time.sleep(0.02)
            r.turn()
            packets, position = r.plane.arrivals(publisher.peer, position)
            assert [number for number, _ in packets] == [65_535, 0, 2, 1]
            times = [arrived for _, arrived in packets]
            assert times == sorted(times)
            distances.append(max(before - times[0], times[-1] - after))
        # By the kernel's clock, not by that of a turn, which comes 20 ms late. The two clocks are
        # read one after the other: a turn that is interrupted there is off by that, others are not.
        assert min(distances) < 5_000
        assert r.plane.arrivals(publisher.peer, position) == ([], position)


def test_what_carries_no_number_is_not_noted() -> None:
    with rig() as r:
        publisher = listening(r)
        for sequence, extension in enumerate(
            (None, (0xBEDE, b"\x50\x07"), (0xBEDE, bytes([ID << 4, 9])), (0x1000, b""))
        ):
            publisher.publish(rtp(sequence, extension=extension))
        publisher.publish(rtp(9, extension=(0x1000, bytes([ID, 2, 1, 2]))))
        r.turn()
        assert [n for n, _ in r.plane.arrivals(publisher.peer, 0).packets] == [0x102]


def test_only_authenticated_packets_are_noted() -> None:
    with rig() as r:
        publisher = listening(r)
        sent = publisher.publish(rtp(1, extension=numbered(1)))
        publisher.send(sent)
        publisher.send(sent[:-1] + bytes([sent[-1] ^ 1]))
        r.turn()
        assert len(r.plane.arrivals(publisher.peer, 0).packets) == 1


def test_a_reader_that_comes_late_gets_what_is_still_there() -> None:
    with rig() as r:
        publisher = listening(r)
        for number in range(ARRIVALS + 100):
            publisher.publish(rtp(number, extension=numbered(number)))
            if number % 64 == 0:
                r.turn()
        r.turn()
        packets, position = r.plane.arrivals(publisher.peer, 0)
        numbers = [number for number, _ in packets]
        assert numbers == list(range(101, ARRIVALS + 100))
        assert position == ARRIVALS + 100


def test_a_peer_begins_where_the_one_before_left_nothing() -> None:
    with rig() as r:
        publisher = listening(r)
        publisher.publish(rtp(1, extension=numbered(1)))
        r.turn()
        peer = publisher.peer
        r.plane.remove_peer(peer)
        r.turn()
        while (again := r.plane.add_peer()) != peer:
            r.plane.remove_peer(again)
            r.turn()
        assert r.plane.arrivals(again, 0) == ([], 0)
        assert not r.plane._state.peers[peer].transport_cc


def test_the_time_of_a_clock_that_was_set_is_not_believed() -> None:
    with rig() as r:
        publisher = listening(r)
        state = r.plane._state
        # A time long ago is not believed either, should this process stand still here.
        now = 0
        for sequence in range(10):
            publisher.publish(rtp(sequence, extension=numbered(sequence)))
            r.turn()
            read_clock(state)
            now = int(state.engine[0].now)
            if received_at(state, 0) != now:
                break
        assert 0 < now - received_at(state, 0) < 1_000_000_000
        for step in (-10_000_000_000, 10_000_000_000):
            state.engine[0].clock_offset += step
            assert received_at(state, 0) == now
            state.engine[0].clock_offset -= step
        state.input.messages[0].control_length = 0
        assert received_at(state, 0) == now


def test_wrong_ids_are_refused() -> None:
    with rig() as r:
        peer = r.plane.add_peer()
        for identifier in (-1, 256):
            with pytest.raises(ValueError, match="out of range"):
                r.plane.set_transport_cc(peer, identifier)
