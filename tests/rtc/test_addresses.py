from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from live777py.errors import ConfigError
from live777py.rtc import addresses as module
from live777py.rtc.addresses import (
    MAX_FOUND,
    IpAddress,
    LocalAddress,
    announced,
    candidates,
    usable_addresses,
)


class Entry(NamedTuple):
    host: str
    port: int | None = None


@contextmanager
def bound(host: str = "0.0.0.0", *, only_6: bool = False) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_6))
        sock.bind((host, 0))
        yield sock


def found(*hosts: str) -> Callable[[], list[IpAddress]]:
    return lambda: [ipaddress.ip_address(host) for host in hosts]


async def hosts(
    sock: socket.socket,
    addresses: tuple[Entry, ...] = (),
    public_ips: tuple[Entry, ...] = (),
    interfaces: tuple[str, ...] = (),
) -> list[str]:
    announcements = await announced(
        sock, addresses, public_ips, interface_addresses=found(*interfaces)
    )
    return [a.host for a in announcements]


async def fault(*args: Any, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        await hosts(*args, **options)
    assert all("\n" not in line for line in caught.value.faults)
    return str(caught.value)


class TestByDefault:
    async def test_all_usable_addresses_are_announced_best_first(self) -> None:
        interfaces = (
            "127.0.0.1",
            "::1",
            "fe80::1",
            "fd00::5",
            "2600::5",
            "10.0.0.5",
            "169.254.1.1",
            "172.17.0.1",
            "9.9.9.5",
        )
        with bound("::") as sock:
            assert await hosts(sock, interfaces=interfaces) == [
                "9.9.9.5",
                "10.0.0.5",
                "172.17.0.1",
                "2600::5",
                "fd00::5",
            ]

    async def test_loopback_is_announced_only_if_there_is_nothing_else(self) -> None:
        with bound("::") as sock:
            interfaces = ("fe80::1", "::1", "127.0.0.1")
            assert await hosts(sock, interfaces=interfaces) == ["::1", "127.0.0.1"]
            public = (Entry("9.9.9.9"),)
            assert await hosts(sock, (), public, interfaces) == ["9.9.9.9"]

    async def test_only_the_families_of_the_socket_are_announced(self) -> None:
        interfaces = ("10.0.0.5", "2600::5")
        with bound("0.0.0.0") as sock:
            assert await hosts(sock, interfaces=interfaces) == ["10.0.0.5"]
        with bound("::", only_6=True) as sock:
            assert await hosts(sock, interfaces=interfaces) == ["2600::5"]

    @pytest.mark.parametrize(
        ("bind", "host"),
        [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::ffff:127.0.0.1", "127.0.0.1")],
    )
    async def test_a_socket_bound_to_one_address_announces_that_one(
        self, bind: str, host: str
    ) -> None:
        with bound(bind) as sock:
            assert await hosts(sock, interfaces=("10.0.0.5",)) == [host]

    async def test_the_number_of_addresses_is_bounded(self) -> None:
        interfaces = tuple(f"10.0.{n}.1" for n in range(100))
        with bound() as sock:
            assert len(await hosts(sock, interfaces=interfaces)) == MAX_FOUND

    async def test_a_machine_without_any_address_is_a_fault(self) -> None:
        with bound() as sock:
            assert "no network address" in await fault(sock)

    async def test_the_port_is_that_of_the_socket(self) -> None:
        with bound() as sock:
            port = sock.getsockname()[1]
            announcements = await announced(
                sock, (), (), interface_addresses=found("10.0.0.5")
            )
            assert announcements == (LocalAddress("10.0.0.5", port),)

    async def test_this_machine_has_something_to_announce(self) -> None:
        with bound("0.0.0.0") as sock:
            assert await announced(sock, (), ()) != ()


class TestAddresses:
    async def test_named_addresses_keep_their_order(self) -> None:
        with bound("::") as sock:
            port = sock.getsockname()[1]
            entries = (Entry("127.0.0.2"), Entry("::1"), Entry("127.0.0.1", port))
            interfaces = ("10.0.0.5",)
            assert await hosts(sock, entries, (), interfaces) == [
                "127.0.0.2",
                "::1",
                "127.0.0.1",
            ]

    @pytest.mark.parametrize(
        ("entry", "reason"),
        [
            (Entry("127.0.0.1", 9), "cannot have port 9"),
            (Entry("::1"), "is IPv6, which the media socket does not serve"),
            (Entry("192.0.2.77"), "not an address of this machine"),
            (Entry("0.0.0.0"), "not the address of a machine"),
            (Entry("224.0.0.1"), "not the address of a machine"),
            (Entry("169.254.1.1"), "link-local"),
            (Entry("eth0"), "not an IP address"),
            (Entry(""), "not an IP address"),
        ],
    )
    async def test_an_address_that_cannot_be_served_is_a_fault(
        self, entry: Entry, reason: str
    ) -> None:
        with bound() as sock:
            text = await fault(sock, (entry,))
            assert reason in text
            assert text.startswith(f"webrtc.addresses: {entry.host}")

    async def test_another_address_than_the_one_listened_on_is_a_fault(self) -> None:
        with bound("127.0.0.1") as sock:
            text = await fault(sock, (Entry("127.0.0.2"),))
            assert "binds to 127.0.0.1 alone" in text

    async def test_each_fault_has_its_line(self) -> None:
        with bound() as sock:
            text = await fault(sock, (Entry("::1"), Entry("x")), (Entry("::2"),))
            assert len(text.splitlines()) == 3


class TestPublicIps:
    async def test_they_come_before_the_others_and_ipv4_first(self) -> None:
        public = (Entry("2600::9"), Entry("9.9.9.9"), Entry("10.1.1.1"))
        with bound("::") as sock:
            assert await hosts(sock, (), public, ("10.0.0.5",)) == [
                "9.9.9.9",
                "10.1.1.1",
                "2600::9",
                "10.0.0.5",
            ]

    async def test_they_may_have_a_port_that_a_router_maps(self) -> None:
        with bound() as sock:
            port = sock.getsockname()[1]
            announcements = await announced(
                sock,
                (),
                (Entry("9.9.9.9", 4444), Entry("9.9.9.9")),
                interface_addresses=found("10.0.0.5"),
            )
            assert announcements == (
                LocalAddress("9.9.9.9", 4444),
                LocalAddress("9.9.9.9", port),
                LocalAddress("10.0.0.5", port),
            )

    async def test_an_address_that_is_also_local_is_announced_once(self) -> None:
        with bound() as sock:
            public = (Entry("9.9.9.9"),)
            assert await hosts(sock, (), public, ("9.9.9.9",)) == ["9.9.9.9"]

    async def test_a_family_that_the_socket_lacks_is_a_fault(self) -> None:
        with bound() as sock:
            assert "is IPv6" in await fault(sock, (), (Entry("2600::9"),))
        with bound("::", only_6=True) as sock:
            assert "is IPv4" in await fault(sock, (), (Entry("9.9.9.9"),))

    async def test_a_name_is_resolved_to_what_the_socket_serves(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer(monkeypatch, ["2600::7", "9.9.9.7", "9.9.9.7"])
        with bound("0.0.0.0") as sock:
            public = (Entry("media.example"),)
            assert await hosts(sock, (), public) == ["9.9.9.7"]
        with bound("::") as sock:
            assert await hosts(sock, (), public) == ["9.9.9.7", "2600::7"]
        with bound("::", only_6=True) as sock:
            answer(monkeypatch, ["9.9.9.7"])
            assert "resolves to no address" in await fault(sock, (), public)

    async def test_a_name_that_does_not_resolve_is_a_fault(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer(monkeypatch, socket.gaierror(-2, "Name or service not known"))
        with bound() as sock:
            text = await fault(sock, (), (Entry("nowhere.example"),))
            assert text == (
                "webrtc.public_ips: nowhere.example cannot be resolved: "
                "Name or service not known"
            )

    async def test_a_name_that_is_none_is_a_fault(self) -> None:
        with bound() as sock:
            text = await fault(sock, (), (Entry("a" * 70 + ".example"),))
            assert "cannot be resolved" in text

    async def test_a_resolver_that_does_not_answer_is_not_waited_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def silence(*_args: Any, **_options: Any) -> None:
            await asyncio.sleep(60)

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", silence)
        with bound() as sock, pytest.raises(ConfigError, match="no answer in time"):
            await announced(sock, (), (Entry("slow.example"),), resolve_timeout=0.01)


def answer(monkeypatch: pytest.MonkeyPatch, answers: list[str] | OSError) -> None:
    async def getaddrinfo(*_args: Any, **_options: Any) -> list[Any]:
        if isinstance(answers, OSError):
            raise answers
        return [(socket.AF_INET, 2, 17, "", (host, 0)) for host in answers]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


class TestUsableAddresses:
    def test_interfaces_that_are_down_are_left_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_is_down", lambda name: name != "lo")
        assert set(map(str, usable_addresses())) <= {"127.0.0.1", "::1"}

    def test_temporary_ipv6_addresses_are_left_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = usable_addresses()[0]
        monkeypatch.setattr(module, "_unwanted_ipv6", lambda: {one})
        assert one not in usable_addresses()

    def test_the_default_route_comes_first(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for one in usable_addresses():
            monkeypatch.setattr(module, "_default_route_addresses", lambda o=one: {o})
            ours = {a for a in usable_addresses() if a.is_loopback == one.is_loopback}
            assert set(usable_addresses()[: len(ours)]) & {one}

    def test_an_unknown_system_is_no_hindrance(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_args: Any, **_options: Any) -> str:
            raise FileNotFoundError

        monkeypatch.setattr(Path, "read_text", refuse)
        assert usable_addresses()


def test_priorities_fall_in_order_and_foundations_follow_the_host() -> None:
    result = candidates(
        [
            LocalAddress("9.9.9.9", 4444),
            LocalAddress("9.9.9.9", 7777),
            LocalAddress("10.0.0.5", 7777),
        ]
    )
    assert [c.priority for c in result] == [2130706431, 2130706175, 2130705919]
    assert [c.foundation for c in result] == ["1", "1", "2"]
    assert str(result[0]) == "1 1 udp 2130706431 9.9.9.9 4444 typ host"
