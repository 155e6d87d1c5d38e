from __future__ import annotations

from live777py.relay.tables import NOTICES

from .support import SMALL, rig, rtp


def test_a_gap_is_told_with_the_numbers_of_both_sides() -> None:
    with rig() as r:
        publisher, track, (viewer,) = r.stream()
        for sequence in (65_533, 65_534, 2, 3):
            publisher.publish(rtp(sequence, sequence, ssrc=7))
        r.turn()
        list(r.plane.control_packets())
        (gap,) = r.plane.notices()
        assert list(r.plane.notices()) == []
        assert (gap.track, gap.ssrc, gap.missing) == (track, 7, 3)
        assert gap.sequence == 65_535
        assert gap.first == gap.sequence + (1 << 16)
        behind = gap.first + gap.missing
        found = r.plane.find_packets(track, range(gap.first, behind + 1))
        assert found.arrivals == {behind: gap.arrived}
        assert found.oldest == behind + 1 - SMALL.history + 1
        assert r["gaps"] == 1
        assert [p.sequence for p in viewer.packets()] == [1, 2, 6, 7]


def test_reordered_and_repeated_packets_are_no_new_gap() -> None:
    with rig() as r:
        publisher, _, _ = r.stream()
        sent = [publisher.publish(rtp(n)) for n in (1, 2, 5, 4, 3, 6)]
        publisher.send(sent[-1])
        r.turn()
        assert [(g.sequence, g.missing) for g in r.plane.notices()] == [(3, 2)]


def test_a_new_publisher_leaves_no_gap() -> None:
    with rig() as r:
        publisher, track, _ = r.stream()
        publisher.publish(rtp(100))
        r.turn()
        other = r.endpoint()
        r.bind(other, track)
        r.turn()
        other.publish(rtp(5000, ssrc=9))
        r.turn()
        assert list(r.plane.notices()) == []


def test_a_jump_is_told_as_a_gap_that_nobody_can_count() -> None:
    with rig() as r:
        publisher, _, _ = r.stream()
        for sequence in (1, 2, 20_000, 20_001, 20_002):
            publisher.publish(rtp(sequence, sequence))
        r.turn()
        assert [g.missing for g in r.plane.notices()] == [0]


def test_a_full_ring_drops_and_counts_and_goes_round() -> None:
    with rig() as r:
        publisher, _, _ = r.stream()
        sequence = 0
        for expected, dropped in ((NOTICES, 0), (NOTICES, 16)):
            for _ in range(expected + dropped):
                publisher.publish(rtp(sequence))
                sequence += 2
                if sequence % 64 == 0:
                    r.turn()
            r.turn()
            got = list(r.plane.notices())
            # Before the first packet there is nothing to miss.
            assert len(got) == expected - (1 if not r["notices_dropped"] else 0)
            assert {gap.missing for gap in got} == {1}
        assert r["notices_dropped"] == 16


def test_a_gap_wakes_control() -> None:
    with rig() as r:
        publisher, _, _ = r.stream()
        list(r.plane.control_packets())
        publisher.publish(rtp(1))
        publisher.publish(rtp(3))
        r.turn()
        assert r.plane._state.engine[0].announced == 0
        with open(r.plane.control_fd, "rb", closefd=False, buffering=0) as file:
            assert file.read(8) == (1).to_bytes(8, "little")
