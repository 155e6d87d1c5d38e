from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import aioice
import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from live777py.relay.seam import Path, PeerId
from live777py.rtc.ice import MAX_TRANSACTIONS, IceAgent, local_ufrag

MS = 1_000_000
SECOND = 1000 * MS
PEER = PeerId(5)
A = Path("203.0.113.1", 1000, "10.0.0.1")
B = Path("203.0.113.2", 2000, "10.0.0.1")


class Plane:
    """What the data plane is told, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Path]] = []
        self.addresses: list[Path] = []
        self.selected: list[Path] = []

    def add_address(self, peer: PeerId, path: Path) -> None:
        assert peer == PEER
        self.calls.append(("add", path))
        self.addresses.append(path)

    def remove_address(self, peer: PeerId, path: Path) -> None:
        assert peer == PEER
        self.calls.append(("remove", path))
        self.addresses.remove(path)

    def select_path(self, peer: PeerId, path: Path) -> None:
        assert peer == PEER
        self.calls.append(("select", path))
        self.selected.append(path)


@pytest.fixture
def plane() -> Plane:
    return Plane()


@pytest.fixture
def agent(plane: Plane) -> IceAgent:
    agent = IceAgent(plane, PEER)
    agent.set_remote_ufrag("them")
    return agent


def request(agent: IceAgent, **attributes: Any) -> stun.Message:
    """An unsigned check as a browser sends it."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{agent.ufrag}:them"
    message.attributes["ICE-CONTROLLING"] = 1
    message.attributes["PRIORITY"] = 2
    for name, value in attributes.items():
        message.attributes[name.replace("_", "-")] = value
    return message


def check(agent: IceAgent, *, pwd: str | None = None, **attributes: Any) -> bytes:
    message = request(agent, **attributes)
    message.add_message_integrity((pwd or agent.local.pwd).encode())
    return bytes(message)


def nominating(agent: IceAgent) -> bytes:
    return check(agent, USE_CANDIDATE=None)


def error_of(reply: bytes | None) -> int:
    assert reply is not None
    message = stun.parse_message(reply)
    assert message.message_class is stun.Class.ERROR
    assert "FINGERPRINT" in message.attributes
    assert message.error_code is not None
    return message.error_code


class TestGoodChecks:
    @pytest.mark.parametrize(
        "path",
        [A, Path("2001:db8::7", 4000, "2001:db8::1"), Path("fe80::1", 9, "::", 3)],
    )
    def test_a_check_is_answered_with_the_address_it_came_from(
        self, agent: IceAgent, path: Path
    ) -> None:
        data = check(agent)
        reply = agent.receive_check(data, path, 1)
        assert reply is not None
        message = stun.parse_message(reply)
        assert message.message_class is stun.Class.RESPONSE
        assert message.transaction_id == data[8:20]
        assert message.attributes["XOR-MAPPED-ADDRESS"] == (path.host, path.port)
        assert message.check_message_integrity(agent.local.pwd.encode())
        assert "FINGERPRINT" in message.attributes

    @pytest.mark.parametrize("path", [A, Path("2001:db8::7", 4000, "2001:db8::1")])
    def test_the_reply_is_byte_for_byte_that_of_the_codec(
        self, agent: IceAgent, path: Path
    ) -> None:
        data = check(agent)
        expected = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, data[8:20])
        expected.attributes["XOR-MAPPED-ADDRESS"] = (path.host, path.port)
        expected.add_message_integrity(agent.local.pwd.encode())
        assert agent.receive_check(data, path, 1) == bytes(expected)

    def test_a_check_without_priority_role_and_fingerprint_is_good(
        self, agent: IceAgent
    ) -> None:
        """FFmpeg 8.0 sends such."""
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{agent.ufrag}:them"
        message.add_message_integrity(agent.local.pwd.encode())
        del message.attributes["FINGERPRINT"]
        assert agent.receive_check(bytes(message), A, 1) is not None
        assert agent.selected == A

    def test_attributes_that_need_no_understanding_are_ignored(
        self, agent: IceAgent
    ) -> None:
        """Chromium sends its network's cost as 0xC057."""
        data = with_attribute(agent, 0xC057, b"\0\1\0\2")
        assert agent.receive_check(data, A, 1) is not None
        assert agent.selected == A

    def test_what_follows_the_integrity_is_ignored(self, agent: IceAgent) -> None:
        message = request(agent)
        message.add_message_integrity(agent.local.pwd.encode())
        del message.attributes["FINGERPRINT"]
        data = bytes(message) + struct.pack("!HHI", 0x7777, 4, 1)
        data = stun.set_body_length(data, len(data) - 20)
        assert agent.receive_check(data, A, 1) is not None

    def test_the_address_is_known_before_the_reply_leaves(
        self, agent: IceAgent, plane: Plane
    ) -> None:
        agent.receive_check(check(agent), A, 7)
        assert plane.calls == [("add", A), ("select", A)]
        assert agent.last_check == 7

    def test_any_remote_fragment_is_good_before_the_offer_is_known(
        self, plane: Plane
    ) -> None:
        agent = IceAgent(plane, PEER)
        assert agent.receive_check(check(agent), A, 1) is not None
        assert agent.selected == A

    def test_credentials_are_long_enough_and_new_for_each_agent(
        self, plane: Plane
    ) -> None:
        one, two = IceAgent(plane, PEER).local, IceAgent(plane, PEER).local
        assert len(one.ufrag) >= 8
        assert len(one.pwd) >= 24
        assert one != two
        assert one.pwd not in repr(one)


