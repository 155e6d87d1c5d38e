"""The bad network itself: its statistics by arithmetic, its sockets against an echo."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import cast

import pytest

from tests.support.link import Conditions, Fate, GilbertElliott, Link
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient
from tests.support.server import running

COUNT = 50_000
BURSTS = GilbertElliott(worsens=0.01, recovers=0.2)


def fates(conditions: Conditions, seed: int = 7) -> list[tuple[float, ...]]:
    """What becomes of many datagrams of 1,000 bytes, one a millisecond."""
    fate = Fate(conditions, seed)
    return [fate.delays(1000, 0.001 * n) for n in range(COUNT)]


def arrivals(conditions: Conditions) -> list[int]:
    """The numbers of those datagrams in the order of their arrival."""
    when = [
        (0.001 * number + delay, number)
        for number, delays in enumerate(fates(conditions))
        for delay in delays
    ]
    return [number for _, number in sorted(when)]


def test_a_clear_network_does_nothing() -> None:
    assert set(fates(Conditions())) == {(0.0,)}


@pytest.mark.parametrize("loss", [0.05, 0.3])
def test_random_loss_has_its_share_and_no_bursts(loss: float) -> None:
    lost = [not delays for delays in fates(Conditions(loss=loss))]
    assert sum(lost) / COUNT == pytest.approx(loss, rel=0.1)
    after_a_loss = [b for a, b in itertools.pairwise(lost) if a]
    assert sum(after_a_loss) / len(after_a_loss) == pytest.approx(loss, rel=0.2)


def test_bursts_have_their_share_and_length() -> None:
    lost = [not delays for delays in fates(Conditions(loss=BURSTS))]
    assert BURSTS.mean_loss == pytest.approx(1 / 21)
    assert sum(lost) / COUNT == pytest.approx(BURSTS.mean_loss, rel=0.2)
    lengths = [sum(1 for _ in run) for gone, run in itertools.groupby(lost) if gone]
    assert sum(lengths) / len(lengths) == pytest.approx(5, rel=0.15)


def test_duplication_has_its_share() -> None:
    twice = sum(len(delays) == 2 for delays in fates(Conditions(duplicate=0.02)))
    assert twice / COUNT == pytest.approx(0.02, rel=0.15)


def test_delay_alone_keeps_the_order() -> None:
    assert arrivals(Conditions(delay=0.05)) == list(range(COUNT))


def test_a_datagram_that_is_held_back_is_overtaken() -> None:
    order = arrivals(Conditions(reorder=0.02, reorder_by=0.0045))
    assert sorted(order) == list(range(COUNT))
    steps = [b - a for a, b in itertools.pairwise(order)]
    late = sum(step < 0 for step in steps)
    assert late / COUNT == pytest.approx(0.02, rel=0.15)
    assert min(steps) >= -5


def test_jitter_stays_within_its_bound_and_mixes() -> None:
    delays = [only for (only,) in fates(Conditions(delay=0.01, jitter=0.02))]
    assert 0.01 <= min(delays) < 0.0101
    assert 0.0299 < max(delays) <= 0.03
    assert arrivals(Conditions(jitter=0.02)) != list(range(COUNT))


def test_a_rate_limit_passes_its_rate_and_queues_no_longer_than_it_may() -> None:
    # One datagram of 8,000 bits each millisecond: 8 Mbit/s into 2.
    passed = [only[0] for only in fates(Conditions(rate=2e6, queue=0.1)) if only]
    assert len(passed) / COUNT == pytest.approx(0.25, rel=0.05)
    assert max(passed) <= 0.1 + 0.004 + 1e-9


def test_the_same_seed_gives_the_same_fate() -> None:
    bad = Conditions(loss=BURSTS, duplicate=0.1, reorder=0.1, jitter=0.01, rate=4e6)
    assert fates(bad) == fates(bad)
    assert fates(bad, seed=8) != fates(bad)


def test_a_loss_changes_nothing_for_those_that_follow() -> None:
    some = fates(Conditions(loss=0.1, jitter=0.01))
    none = fates(Conditions(jitter=0.01))
    assert all(not a or a == b for a, b in zip(some, none, strict=True))


class Echo(asyncio.DatagramProtocol):
    """Sends everything back, and remembers from where it came."""

    def __init__(self) -> None:
        self.sources: list[tuple[str, int]] = []
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.sources.append(addr)
        self.transport.sendto(data, addr)


def answer(port: int) -> str:
    return (
        f"v=0\r\na=candidate:1 1 udp 1 127.0.0.1 {port} typ host\r\n"
        f"a=candidate:2 1 udp 1 127.0.0.1 {port} typ host\r\na=end-of-candidates\r\n"
    )


async def test_each_client_has_a_port_and_a_new_one_after_a_move() -> None:
    loop = asyncio.get_running_loop()
    transport, echo = await loop.create_datagram_endpoint(
        Echo, local_addr=("127.0.0.1", 0)
    )
    server = transport.get_extra_info("sockname")
    async with Link() as link:
        rewritten = link.rewrite(answer(server[1]))
        assert rewritten.count("a=candidate:") == 1
        assert f" 127.0.0.1 {link.address[1]} typ" in rewritten
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for client in clients:
            client.setblocking(False)
            client.bind(("127.0.0.1", 0))

        async def ask(number: int) -> bytes:
            await loop.sock_sendto(clients[number], b"%d" % number, link.address)
            return await asyncio.wait_for(loop.sock_recv(clients[number], 100), 20)

        assert [await ask(0), await ask(1)] == [b"0", b"1"]
        before = link.ports
        assert [port for _, port in echo.sources] == before
        link.move()
        assert [await ask(0), await ask(1)] == [b"0", b"1"]
        assert [port for _, port in echo.sources[2:]] == link.ports
        assert not {*before} & {*link.ports}
        assert (link.up.taken, link.up.delivered, link.down.delivered) == (4, 4, 4)
        link.down.drop = lambda data: data == b"1"
        link.to_server(b"1")
        link.to_server(b"0")
        assert await asyncio.wait_for(loop.sock_recv(clients[0], 100), 20) == b"0"
        assert link.down.lost == 1
    for client in clients:
        client.close()
    transport.close()


async def test_a_session_goes_through_a_link() -> None:
    async with running() as server, Link(up=Conditions(delay=0.01)) as link:
        viewer = RtpClient.viewer(f"{server.url}/whep/cam", video(VP8))
        viewer.signalling.edit_answer = link.rewrite
        async with viewer:
            assert viewer.remote_address == link.address
    assert link.up.delivered > 2
    assert link.down.delivered > 2
