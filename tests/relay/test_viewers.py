from __future__ import annotations

import pytest

from .support import rig, rtp

pytestmark = pytest.mark.usefixtures("lane")


def test_a_viewer_begins_with_the_next_packet() -> None:
    with rig() as r:
        publisher, track, _ = r.stream()
        publisher.publish(rtp(10))
        r.turn()
        late = r.endpoint()
        viewer = r.watch(late, track, first_sequence=77)
        r.turn()
        assert r.plane.viewer_stats(viewer).first_sequence == -1
        publisher.publish(rtp(12))
        # Older than what the viewer began with: never sent, the run has begun.
        publisher.publish(rtp(11))
        publisher.publish(rtp(13))
        r.turn()
        assert [p.sequence for p in late.packets()] == [77, 78]
        stats = r.plane.viewer_stats(viewer)
        assert (stats.first_sequence, stats.last_sequence) == (77, 78)
        assert stats.packets == 2
        assert stats.octets == 2 * len(b"payload")


def test_a_silent_viewer_gets_nothing_and_goes_on_without_a_gap() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        endpoint = r.endpoint()
        viewer = r.watch(endpoint, track, payload_type=-1, first_sequence=5)
        r.turn()
        for n, payload_type in enumerate([-1, 100, -1, 101]):
            r.plane.set_payload_type(viewer, payload_type)
            r.turn()
            publisher.publish(rtp(2 * n))
            publisher.publish(rtp(2 * n + 1))
            r.turn()
        got = endpoint.packets()
        assert [(p.sequence, p.payload_type) for p in got] == [
            (5, 100),
            (6, 100),
            (7, 101),
            (8, 101),
        ]


def test_a_viewer_without_keys_or_path_costs_nothing_and_may_get_them_later() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        endpoint = r.endpoint(with_keys=False)
        r.watch(endpoint, track)
        r.turn()
        publisher.publish(rtp(1))
        r.turn()
        r.plane.set_keys(endpoint.peer, endpoint.keys)
        r.turn()
        publisher.publish(rtp(2))
        r.turn()
        r.plane.remove_address(endpoint.peer, endpoint.path)
        r.turn()
        publisher.publish(rtp(3))
        r.turn()
        r.plane.select_path(endpoint.peer, endpoint.path)
        r.turn()
        publisher.publish(rtp(4))
        r.turn()
        assert [p.sequence for p in endpoint.packets()] == [1, 3]
        assert r["packets_out"] == 2