def with_attribute(agent: IceAgent, kind: int, value: bytes) -> bytes:
    """A signed check with an attribute that aioice does not know."""
    message = request(agent)
    data = bytes(message) + struct.pack("!HH", kind, len(value)) + value
    data = stun.set_body_length(data, len(data) - 20)
    integrity = stun.message_integrity(data, agent.local.pwd.encode())
    data += struct.pack("!HH", 0x0008, 20) + integrity
    return stun.set_body_length(data, len(data) - 20)


class TestRefusals:
    def nothing_moved(self, agent: IceAgent, plane: Plane) -> None:
        assert plane.calls == []
        assert agent.selected is None
        assert agent.last_check == 0
        assert agent.refused == 1

    def test_a_wrong_password_is_401(self, agent: IceAgent, plane: Plane) -> None:
        data = check(agent, pwd="x" * 32, USE_CANDIDATE=None)
        reply = agent.receive_check(data, A, 1)
        assert error_of(reply) == 401
        assert reply is not None
        assert len(reply) < len(data), "no use for amplification"
        self.nothing_moved(agent, plane)

    def test_a_wrong_remote_fragment_is_401(
        self, agent: IceAgent, plane: Plane
    ) -> None:
        data = check(agent, USERNAME=f"{agent.ufrag}:others")
        assert error_of(agent.receive_check(data, A, 1)) == 401
        self.nothing_moved(agent, plane)

    def test_a_fragment_of_another_agent_is_401(
        self, agent: IceAgent, plane: Plane
    ) -> None:
        data = check(agent, USERNAME="another:them")
        assert error_of(agent.receive_check(data, A, 1)) == 401
        self.nothing_moved(agent, plane)

    def test_a_check_that_is_not_signed_is_400(
        self, agent: IceAgent, plane: Plane
    ) -> None:
        assert error_of(agent.receive_check(bytes(request(agent)), A, 1)) == 400
        self.nothing_moved(agent, plane)

    def test_an_attribute_that_must_be_understood_is_420(
        self, agent: IceAgent, plane: Plane
    ) -> None:
        reply = agent.receive_check(with_attribute(agent, 0x7001, b"1234"), A, 1)
        assert error_of(reply) == 420
        assert reply is not None
        assert struct.pack("!HHH", 0x000A, 2, 0x7001) in reply
        self.nothing_moved(agent, plane)

    def test_a_client_in_the_controlled_role_is_487(
        self, agent: IceAgent, plane: Plane
    ) -> None:
        data = check(agent, ICE_CONTROLLED=1)
        reply = agent.receive_check(data, A, 1)
        assert error_of(reply) == 487
        assert reply is not None
        message = stun.parse_message(reply)
        assert message.check_message_integrity(agent.local.pwd.encode())
        self.nothing_moved(agent, plane)

    @pytest.mark.parametrize("kind", [stun.Class.RESPONSE, stun.Class.INDICATION])
    def test_responses_and_indications_are_ignored(
        self, agent: IceAgent, plane: Plane, kind: stun.Class
    ) -> None:
        message = request(agent)
        message.message_class = kind
        message.add_message_integrity(agent.local.pwd.encode())
        assert agent.receive_check(bytes(message), A, 1) is None
        assert plane.calls == []

    def test_a_forged_check_does_not_move_a_path(
        self, agent: IceAgent, plane: Plane
    ) -> None:
        agent.receive_check(check(agent), A, 1)
        forged = check(agent, pwd="x" * 32, USE_CANDIDATE=None)
        agent.receive_check(forged, B, 100 * SECOND)
        assert agent.selected == A
        assert agent.paths == (A,)


