from __future__ import annotations

import dataclasses

import pytest

from live777py.relay.fanout import plan

from .support import SMALL, rig, rtp

pytestmark = pytest.mark.usefixtures("lane")


@pytest.mark.parametrize("gso", [True, False])
def test_viewers_get_the_same_bytes_with_and_without_gso(gso: bool) -> None:
    sizes = [1100] * 5 + [300] + [1100] * 3 + [200, 200, 900, 0, 0, 1]
    with rig(dataclasses.replace(SMALL, gso=gso)) as r:
        publisher, _, viewers = r.stream(3)
        for n, size in enumerate(sizes):
            publisher.publish(rtp(n, n, bytes([n]) * size, marker=size == 300))
        r.turn()
        for number, viewer in enumerate(viewers):
            datagrams = viewer.datagrams(len(sizes))
            # Authentication tag and header around each payload, and nothing else.
            assert [len(d) for d in datagrams] == [12 + n + 16 for n in sizes]
            for n, (data, size) in enumerate(zip(datagrams, sizes, strict=True)):
                expected = rtp(
                    n + 1,
                    n,
                    bytes([n]) * size,
                    payload_type=100,
                    ssrc=1000 + number,
                    marker=size == 300,
                )
                assert viewer.unprotect.unprotect(data) == expected
        assert (r["gso_messages"] > 0) is gso
        assert r["packets_out"] == 3 * len(sizes)


@pytest.mark.parametrize(
    ("lengths", "runs"),
    [
        ([9], [1]),
        ([9, 9, 9], [3]),
        ([9, 9, 5], [3]),
        ([9, 5, 9], [2, 1]),
        ([5, 9, 9], [1, 2]),
        ([9, 5, 5, 5], [2, 2]),
        ([9, 5, 4], [2, 1]),
        ([7] * 50, [40, 10]),
    ],
)
def test_runs_are_of_equal_size_but_for_the_last(
    lengths: list[int], runs: list[int]
) -> None:
    with rig() as r:
        state = r.plane._state
        track = state.audiences[0]
        track.batch_first_plus_one = 1
        for n, length in enumerate(lengths):
            state.history.packets[n].length = length
            state.input.collected[n].slot = n
            following = n + 2 if n + 1 < len(lengths) else 0
            state.input.collected[n].next_plus_one = following
        assert plan(state, track) == len(runs)
        assert state.output.runs[: len(runs)].tolist() == runs
        assert state.output.slots[: len(lengths)].tolist() == list(range(len(lengths)))
        assert track.batch_first_plus_one == 0


def test_more_viewers_than_the_output_holds_are_all_served() -> None:
    with rig() as r:
        publisher, _, viewers = r.stream(40)
        for n in range(10):
            publisher.publish(rtp(n))
        r.turn()
        assert r["packets_out"] == 400
        for viewer in viewers:
            assert len(viewer.packets(10)) == 10


def test_tracks_of_one_batch_do_not_mix() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        audio = r.plane.add_track()
        r.bind(publisher, audio, payload_type=111)
        r.watch(viewer, audio, payload_type=63, ssrc=5)
        r.turn()
        for n in range(20):
            publisher.publish(rtp(n, payload=b"video", ssrc=1))
            publisher.publish(rtp(n, payload=b"audio", ssrc=2, payload_type=111))
        r.turn()
        got = {(p.ssrc, p.payload, p.payload_type) for p in viewer.packets(40)}
        assert got == {(1000, b"video", 100), (5, b"audio", 63)}


def test_a_publisher_may_watch_itself() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        r.watch(publisher, track)
        r.turn()
        publisher.publish(rtp(1))
        r.turn()
        assert len(publisher.packets(1)) == 1
