from __future__ import annotations

import itertools
import random
import socket

import pytest

from live777py.fleet import ports


def test_none_is_given_twice_and_none_is_one_for_outgoing_connections() -> None:
    found = list(itertools.islice(ports.free(), 200))
    assert len(set(found)) == 200
    assert all(ports.FIRST <= port < ports.LAST for port in found)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_one_that_is_taken_is_passed_over(
    kind: socket.SocketKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        free = next(ports.free())
        monkeypatch.setattr(random, "sample", lambda _range, _count: [port, free])
        assert list(ports.free()) == [free]
