from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.aio import network
from live777py.aio.network import News
from tests.support.namespace import in_a_namespace, ip

UP, RUNNING, LOOPBACK = 0x1, 0x40, 0x8
TENTATIVE, PERMANENT = 0x40, 0x80
V4 = socket.inet_aton("192.0.2.1")


def message(kind: int, body: bytes) -> bytes:
    """A message as the kernel writes it."""
    length = 16 + len(body)
    return struct.pack("=IHHII", length, kind, 0, 0, 0) + body + b"\0" * (-length % 4)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def link(index: int, flags: int, *, kind: int = 16) -> bytes:
    return message(kind, struct.pack("=BxHiII", 0, 1, index, flags, 0))


def address(
    value: bytes = V4, *, index: int = 2, flags: int = PERMANENT, kind: int = 20
) -> bytes:
    head = struct.pack("=BBBBI", socket.AF_INET, 24, flags, 0, index)
    return message(kind, head + attribute(3, b"eth0\0") + attribute(1, value))


def route(flags: int = 0, *, kind: int = 24) -> bytes:
    head = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, 2, 253, 1, flags)
    return message(kind, head + attribute(1, V4))


def test_a_link_that_runs_is_news_once_until_it_is_down() -> None:
    news = News()
    assert not news.receive(link(2, UP))
    assert news.receive(link(2, UP | RUNNING))
    # Links are told of again whatever changes.
    assert not news.receive(link(2, UP | RUNNING))
    assert news.receive(link(3, UP | RUNNING | LOOPBACK))
    assert not news.receive(link(2, UP))
    assert news.receive(link(2, UP | RUNNING))
    assert not news.receive(link(2, UP | RUNNING, kind=17))
    assert news.receive(link(2, UP | RUNNING))


def test_an_address_is_news_once_until_it_is_gone() -> None:
    news = News()
    assert news.receive(address())
    # As each router advertisement prolongs one.
    assert not news.receive(address())
    assert news.receive(address(index=3))
    assert news.receive(address(socket.inet_aton("192.0.2.2")))
    assert not news.receive(address(kind=21))
    assert news.receive(address())


def test_an_address_is_news_when_it_can_be_used() -> None:
    news = News()
    assert not news.receive(address(flags=TENTATIVE | PERMANENT))
    assert news.receive(address())


def test_on_a_link_with_two_ends_the_local_address_counts() -> None:
    news = News()
    head = struct.pack("=BBBBI", socket.AF_INET, 32, PERMANENT, 0, 2)
    other = attribute(1, socket.inet_aton("192.0.2.9"))
    assert news.receive(message(20, head + other + attribute(2, V4)))
    assert not news.receive(address())


def test_routes_are_news_but_for_those_of_a_cache() -> None:
    news = News()
    assert news.receive(route())
    assert not news.receive(route(0x200))
    assert not news.receive(route(kind=25))


def test_every_message_of_a_datagram_is_looked_at() -> None:
    news = News()
    assert news.receive(link(2, UP) + route(kind=25) + address() + address(index=3))
    assert not news.receive(address() + address(index=3))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "MAX_KNOWN", 3)
    news = News()
    for index in range(100):
        assert news.receive(link(index, UP | RUNNING))
        assert len(news._known) <= 3


@given(
    st.binary()
    | st.builds(message, st.integers(14, 26), st.binary(max_size=60))
    | st.builds(lambda whole, cut: whole[:cut], st.just(address()), st.integers(0, 60))
)
def test_nothing_odd_raises(data: bytes) -> None:
    News().receive(data + address())
    News().receive(data)


