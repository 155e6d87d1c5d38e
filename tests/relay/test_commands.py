from __future__ import annotations

import random

import pytest

from live777py.relay.seam import Path, ViewerId
from live777py.relay.tables import NAME_BYTES

from .support import rig, rtp

pytestmark = pytest.mark.usefixtures("lane")


def _viewers(state: object, track: int) -> list[int]:
    found = []
    link = state.audiences[track].first_viewer_plus_one  # type: ignore[attr-defined]
    previous = 0
    while link:
        row = state.viewers[link - 1]  # type: ignore[attr-defined]
        assert row.previous_plus_one == previous
        previous = link
        found.append(int(link) - 1)
        link = row.next_plus_one
    return found


def test_the_list_of_viewers_is_right_after_any_changes() -> None:
    source = random.Random(5)
    with rig() as r:
        peer = r.endpoint()
        track = r.plane.add_track()
        alive: list[ViewerId] = []
        for _ in range(400):
            if len(alive) < 20 and source.random() < 0.55:
                alive.append(r.watch(peer, track))
            elif alive:
                gone = alive.pop(source.randrange(len(alive)))
                r.plane.remove_viewer(gone)
            r.turn()
            assert sorted(_viewers(r.sending, track)) == sorted(alive)
            assert r.plane.track_stats(track).viewers == len(alive)


def test_a_link_local_address_names_its_interface() -> None:
    with rig(host="::") as r:
        peer = r.plane.add_peer()
        r.plane.select_path(peer, Path("fe80::1", 4000, "fe80::2", 7))
        r.turn()
        state = r.plane._state
        name = state.paths.names[peer].tobytes()
        assert len(name) == NAME_BYTES
        assert name[:4] == bytes([10, 0]) + (4000).to_bytes(2, "big")
        assert name[8:24] == bytes.fromhex("fe80" + 13 * "00" + "01")
        assert int.from_bytes(name[24:28], "little") == 7
        local = state.paths.locals[peer].tobytes()
        assert local[16:32] == bytes.fromhex("fe80" + 13 * "00" + "02")
        assert int.from_bytes(local[32:36], "little") == 7
        r.plane.select_path(peer, Path("2001:db8::1", 4000, "2001:db8::2"))
        r.turn()
        assert state.paths.locals[peer].tobytes()[32:36] == bytes(4)


def test_commands_take_effect_in_their_order() -> None:
    with rig() as r:
        publisher, track, (viewer,) = r.stream()
        other = r.plane.add_track()
        r.bind(publisher, other)
        r.bind(publisher, track)
        (identity,) = r.plane._peers[viewer.peer].viewers
        r.plane.remove_viewer(identity)
        r.watch(viewer, track, payload_type=9)
        r.turn()
        publisher.publish(rtp(1))
        r.turn()
        assert [p.payload_type for p in viewer.packets()] == [9]
