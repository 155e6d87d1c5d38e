from __future__ import annotations

import dataclasses

import pytest

from live777py.protocol.extensions import Extension
from live777py.relay import retransmit
from live777py.relay.seam import ViewerId
from live777py.relay.viewers import pack_losses

from .support import SMALL, Endpoint, Rig, rig, rtp

pytestmark = pytest.mark.usefixtures("lane")

COUNTED = ("retransmitted", "retransmit_missed", "retransmit_limited")


def _counts(r: Rig) -> tuple[int, ...]:
    return tuple(r[name] for name in COUNTED)


def _viewer(r: Rig, endpoint: Endpoint) -> ViewerId:
    (viewer,) = r.plane._peers[endpoint.peer].viewers
    return viewer


def _forget(r: Rig) -> None:
    """Let the time pass that must lie between two retransmissions of a packet."""
    r.plane._state.resent["at"] -= 2 * retransmit.REPEAT_INTERVAL


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([], []),
        ([5], [5]),
        ([5, 6, 21], [5 | 1 << 16 | 1 << 31]),
        ([5, 22], [5, 22]),
        ([65_535, 0, 3], [65_535 | 1 << 16 | 1 << 19]),
        ([9, 9, 10], [9 | 1 << 16]),
        ([10, 9], [10, 9]),
    ],
)
def test_losses_are_packed_as_in_a_nack(numbers: list[int], words: list[int]) -> None:
    assert pack_losses(numbers) == words


def test_without_rtx_the_same_bytes_come_again() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        endpoint = r.endpoint()
        orientation = {7: Extension.VIDEO_ORIENTATION}
        r.bind(publisher, track, extensions=orientation)
        viewer = r.watch(
            endpoint,
            track,
            first_sequence=32_767,
            timestamp_offset=2**32 - 5,
            extensions={Extension.VIDEO_ORIENTATION: 3},
        )
        r.turn()
        for n in range(40):
            extension = (0xBEDE, b"\x70\x03")
            publisher.publish(rtp(n, n, bytes([n]) * (n + 1), extension=extension))
        r.turn()
        sent = endpoint.datagrams(40)
        wanted = [0, 1, 17, 39]
        r.plane.retransmit(viewer, [(32_767 + n) & 0xFFFF for n in wanted])
        r.turn()
        assert endpoint.datagrams(4) == [sent[n] for n in wanted]
        assert _counts(r) == (4, 0, 0)
        stats = r.plane.viewer_stats(viewer)
        assert stats.packets == 40, "retransmissions are not counted"
        assert r.plane.peer_stats(endpoint.peer).packets_sent == 44


def test_rtx_has_numbers_of_its_own_and_tells_the_original() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        endpoint = r.endpoint()
        r.bind(publisher, track, extensions={7: Extension.VIDEO_ORIENTATION})
        viewer = r.watch(
            endpoint,
            track,
            extensions={Extension.VIDEO_ORIENTATION: 3},
            rtx_payload_type=101,
            rtx_ssrc=2000,
        )
        r.turn()
        for n in range(6):
            extension = (0xBEDE, b"\x70\x03") if n % 2 else None
            packet = rtp(
                n, 3000 * n, b"frame %d" % n, marker=n == 4, extension=extension
            )
            publisher.publish(packet)
        r.turn()
        sent = endpoint.packets(6)
        r.plane.retransmit(viewer, [2, 5])
        r.turn()
        r.plane.retransmit(viewer, [6])
        r.turn()
        got = endpoint.packets(3)
        first = got[0].sequence
        assert 0 < first < 1 << 15
        assert [p.sequence for p in got] == [first, first + 1, first + 2]
        assert {(p.ssrc, p.payload_type) for p in got} == {(2000, 101)}
        for again, number in zip(got, (2, 5, 6), strict=True):
            original = sent[number - 1]
            assert again.payload == number.to_bytes(2) + original.payload
            assert again.timestamp == original.timestamp
            assert again.marker == original.marker
            assert again.extension == original.extension