class Calls:
    """What `watch` calls, and how often it has."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._changed.set()

    async def one(self) -> None:
        """Wait for a call from now on."""
        self._changed.clear()
        await asyncio.wait_for(self._changed.wait(), 20)


@asynccontextmanager
async def watching() -> AsyncIterator[Calls]:
    calls = Calls()
    task = asyncio.create_task(network.watch(calls))
    # It listens once it has run up to its first wait.
    await asyncio.sleep(0)
    try:
        yield calls
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@in_a_namespace
async def test_links_addresses_and_routes_that_come_are_told() -> None:
    async with watching() as calls:
        for words in (
            "link set lo up",
            "address add 192.0.2.1/24 dev lo",
            "address add 2001:db8::1/64 dev lo",
            "route add 198.51.100.0/24 dev lo",
            "-6 route add 2001:db8:1::/48 dev lo",
        ):
            came = asyncio.create_task(calls.one())
            await ip(*words.split())
            await came


@in_a_namespace
async def test_what_goes_is_not_told() -> None:
    await ip("link", "set", "lo", "up")
    await ip("address", "add", "192.0.2.1/24", "dev", "lo")
    async with watching() as calls:
        await ip("address", "del", "192.0.2.1/24", "dev", "lo")
        await ip("link", "set", "lo", "down")
        # Told after the others, if those are told at all.
        came = asyncio.create_task(calls.one())
        await ip("link", "set", "lo", "up")
        await came
        assert calls.count == 1


class FakeSocket(socket.socket):
    """A socket whose datagrams a test puts in; an exception is raised instead."""

    def __init__(self, found: list[tuple[bytes, tuple[int, int]] | OSError]) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.setblocking(False)
        self.found = found

    def recvfrom(self, *_: object) -> tuple[bytes, tuple[int, int]]:
        if not self.found:
            raise BlockingIOError
        first = self.found.pop(0)
        if isinstance(first, OSError):
            raise first
        return first


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((address(), (0, 16)), True),
        # Another program's, which the kernel passes on.
        ((address(), (4711, 16)), False),
        # Some were dropped: who knows which.
        (OSError(errno.ENOBUFS, "no buffer space"), True),
    ],
)
async def test_only_the_kernel_is_believed_and_what_is_missed_counts(
    found: tuple[bytes, tuple[int, int]] | OSError, expected: bool
) -> None:
    with FakeSocket([found]) as sock:
        assert await network._read(sock, News()) is expected


async def test_what_is_waiting_is_taken_with_what_came_first() -> None:
    news = News()
    full = OSError(errno.ENOBUFS, "no buffer space")
    with FakeSocket([(address(), (0, 16)), full, (route(), (1, 16))]) as sock:
        network._drain(sock, news)
        assert sock.found == []
    assert not news.receive(address())


async def test_what_comes_at_once_is_one_call_and_the_next_is_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network, "INTERVAL", 3600.0)
    with FakeSocket([(address(index=index), (0, 16)) for index in range(5)]) as sock:
        monkeypatch.setattr(network, "_open", lambda: sock)
        async with watching() as calls:
            await calls.one()
            sock.found.append((address(index=9), (0, 16)))
            for _ in range(10):
                await asyncio.sleep(0)
            assert (calls.count, len(sock.found)) == (1, 1)


async def test_a_flood_ends_a_drain() -> None:
    flood = [(address(), (0, 16))] * 1000
    with FakeSocket([*flood]) as sock:
        network._drain(sock, News())
        assert len(sock.found) == 1000 - network.MAX_DATAGRAMS


async def test_another_fault_is_raised() -> None:
    with (
        FakeSocket([OSError(errno.EBADF, "bad")]) as sock,
        pytest.raises(OSError, match="bad"),
    ):
        await network._read(sock, News())


@pytest.mark.parametrize("step", ["socket", "bind"])
async def test_a_system_that_does_not_tell_is_left_alone(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forbidden(socket.socket):
        def __init__(self, *arguments: int) -> None:
            if step == "socket":
                raise OSError(errno.EAFNOSUPPORT, "not supported")
            super().__init__(*arguments)

        def bind(self, _address: object) -> None:
            raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(socket, "socket", Forbidden)
    await network.watch(pytest.fail)


async def test_a_system_without_netlink_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(socket, "AF_NETLINK")
    await network.watch(pytest.fail)
