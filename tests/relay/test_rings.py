from __future__ import annotations

import dataclasses

from live777py.protocol.codecs import Format
from live777py.relay.memory import allocate
from live777py.relay.rings import CommandWriter
from live777py.relay.seam import Control

from .support import SMALL, rig, rtp


def test_a_flood_of_one_kind_hides_no_other() -> None:
    with rig() as r:
        peer = r.endpoint()
        r.turn()
        for _ in range(100):
            peer.send(b"\0\1stun")
        r.turn()
        for data in (b"\x16dtls", b"\x80\xc8rtcp"):
            peer.send(data)
        r.turn()
        kinds = [p.kind for p in r.plane.control_packets()]
        assert kinds == [Control.STUN] * 64 + [Control.DTLS, Control.RTCP]
        assert r["control_stun"] == 64
        assert r["control_dropped_stun"] == 36
        assert r["control_dropped_dtls"] == 0


def test_the_control_ring_goes_round() -> None:
    with rig() as r:
        peer = r.endpoint()
        r.turn()
        for n in range(1000):
            peer.send(b"\x16%d" % n)
            if n % 50 == 49:
                r.turn()
                got = [p.data for p in r.plane.control_packets()]
                assert got == [b"\x16%d" % i for i in range(n - 49, n + 1)]


def test_longer_and_shorter_control_packets_keep_their_bytes() -> None:
    with rig() as r:
        peer = r.endpoint()
        r.turn()
        sent = [b"\x16" + bytes([n % 251]) * n for n in (2047, 1, 0, 1200)]
        for data in sent:
            peer.send(data)
        r.turn()
        assert [p.data for p in r.plane.control_packets()] == sent


def test_a_full_command_ring_loses_nothing() -> None:
    with rig(dataclasses.replace(SMALL, command_rows=64)) as r:
        publisher, _, (viewer,) = r.stream()
        identity = next(iter(r.plane._viewers))
        for n in range(1000):
            r.plane.set_payload_type(identity, n % 128)
        assert r["commands_waiting"] == 1000 - 64
        r.turn()
        for _ in range(20):
            r.plane.turn()
        assert r["commands_waiting"] == 0
        publisher.publish(rtp(1))
        r.turn()
        assert viewer.packets()[0].payload_type == 999 % 128


def test_waiting_commands_follow_when_control_is_woken() -> None:
    memory = allocate(SMALL)
    woken: list[int] = []
    writer = CommandWriter(memory.lanes, lambda: woken.append(1))
    done: list[int] = []
    for n in range(300):
        writer.post(9, n, then=lambda n=n: done.append(n))  # type: ignore[misc]
    assert (writer.waiting, writer.buried) == (44, 300)
    tail = 24
    memory.state.shared[tail] = 200
    writer.advance()
    assert done == list(range(200))
    assert writer.waiting == 0
    assert memory.state.commands[43].tolist()[:2] == [9, 299]
    writer.abandon()
    assert len(done) == 300
    assert woken


def test_a_full_key_frame_ring_is_counted() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(format=Format.VP8)
        for n in range(70):
            publisher.publish(rtp(n, n, b"\x10\0"))
            r.turn()
            r.plane._state.tracks[track].key_announced -= 200_000_000
        assert r["control_key_frame"] == 64
        assert r["control_dropped_key_frame"] == 6