class TestPaths:
    def test_the_first_good_check_selects(self, agent: IceAgent) -> None:
        agent.receive_check(check(agent), A, 0)
        agent.receive_check(check(agent), B, 10 * MS)
        assert agent.selected == A
        assert agent.paths == (A, B)

    def test_a_nomination_moves_at_once(self, agent: IceAgent, plane: Plane) -> None:
        agent.receive_check(check(agent), A, 0)
        agent.receive_check(nominating(agent), B, 10 * MS)
        assert plane.selected == [A, B]
        assert set(plane.addresses) == {A, B}

    def test_the_same_nomination_again_changes_nothing(
        self, agent: IceAgent, plane: Plane
    ) -> None:
        for _ in range(3):
            agent.receive_check(nominating(agent), A, 0)
        assert plane.selected == [A]

    def test_a_new_address_takes_over_from_a_silent_one(self, agent: IceAgent) -> None:
        agent.receive_check(check(agent), A, 0)
        agent.receive_check(check(agent), B, 2 * SECOND)
        assert agent.selected == B

    def test_media_keeps_a_path_that_is_not_checked(self, plane: Plane) -> None:
        agent = IceAgent(plane, PEER, activity=lambda: 5 * SECOND)
        agent.receive_check(check(agent), A, 0)
        agent.receive_check(check(agent), B, 6 * SECOND)
        assert agent.selected == A

    def test_rtcp_keeps_a_path_that_is_not_checked(self, agent: IceAgent) -> None:
        agent.receive_check(check(agent), A, 0)
        agent.heard(A, 5 * SECOND)
        agent.heard(B, 5 * SECOND)
        agent.receive_check(check(agent), B, 6 * SECOND)
        assert agent.selected == A

    def test_a_client_that_moved_is_followed_though_its_media_already_flows(
        self, plane: Plane
    ) -> None:
        """A router gave it another port; its checks do not nominate."""
        now = 0
        agent = IceAgent(plane, PEER, activity=lambda: now)
        agent.receive_check(check(agent), A, 0)
        now = SECOND
        agent.receive_check(check(agent), B, now)
        assert agent.selected == A, "A may be alive"
        now = 5 * SECOND
        agent.receive_check(check(agent), B, now)
        assert agent.selected == A, "consent may be as rare as every 6 s"
        now = 9 * SECOND
        agent.receive_check(check(agent), B, now)
        assert agent.selected == B

    def test_two_paths_that_are_both_checked_do_not_alternate(
        self, agent: IceAgent, plane: Plane
    ) -> None:
        for second in range(0, 60, 5):
            agent.receive_check(check(agent), A, second * SECOND)
            agent.receive_check(check(agent), B, second * SECOND + 500 * MS)
        assert plane.selected == [A]

    def test_another_of_our_addresses_is_another_path_to_the_same_client(
        self, agent: IceAgent, plane: Plane
    ) -> None:
        other = A._replace(local="10.0.0.2")
        agent.receive_check(check(agent), A, 0)
        agent.receive_check(nominating(agent), other, MS)
        assert plane.calls == [("add", A), ("select", A), ("select", other)]

    def test_the_idlest_address_gives_way_but_never_the_selected_one(
        self, plane: Plane
    ) -> None:
        agent = IceAgent(plane, PEER, max_addresses=3)
        paths = [A._replace(port=n) for n in range(1, 6)]
        for second, path in enumerate(paths[:3]):
            agent.receive_check(check(agent), path, second * 100 * MS)
        agent.heard(paths[1], 500 * MS)
        agent.receive_check(check(agent), paths[3], 600 * MS)
        assert agent.selected == paths[0]
        assert set(agent.paths) == {paths[0], paths[1], paths[3]}
        assert set(plane.addresses) == set(agent.paths)

    def test_eight_addresses_at_most(self, agent: IceAgent, plane: Plane) -> None:
        for port in range(1, 100):
            agent.receive_check(check(agent), A._replace(port=port), port)
        assert len(plane.addresses) == 8