def test_padding_stays_at_the_end_of_what_is_sent_again() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        endpoint = r.endpoint()
        viewer = r.watch(endpoint, track, rtx_payload_type=101, rtx_ssrc=2000)
        r.turn()
        publisher.publish(rtp(1, payload=b"", padding=255))
        r.turn()
        r.plane.retransmit(viewer, [1])
        r.turn()
        _, again = endpoint.packets(2)
        assert again.padding
        assert again.payload == b"\0\1" + bytes(254) + b"\xff"


def test_a_packet_of_the_largest_size_fits_with_its_original_number() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        endpoint = r.endpoint()
        viewer = r.watch(endpoint, track, rtx_payload_type=101, rtx_ssrc=2000)
        r.turn()
        publisher.publish(rtp(1, payload=bytes(1504 - 12)))
        r.turn()
        r.plane.retransmit(viewer, [1])
        r.turn()
        # With the tag of AES-GCM.
        assert [len(d) for d in endpoint.datagrams(2)] == [1504 + 16, 1506 + 16]


def test_rtx_goes_on_when_another_publisher_follows() -> None:
    with rig() as r:
        first, track, _ = r.stream(0)
        endpoint = r.endpoint()
        viewer = r.watch(endpoint, track, rtx_payload_type=101, rtx_ssrc=2000)
        r.turn()
        first.publish(rtp(500, 9000))
        r.turn()
        r.plane.retransmit(viewer, [1])
        r.turn()
        second = r.endpoint()
        r.bind(second, track)
        r.turn()
        second.publish(rtp(60_000, 7, b"second", ssrc=43))
        r.turn()
        r.plane.retransmit(viewer, [2])
        r.turn()
        got = endpoint.packets(4)
        assert [p.sequence for p in got if p.ssrc == 1000] == [1, 2]
        again = [p for p in got if p.ssrc == 2000]
        assert again[1].sequence == again[0].sequence + 1
        assert again[1].payload == b"\0\2second"
        assert 0 < again[1].timestamp - again[0].timestamp < 60 * 90_000


def test_what_was_never_sent_or_is_forgotten_is_missed() -> None:
    with rig(dataclasses.replace(SMALL, history=64)) as r:
        publisher, _, (endpoint,) = r.stream()
        viewer = _viewer(r, endpoint)
        r.plane.retransmit(viewer, [1, 2])
        r.turn()
        assert _counts(r) == (0, 2, 0), "nothing before the first packet"
        for n in range(70):
            publisher.publish(rtp(n, n))
        r.turn()
        endpoint.datagrams(70)
        # Before its first, overwritten, kept, newest, not yet there.
        r.plane.retransmit(viewer, [0, 65_535, 6, 7, 70, 71])
        r.turn()
        assert [p.sequence for p in endpoint.packets()] == [7, 70]
        assert _counts(r) == (2, 6, 0)


def test_numbers_are_told_apart_over_a_wrap() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        endpoint = r.endpoint()
        viewer = r.watch(
            endpoint, track, first_sequence=1, rtx_payload_type=9, rtx_ssrc=5
        )
        r.turn()
        row = r.plane._state.viewers[viewer]
        publisher.publish(rtp(1))
        r.turn()
        # As if it had been watching for a while.
        row.shift += 65_530
        row.floor += 1
        for n in range(2, 12):
            publisher.publish(rtp(n, n, b"%d" % n))
        r.turn()
        r.plane.retransmit(viewer, [65_532, 65_535, 0, 4])
        r.turn()
        got = [p.payload for p in endpoint.packets() if p.ssrc == 5]
        assert got == [b"\xff\xfc2", b"\xff\xff5", b"\0\x006", b"\0\x0410"]


def test_one_packet_is_not_sent_again_and_again() -> None:
    with rig() as r:
        publisher, _, (endpoint,) = r.stream()
        viewer = _viewer(r, endpoint)
        publisher.publish(rtp(1))
        publisher.publish(rtp(2))
        r.turn()
        for _ in range(3):
            r.plane.retransmit(viewer, [1, 2])
        r.turn()
        assert _counts(r) == (2, 0, 4)
        _forget(r)
        r.plane.retransmit(viewer, [1])
        r.turn()
        assert r["retransmitted"] == 3


