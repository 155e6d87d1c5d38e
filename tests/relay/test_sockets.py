from __future__ import annotations

import errno
import logging
import socket

import pytest

from live777py.relay import sockets
from live777py.relay.seam import Path
from live777py.relay.sockets import has_gso, open_udp, send_control, share

from .support import udp


def _open(host: str, port: int = 0, size: int = 1 << 16) -> socket.socket:
    return open_udp(host, port, receive_buffer=size, send_buffer=size)


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("127.0.0.1", socket.AF_INET),
        ("0.0.0.0", socket.AF_INET),
        ("::1", socket.AF_INET6),
        ("::", socket.AF_INET6),
        ("", socket.AF_INET6),
    ],
)
def test_sockets_are_bound_and_do_not_block(
    host: str, family: socket.AddressFamily
) -> None:
    with _open(host) as sock:
        assert sock.family == family
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        assert sock.getsockname()[1] > 0


def test_the_wildcard_serves_both_families() -> None:
    with _open("::") as sock, udp() as four, udp("::1") as six:
        port = sock.getsockname()[1]
        four.sendto(b"4", ("127.0.0.1", port))
        six.sendto(b"6", ("::1", port))
        assert {sock.recv(9), sock.recv(9)} == {b"4", b"6"}


def test_where_there_is_no_ipv6_the_wildcard_is_ipv4(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bind = sockets._bind

    def without_ipv6(
        family: socket.AddressFamily, host: str, port: int
    ) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6")
        return bind(family, host, port)

    monkeypatch.setattr(sockets, "_bind", without_ipv6)
    with _open("::") as sock:
        assert sock.getsockname()[0] == "0.0.0.0"


def test_a_port_in_use_is_an_error_that_leaks_nothing() -> None:
    with _open("::") as sock, pytest.raises(OSError, match="in use"):
        _open("::", sock.getsockname()[1])


def test_clamped_buffers_are_told_once_with_the_sysctls(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING), _open("127.0.0.1", size=1 << 29):
        pass
    (message,) = caplog.messages
    assert f"net.core.rmem_max={1 << 29}" in message
    assert f"net.core.wmem_max={1 << 29}" in message
    caplog.clear()
    with _open("127.0.0.1"):
        assert caplog.messages == []


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::1", "::1"),
        ("::", "::1"),
        ("::", "127.0.0.1"),
    ],
)
def test_all_that_comes_to_a_shared_port_comes_to_the_first(
    host: str, near: str
) -> None:
    with open_udp(host, 0, receive_buffer=65536, send_buffer=65536) as first:
        port = first.getsockname()[1]
        others = share(first, 3)
        assert [other.getsockname() for other in others] == [first.getsockname()] * 3
        for _ in range(40):
            # From ports of their own, by which the kernel would spread them.
            with udp(near) as sender:
                sender.sendto(b"x", (near, port))
        assert sum(1 for _ in iter(lambda: _read(first), b"")) == 40
        # A second server is refused as ever, also at one address of all.
        for other in {host, near}:
            with pytest.raises(OSError, match="in use"):
                open_udp(other, port, receive_buffer=65536, send_buffer=65536)
        for own in others:
            own.close()


def _read(sock: socket.socket) -> bytes:
    try:
        return sock.recv(100)
    except BlockingIOError:
        return b""


def test_a_port_that_cannot_be_shared_is_told_and_costs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first:
        first.bind(("127.0.0.1", 0))
        assert share(first, 0) == []
        assert not caplog.text
    # Closed, which is as good a reason as a kernel without such a thing.
    assert share(first, 2) == []
    assert "one thread alone" in caplog.text


def test_gso_is_looked_for() -> None:
    with _open("127.0.0.1") as sock:
        assert has_gso(sock)
    with socket.socket() as tcp:
        assert not has_gso(tcp)


@pytest.mark.parametrize("listen", ["0.0.0.0", "::"])
def test_replies_leave_from_the_named_address(listen: str) -> None:
    with _open(listen) as sock, udp() as peer:
        for local in ("127.0.0.1", "127.0.0.3"):
            send_control(sock, b"x", Path("127.0.0.1", peer.getsockname()[1], local))
            assert peer.recvfrom(9)[1] == (local, sock.getsockname()[1])
        send_control(sock, b"x", Path("127.0.0.1", peer.getsockname()[1], ""))
        assert peer.recvfrom(9)[0] == b"x"


def test_ipv6_replies_leave_from_the_named_address() -> None:
    with _open("::") as sock, udp("::1") as peer:
        send_control(sock, b"x", Path("::1", peer.getsockname()[1], "::1"))
        assert peer.recvfrom(9)[1][0] == "::1"


def test_an_ipv4_socket_reaches_no_ipv6_address() -> None:
    with _open("0.0.0.0") as sock, pytest.raises(ValueError, match="IPv4 socket"):
        send_control(sock, b"x", Path("::1", 9, ""))