class TestRepetitions:
    """ICE has no replay protection of its own."""

    def test_a_retransmission_is_answered_like_the_first(self, agent: IceAgent) -> None:
        data = check(agent)
        assert agent.receive_check(data, A, 0) == agent.receive_check(data, A, 1)
        assert agent.repeated == 1

    def test_a_recorded_nomination_from_elsewhere_does_nothing(
        self, agent: IceAgent, plane: Plane
    ) -> None:
        record = nominating(agent)
        agent.receive_check(record, A, 0)
        before = list(plane.calls)
        assert agent.receive_check(record, B, 100 * SECOND) is None
        assert plane.calls == before
        assert (agent.selected, agent.paths) == (A, (A,))
        assert agent.repeated == 1

    def test_a_recorded_nomination_does_not_go_back_to_an_address_of_before(
        self, agent: IceAgent, plane: Plane
    ) -> None:
        agent.receive_check(check(agent), A, 0)
        record = nominating(agent)
        agent.receive_check(record, B, 1)
        assert_success(agent.receive_check(record, A, 100 * SECOND))
        assert plane.selected == [A, B]

    def test_a_record_does_not_keep_a_client_alive(self, agent: IceAgent) -> None:
        record = check(agent)
        agent.receive_check(record, A, 5)
        agent.receive_check(record, A, 6)
        assert agent.last_check == 5
        # Nor its path: B takes over when A has been silent since its first check.
        agent.receive_check(record, A, 2 * SECOND)
        agent.receive_check(check(agent), B, 2 * SECOND + 5)
        assert agent.selected == B

    def test_a_forgery_takes_no_transaction_from_the_client(
        self, agent: IceAgent
    ) -> None:
        message = request(agent)
        for pwd in ("x" * 32, agent.local.pwd):
            message.attributes.pop("MESSAGE-INTEGRITY", None)
            message.attributes.pop("FINGERPRINT", None)
            message.add_message_integrity(pwd.encode())
            agent.receive_check(bytes(message), A, 1)
        assert (agent.selected, agent.refused, agent.repeated) == (A, 1, 0)

    def test_the_latest_transactions_are_remembered_and_no_more(
        self, agent: IceAgent
    ) -> None:
        records = [check(agent) for _ in range(MAX_TRANSACTIONS + 2)]
        for record in records:
            agent.receive_check(record, A, 1)
        assert agent.repeated == 0
        for record in records[2:]:
            agent.receive_check(record, A, 1)
        assert agent.repeated == MAX_TRANSACTIONS
        assert len(agent._transactions._numbers) == 12 * MAX_TRANSACTIONS
        agent.receive_check(records[0], A, 1)
        assert agent.repeated == MAX_TRANSACTIONS


class TestRestart:
    def test_old_credentials_are_good_until_the_new_ones_are_used(
        self, agent: IceAgent
    ) -> None:
        old = check(agent)
        before = agent.local
        agent.receive_check(old, A, 0)
        after = agent.restart()
        agent.set_remote_ufrag("again")
        assert agent.local == after
        assert list(agent.ufrags) == [after.ufrag, before.ufrag]
        assert_success(agent.receive_check(old, A, 1))
        new = check(agent, USERNAME=f"{after.ufrag}:again")
        assert_success(agent.receive_check(new, A, 2))
        assert list(agent.ufrags) == [after.ufrag]
        assert error_of(agent.receive_check(old, A, 3)) == 401

    def test_the_path_outlives_it(self, agent: IceAgent, plane: Plane) -> None:
        agent.receive_check(check(agent), A, 0)
        agent.restart()
        agent.receive_check(check(agent), A, 1)
        assert agent.selected == A
        assert plane.calls == [("add", A), ("select", A)]


def assert_success(reply: bytes | None) -> None:
    assert reply is not None
    assert stun.parse_message(reply).message_class is stun.Class.RESPONSE