def test_what_is_sent_again_is_bounded_by_what_is_sent() -> None:
    with rig() as r:
        publisher, _, (endpoint,) = r.stream()
        viewer = _viewer(r, endpoint)
        for n in range(60):
            publisher.publish(rtp(n, n, bytes(1000)))
        r.turn()
        for _ in range(10):
            r.plane.retransmit(viewer, range(1, 61))
            r.turn()
            _forget(r)
        # 32 KiB at first, half of 60,000 bytes, and a little for the time that passed.
        again = r["retransmitted"]
        assert 50 < again < 100
        assert r["retransmit_limited"] == 600 - again
        row = r.plane._state.viewers[viewer]
        row.credit_at -= 10_000_000_000
        r.plane.retransmit(viewer, range(1, 61))
        r.turn()
        assert 20 < r["retransmitted"] - again < 40


def test_a_long_list_is_cut() -> None:
    with rig() as r:
        publisher, _, (endpoint,) = r.stream()
        publisher.publish(rtp(1))
        r.turn()
        before = r["commands"]
        r.plane.retransmit(_viewer(r, endpoint), range(0, 65_536, 2))
        r.turn()
        assert r["commands"] - before == 4


def test_a_busy_loop_is_not_asked_for_more() -> None:
    with rig() as r:
        publisher, _, (endpoint,) = r.stream()
        publisher.publish(rtp(1))
        r.turn()
        viewer = _viewer(r, endpoint)
        for _ in range(300):
            r.plane.retransmit(viewer, [1])
        assert r["retransmit_dropped"] == 300 - 257
        assert r["commands_waiting"] == 1
        r.turn()
        r.turn()
        assert r["retransmitted"] + r["retransmit_limited"] == 257


def test_who_was_silenced_or_has_gone_gets_nothing_again() -> None:
    with rig() as r:
        publisher, _, (endpoint, gone) = r.stream(2)
        publisher.publish(rtp(1))
        r.turn()
        endpoint.datagrams(1)
        viewer = _viewer(r, endpoint)
        leaving = _viewer(r, gone)
        r.plane.set_payload_type(viewer, -1)
        r.plane.retransmit(viewer, [1])
        r.plane.retransmit(leaving, [1])
        r.plane.remove_peer(gone.peer)
        r.turn()
        r.plane.set_payload_type(viewer, 100)
        r.plane.retransmit(viewer, [1])
        r.turn()
        assert endpoint.datagrams() == []
        assert _counts(r) == (1, 1, 0)
        with pytest.raises(ValueError, match="does not exist"):
            r.plane.retransmit(leaving, [1])


def test_under_another_payload_type_nothing_old_is_sent_again() -> None:
    # One number under two payload types would use one AES-GCM nonce for two texts.
    with rig() as r:
        publisher, _, (endpoint,) = r.stream()
        viewer = _viewer(r, endpoint)
        publisher.publish(rtp(1))
        r.turn()
        r.plane.set_payload_type(viewer, 101)
        r.plane.retransmit(viewer, [1])
        r.turn()
        publisher.publish(rtp(2))
        r.turn()
        r.plane.retransmit(viewer, [1, 2])
        r.turn()
        got = [(p.sequence, p.payload_type) for p in endpoint.packets(2)]
        assert got == [(1, 100), (2, 101)]
        assert _counts(r) == (1, 2, 0)


def test_a_lost_beginning_is_sent_again() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        endpoint = r.endpoint()
        viewer = r.watch(endpoint, track, rtx_payload_type=9, rtx_ssrc=5)
        r.turn()
        for n in range(5):
            publisher.publish(rtp(n, n))
        r.turn()
        endpoint.datagrams(5)
        r.plane.retransmit(viewer, [1, 2])
        r.turn()
        got = [int.from_bytes(p.payload[:2]) for p in endpoint.packets(2)]
        assert got == [1, 2]
