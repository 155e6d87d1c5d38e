from __future__ import annotations

import asyncio
import inspect
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aioice
import pytest
from aioice import stun

from live777py.protocol.candidate import Candidate
from live777py.protocol.link import LinkedIceServer
from live777py.rtc import full_ice
from live777py.rtc.full_ice import FullIce, source_address
from live777py.rtc.outgoing_offer import Answer
from tests.support.loopback import loopback_only

MAPPED = ("192.0.2.77", 4711)


def agent(*hosts: str) -> FullIce:
    return FullIce(
        hosts=hosts or ("127.0.0.1",),
        loopback=None,
        on_data=lambda _data: None,
        on_heard=lambda: None,
        on_closed=lambda: None,
    )


class StunServer(asyncio.DatagramProtocol):
    """Says of everybody that it is somewhere else, as if there were a NAT."""

    def __init__(self, mapped: tuple[str, int] | None, kind: stun.Class) -> None:
        self._mapped = mapped
        self._kind = kind

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        request = stun.parse_message(data)
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=self._kind,
            transaction_id=request.transaction_id,
        )
        if self._kind is stun.Class.RESPONSE:
            response.attributes["XOR-MAPPED-ADDRESS"] = self._mapped or addr
        else:
            # An error without its code.
            response.attributes["SOFTWARE"] = "odd"
        self._transport.sendto(bytes(response), addr)


@asynccontextmanager
async def stun_server(
    mapped: tuple[str, int] | None, kind: stun.Class = stun.Class.RESPONSE
) -> AsyncIterator[LinkedIceServer]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: StunServer(mapped, kind), local_addr=("127.0.0.1", 0)
    )
    try:
        yield LinkedIceServer("stun", *transport.get_extra_info("sockname"))
    finally:
        transport.close()


async def gathered(*servers: LinkedIceServer) -> list[aioice.Candidate]:
    found: list[aioice.Candidate] = []
    ice = agent()
    await ice.gather_candidates()
    try:
        await ice.gather_from(servers, found.append)
    finally:
        await ice.close()
    return found


async def test_a_stun_server_tells_where_we_are_seen() -> None:
    async with stun_server(MAPPED) as server:
        [found] = await gathered(server)
    assert (found.host, found.port, found.type) == (*MAPPED, "srflx")
    assert found.related_address == "127.0.0.1"


async def test_without_a_nat_there_is_nothing_new() -> None:
    async with stun_server(None) as server:
        assert await gathered(server) == []


async def test_servers_that_do_not_work_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(full_ice, "GATHER_TIMEOUT", 0.5)
    async with (
        stun_server(MAPPED) as server,
        stun_server(None, stun.Class.ERROR) as odd,
    ):
        found = await gathered(
            odd,
            LinkedIceServer("stuns", "127.0.0.1", 9),
            LinkedIceServer("stun", "127.0.0.1", 9),
            LinkedIceServer("turn", "127.0.0.1", 9, "tcp", "user", "password"),
            server,
        )
    assert [candidate.host for candidate in found] == [MAPPED[0]]


async def test_what_wants_to_be_encrypted_is_not_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(full_ice, "GATHER_TIMEOUT", 0.5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        port = sock.getsockname()[1]
        over_dtls = LinkedIceServer(
            "turns", "127.0.0.1", port, "udp", "user", "password"
        )
        assert await gathered(over_dtls) == []
        with pytest.raises(BlockingIOError):
            sock.recv(2048)


async def test_so_many_servers_are_asked_and_no_more() -> None:
    async with stun_server(MAPPED) as server:
        found = await gathered(*[server] * 10)
    assert len(found) == full_ice.MAX_SERVERS


async def test_nothing_is_sent_once_the_socket_is_closed() -> None:
    # aioice closes by itself when nobody has answered it for half a minute.
    ours = agent()
    theirs = aioice.Connection(ice_controlling=False)
    with loopback_only():
        for one in (ours, theirs):
            await one.gather_candidates()
    for one, other in ((ours, theirs), (theirs, ours)):
        one.remote_username = other.local_username
        one.remote_password = other.local_password
        for candidate in other.local_candidates:
            await one.add_remote_candidate(candidate)
        await one.add_remote_candidate(None)
    async with asyncio.TaskGroup() as group:
        for one in (ours, theirs):
            group.create_task(one.connect())
    ours.send_now(b"\x80hello")
    assert await theirs.recv() == b"\x80hello"
    await ours.close()
    ours.send_now(b"\x80again")
    ours.ask()
    await theirs.close()


def test_routes_are_known() -> None:
    assert source_address("127.0.0.1") == "127.0.0.1"
    assert source_address("not an address") is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (("127.0.0.1", 4711), True),
        (("::1", 4711, 0, 0), True),
        (("192.0.2.77", 4711), False),
        (("2001:db8::77", 4711, 0, 0), False),
    ],
)
def test_addresses_of_this_machine_are_known(
    address: tuple[Any, ...], expected: bool
) -> None:
    assert full_ice.has_address(address) is expected


def test_what_we_use_of_aioice_without_being_invited_is_there() -> None:
    ice = agent()
    for name in ("_protocols", "_nominated", "_local_username", "_local_password"):
        assert hasattr(ice, name)
    pair = inspect.signature(aioice.Connection._pair_remote_candidate)
    assert list(pair.parameters) == ["self", "remote_candidate"]


class Controlled(aioice.Connection):
    """The other side's full agent; far enough for several checks to be on their way at once."""

    def __init__(self) -> None:
        super().__init__(ice_controlling=False)
        self.nominated: set[Any] = set()

    def request_received(self, message: stun.Message, addr: Any, *rest: Any) -> None:
        if "USE-CANDIDATE" in message.attributes:
            self.nominated.add(addr)
        later = super().request_received
        asyncio.get_running_loop().call_later(0.2, later, message, addr, *rest)


async def test_of_several_ways_to_a_full_agent_one_is_nominated() -> None:
    ice = FullIce(
        hosts=[f"127.0.0.{number}" for number in range(1, 6)],
        loopback=None,
        on_data=lambda _data: None,
        on_heard=lambda: None,
        on_closed=lambda: None,
    )
    other = Controlled()
    try:
        await ice.gather_candidates()
        with loopback_only():
            await other.gather_candidates()
        for candidate in (*ice.local_candidates, None):
            await other.add_remote_candidate(candidate)
        other.remote_username = ice.local_username
        other.remote_password = ice.local_password
        answer = Answer(
            ufrag=other.local_username,
            pwd=other.local_password,
            is_lite=False,
            candidates=tuple(
                Candidate.parse(c.to_sdp()) for c in other.local_candidates
            ),
            fingerprints=(),
            dtls_role="client",
            rtcp_rsize=True,
            media=(),
        )
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(other.connect())
            group.create_task(ice.start(answer))
        local = ice.pair.local_candidate
        assert other.nominated == {(local.host, local.port)}
        assert other._nominated[1].remote_addr == (local.host, local.port)
    finally:
        await ice.close()
        await other.close()


@pytest.mark.parametrize("steps", range(8))
async def test_nothing_is_left_open_when_it_is_cancelled_while_it_opens(
    steps: int,
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    ice = agent("127.0.0.1", "127.0.0.2", "127.0.0.3")
    gathering = asyncio.create_task(ice.gather_candidates())
    for _ in range(steps):
        await asyncio.sleep(0)
    gathering.cancel()
    with suppress(asyncio.CancelledError):
        await gathering
    await ice.close()
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == before