class TestStrangeInput:
    @given(st.binary(max_size=200))
    def test_nothing_raises(self, data: bytes) -> None:
        agent = IceAgent(Plane(), PEER)
        agent.receive_check(data, A, 1)
        local_ufrag(data)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    [*stun.ATTRIBUTES_BY_TYPE, 0x000A, 0x001C, 0x7777, 0xC057]
                ),
                st.binary(max_size=40),
                st.integers(-4, 4),
            ),
            max_size=12,
        ),
        st.booleans(),
    )
    def test_no_attribute_makes_it_raise(
        self, attributes: list[tuple[int, bytes, int]], signed: bool
    ) -> None:
        agent = IceAgent(Plane(), PEER)
        data = bytes(request(agent))
        for kind, value, off in attributes:
            length = max(0, len(value) + off)
            data += struct.pack("!HH", kind, length) + value + bytes(-len(value) % 4)
        data = stun.set_body_length(data, len(data) - 20)
        if signed:
            integrity = stun.message_integrity(data, agent.local.pwd.encode())
            data += struct.pack("!HH", 0x0008, 20) + integrity
            data = stun.set_body_length(data, len(data) - 20)
        agent.receive_check(data, A, 1)
        assert local_ufrag(data) == agent.ufrag

    @given(st.data())
    def test_no_change_of_a_byte_makes_a_forgery_good(
        self, data: st.DataObject
    ) -> None:
        plane = Plane()
        agent = IceAgent(plane, PEER)
        agent.set_remote_ufrag("them")
        forged = bytearray(check(agent, pwd="x" * 32))
        for _ in range(data.draw(st.integers(0, 5))):
            at = data.draw(st.integers(0, len(forged) - 1))
            forged[at] = data.draw(st.integers(0, 255))
        agent.receive_check(bytes(forged), A, 1)
        assert plane.calls == []

    def test_another_cookie_is_not_stun(self, agent: IceAgent) -> None:
        data = bytearray(check(agent))
        data[4] ^= 1
        assert agent.receive_check(bytes(data), A, 1) is None
        assert local_ufrag(bytes(data)) is None


class TestLocalUfrag:
    def test_a_check_names_the_agent(self, agent: IceAgent) -> None:
        assert local_ufrag(check(agent)) == agent.ufrag

    def test_without_a_username_it_names_nobody(self, agent: IceAgent) -> None:
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        assert local_ufrag(bytes(message)) is None

    def test_a_username_of_one_part_names_nobody(self, agent: IceAgent) -> None:
        assert local_ufrag(check(agent, USERNAME=agent.ufrag)) is None


class Server:
    """The agent behind a real socket, without a data plane."""

    def __init__(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind((host, 0))
        self.host, self.port = self.sock.getsockname()[:2]
        self.plane = Plane()
        self.agent = IceAgent(self.plane, PEER)
        self.now = 0

    def read(self) -> None:
        data, remote = self.sock.recvfrom(2048)
        path = Path(remote[0], remote[1], self.host)
        reply = self.agent.receive_check(data, path, self.now)
        if reply is not None:
            self.sock.sendto(reply, remote)


@contextmanager
def serving(host: str) -> Iterator[Server]:
    server = Server(host)
    loop = asyncio.get_running_loop()
    with server.sock:
        loop.add_reader(server.sock, server.read)
        try:
            yield server
        finally:
            loop.remove_reader(server.sock)


@asynccontextmanager
async def client(
    server: Server, monkeypatch: pytest.MonkeyPatch, *, controlling: bool = True
) -> AsyncIterator[aioice.Connection]:
    """A real ICE client on loopback, which aioice otherwise leaves out."""
    monkeypatch.setattr(
        "aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: [server.host]
    )
    connection = aioice.Connection(ice_controlling=controlling)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(connection.close)
        await connection.gather_candidates()
        connection.remote_is_lite = True
        connection.remote_username = server.agent.ufrag
        connection.remote_password = server.agent.local.pwd
        server.agent.set_remote_ufrag(connection.local_username)
        await connection.add_remote_candidate(
            aioice.Candidate("1", 1, "udp", 1, server.host, server.port, "host")
        )
        await connection.add_remote_candidate(None)
        yield connection


class TestRealClients:
    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    async def test_aioice_connects(
        self, host: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(host) as server:
            async with client(server, monkeypatch) as connection:
                await connection.connect()
                selected = server.agent.selected
                assert selected is not None
                port = connection.local_candidates[0].port
                assert selected == Path(host, port, host)

    async def test_a_client_in_the_wrong_role_changes_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving("127.0.0.1") as server:
            async with client(server, monkeypatch, controlling=False) as connection:
                async with asyncio.timeout(20):
                    await connection.connect()
                assert connection.ice_controlling
                assert server.agent.refused == 1

    async def test_a_client_with_a_wrong_password_does_not_connect(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving("127.0.0.1") as server:
            async with client(server, monkeypatch) as connection:
                connection.remote_password = "x" * 32
                with pytest.raises((ConnectionError, TimeoutError)):
                    async with asyncio.timeout(0.5):
                        await connection.connect()
                assert server.plane.calls == []

    async def test_a_client_that_comes_from_another_port_is_followed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving("127.0.0.1") as server:
            async with client(server, monkeypatch) as connection:
                await connection.connect()
                first = server.agent.selected
            async with client(server, monkeypatch) as connection:
                server.now = 3 * SECOND
                await connection.connect()
                assert server.agent.selected != first
                assert first in server.agent.paths
