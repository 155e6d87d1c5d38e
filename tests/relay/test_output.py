from __future__ import annotations

import dataclasses
import errno
import socket

import pytest

from live777py.relay import output
from live777py.relay.cfuncs import COMPILED, sendmmsg
from live777py.relay.seam import Path

from .support import SMALL, rig, rtp

pytestmark = pytest.mark.usefixtures("lane")

SO_NO_CHECK = 11


def test_refused_gso_messages_are_sent_apart() -> None:
    with rig() as r:
        # Without checksums the kernel refuses to segment: EINVAL.
        r.sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        publisher, _, viewers = r.stream(2)
        for n in range(10):
            publisher.publish(rtp(n))
        r.turn()
        assert r["gso_refused"] == 2
        publisher.publish(rtp(10))
        publisher.publish(rtp(11))
        r.turn()
        for viewer in viewers:
            assert [p.sequence for p in viewer.packets(12)] == list(range(1, 13))
        # Once is enough for each.
        assert r["gso_refused"] == 2
        assert r["gso_messages"] == 0
        assert r["send_dropped"] == 0


def test_a_new_path_gets_a_new_chance_of_gso() -> None:
    with rig() as r:
        r.sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        publisher, _, (viewer,) = r.stream()
        publisher.publish(rtp(1))
        publisher.publish(rtp(2))
        r.turn()
        assert r.sending.destinations[viewer.peer].gso_refused == 1
        r.plane.select_path(viewer.peer, viewer.path)
        r.turn()
        assert r.sending.destinations[viewer.peer].gso_refused == 0


@pytest.mark.parametrize("gso", [True, False])
def test_an_unreachable_viewer_costs_nobody_else(gso: bool) -> None:
    with rig(dataclasses.replace(SMALL, gso=gso)) as r:
        publisher, _, viewers = r.stream(3)
        lost = viewers[1]
        # A local address that we do not have: the kernel refuses with EINVAL.
        host, port, _, _ = lost.path
        r.plane.select_path(lost.peer, Path(host, port, "203.0.113.9"))
        r.turn()
        for n in range(4):
            publisher.publish(rtp(n))
        r.turn()
        for viewer in (viewers[0], viewers[2]):
            assert [p.sequence for p in viewer.packets(4)] == [1, 2, 3, 4]
        stats = r.plane.peer_stats(lost.peer)
        assert (stats.packets_sent, stats.bytes_sent, stats.send_errors) == (0, 0, 4)
        assert r["send_dropped"] == 4
        assert r["packets_out"] == 8
        assert lost.datagrams() == []
        sent = [r.plane.viewer_stats(v) for v in r.plane._peers[lost.peer].viewers]
        assert [(s.packets, s.octets) for s in sent] == [(0, 0)]


class _Kernel:
    """Stands before sendmmsg and fails as it is told, by error number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: int) -> None:
        self._errors = list(errors)
        self._sendmmsg = sendmmsg
        self.has_room = 0
        monkeypatch.setattr(output, "sendmmsg", self._send)
        monkeypatch.setattr(output, "errno", lambda: self._errors.pop(0))
        monkeypatch.setattr(output, "poll", lambda *_: self.has_room)

    def _send(self, sock: int, messages: int, count: int, flags: int) -> int:
        if self._errors:
            return -1
        return self._sendmmsg(sock, messages, count, flags)


# Loopback never fills a send buffer, and the calls cannot be replaced in machine code:
# these run where the same functions are plain Python.
plain = pytest.mark.skipif(COMPILED, reason="runs as plain Python")


@plain
def test_a_full_send_buffer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        kernel = _Kernel(monkeypatch, errno.EAGAIN, errno.EAGAIN)
        kernel.has_room = 1
        publisher.publish(rtp(1))
        r.turn()
        assert len(viewer.packets(1)) == 1
        assert (r["send_waits"], r["send_dropped"]) == (2, 0)


@plain
def test_a_buffer_that_stays_full_drops_without_stalling_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with rig() as r:
        publisher, _, viewers = r.stream(20)
        _Kernel(monkeypatch, *[errno.EAGAIN] * 19)
        publisher.publish(rtp(1))
        r.turn()
        assert (r["send_waits"], r["send_dropped"]) == (4, 19)
        assert r["packets_out"] == 1
        assert sum(len(viewer.packets()) for viewer in viewers) == 1
        publisher.publish(rtp(2, 3000))
        r.turn()
        assert all(len(viewer.packets(1)) == 1 for viewer in viewers)


@plain
def test_of_a_frame_that_lost_a_part_nothing_more_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        # Two messages of one frame, a run each: the first is refused.
        _Kernel(monkeypatch, errno.EAGAIN)
        publisher.publish(rtp(1, 3000))
        publisher.publish(rtp(2, 3000, b"x" * 100))
        r.turn()
        for n in (3, 4):
            publisher.publish(rtp(n, 3000))
        r.turn()
        assert (r["packets_out"], r["send_dropped"], r["frames_dropped"]) == (0, 2, 1)
        publisher.publish(rtp(5, 6000))
        publisher.publish(rtp(6, 9000))
        r.turn()
        assert [p.sequence for p in viewer.packets()] == [5, 6]
        stats = r.plane.peer_stats(viewer.peer)
        assert (stats.packets_sent, stats.send_errors) == (2, 2)


@plain
@pytest.mark.parametrize(
    "number", [errno.ECONNREFUSED, errno.ENETUNREACH, errno.EPERM, errno.EMSGSIZE]
)
def test_an_error_costs_one_message(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rig() as r:
        publisher, _, viewers = r.stream(3)
        _Kernel(monkeypatch, number)
        publisher.publish(rtp(1))
        r.turn()
        errors = [r.plane.peer_stats(v.peer).send_errors for v in viewers]
        assert sorted(errors) == [0, 0, 1]
        assert sorted(len(v.packets()) for v in viewers) == [0, 1, 1]


@plain
def test_an_interrupted_call_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        _Kernel(monkeypatch, errno.EINTR)
        publisher.publish(rtp(1))
        r.turn()
        assert len(viewer.packets(1)) == 1


@plain
def test_packets_of_a_refused_run_fail_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        _Kernel(monkeypatch, errno.EIO, errno.EINTR, errno.EAGAIN, errno.EPERM)
        for n in range(4):
            publisher.publish(rtp(n))
        r.turn()
        assert [p.sequence for p in viewer.packets()] == [3, 4]
        stats = r.plane.peer_stats(viewer.peer)
        assert (stats.packets_sent, stats.send_errors) == (2, 2)
        (sent,) = map(r.plane.viewer_stats, r.plane._peers[viewer.peer].viewers)
        assert (sent.packets, sent.octets) == (2, 14)
