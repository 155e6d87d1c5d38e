"""An ICE-lite agent: answers the connectivity checks of one peer and knows where it is.

It never sends a check of its own (RFC 8445 section 2.5) and starts no timer. It does no I/O:
datagrams come in as bytes, replies go out as bytes, addresses are told to the data plane.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from aioice import stun

from live777py.relay.seam import Path, PeerId

#: Validated addresses of one peer; the idlest one gives way to the next.
MAX_ADDRESSES = 8

#: Nanoseconds without a sign of life after which a path counts as silent.
SILENCE = 2_000_000_000

#: How many times longer the silence must be before an address that was validated earlier, and
#: not nominated, takes over: a healthy path may be checked as rarely as every 6 s (RFC 7675
#: section 5.1), and media on it shows only in the totals of the peer.
STALE = 4

#: Transactions of one peer that are remembered, some ten minutes of a browser's checks: ICE
#: has nothing else against records of checks that are sent again. What is older than that
#: could still be replayed, until a restart brings other credentials.
MAX_TRANSACTIONS = 256

_TRANSACTION_BYTES = 12

#: Longest STUN message that is looked at; a check is below 200 bytes.
MAX_STUN_BYTES = 1500

#: A check carries its USERNAME among the first few attributes.
MAX_ATTRIBUTES = 32

_COOKIE = stun.COOKIE.to_bytes(4)
_BINDING_REQUEST = stun.Method.BINDING | stun.Class.REQUEST
_UNKNOWN_ATTRIBUTES = 0x000A  # RFC 8489 section 14.9; aioice does not know it
_ERRORS = {
    400: "Bad Request",
    401: "Unauthenticated",
    420: "Unknown Attribute",
    487: "Role Conflict",
}


class Addresses(Protocol):
    """The part of the data plane that has to know the addresses of a peer."""

    def add_address(self, peer: PeerId, path: Path) -> None:
        """From now on packets from `path` belong to `peer`."""

    def remove_address(self, peer: PeerId, path: Path) -> None:
        """From now on packets from `path` are dropped."""

    def select_path(self, peer: PeerId, path: Path) -> None:
        """From now on media for `peer` goes to `path`, which has been added."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The username fragment and password of one side for one ICE session."""

    ufrag: str
    pwd: str

    @classmethod
    def generate(cls) -> Credentials:
        """64 bits to tell agents apart, 128 bits to authenticate (RFC 8445 section 5.3)."""
        return cls(secrets.token_hex(8), secrets.token_hex(16))

    def __repr__(self) -> str:
        return f"Credentials({self.ufrag!r})"


class _Session(NamedTuple):
    """One generation of credentials; a restart makes a new one (RFC 8445 section 9)."""

    local: Credentials
    remote_ufrag: str | None


class _Transactions:
    """The latest transactions, 12 bytes each in one buffer that is written over in turn.

    A number of 96 random bits is not found by accident where two others meet.
    """

    def __init__(self) -> None:
        self._numbers = bytearray()
        self._next = 0

    def add(self, number: bytes) -> bool:
        """Remember a transaction; False if it is known already."""
        if number in self._numbers:
            return False
        self._numbers[self._next : self._next + _TRANSACTION_BYTES] = number
        self._next += _TRANSACTION_BYTES
        self._next %= MAX_TRANSACTIONS * _TRANSACTION_BYTES
        return True


class IceAgent:
    """The ICE-lite side of one peer.

    The owner registers `ufrag` with the transport, gives every STUN datagram to
    `receive_check` and sends what it returns back along the same path. `heard` tells the agent
    of other authenticated packets. Nothing that arrives makes it raise. There is nothing to
    close: when the peer is removed from the data plane its addresses go with it.

    A check that comes a second time changes nothing: it may be a retransmission, or a record
    that somebody else sends from elsewhere.

    Attributes:
        selected: the path that media is sent to, None before the first good check.
        last_check: when the latest good check arrived (`time.monotonic_ns()`), 0 for never.
        refused: checks that were answered with an error.
        repeated: checks that had come before.
    """

    def __init__(
        self,
        addresses: Addresses,
        peer: PeerId,
        *,
        activity: Callable[[], int] = lambda: 0,
        silence: int = SILENCE,
        max_addresses: int = MAX_ADDRESSES,
    ) -> None:
        """Make new local credentials.

        Args:
            addresses: the data plane, told of addresses before their check is answered.
            peer: whose addresses these are.
            activity: when the latest authenticated packet of the peer arrived, over all its
                addresses; media never passes through the agent.
            silence: nanoseconds without a packet after which a path may be left.
            max_addresses: how many addresses may be validated at once.
        """
        self._plane = addresses
        self._peer = peer
        self._activity = activity
        self._silence = silence
        self._max_addresses = max_addresses
        self._session = _Session(Credentials.generate(), None)
        self._previous: _Session | None = None
        #: Validated paths with the arrival of the latest authenticated packet on each.
        self._paths: dict[Path, int] = {}
        self.selected: Path | None = None
        self.last_check = 0
        self.refused = 0
        self.repeated = 0
        self._transactions = _Transactions()

    @property
    def local(self) -> Credentials:
        """What the answer carries as `a=ice-ufrag` and `a=ice-pwd`."""
        return self._session.local

    @property
    def ufrag(self) -> str:
        """The current local username fragment."""
        return self._session.local.ufrag

    @property
    def remote_ufrag(self) -> str:
        """The client's current username fragment; "" before it is known."""
        return self._session.remote_ufrag or ""

    @property
    def ufrags(self) -> tuple[str, ...]:
        """Local username fragments that are valid now: two while a restart is under way."""
        sessions = [self._session]
        if self._previous is not None:
            sessions.append(self._previous)
        return tuple(session.local.ufrag for session in sessions)

    @property
    def paths(self) -> tuple[Path, ...]:
        """All validated paths."""
        return tuple(self._paths)

    def set_remote_ufrag(self, ufrag: str) -> None:
        """Expect this username fragment in checks; before, any is accepted."""
        self._session = self._session._replace(remote_ufrag=ufrag)

    def restart(self) -> Credentials:
        """Make new local credentials and return them.

        The old ones stay valid until the first good check with the new ones, so that media
        flows on meanwhile (RFC 8445 section 9). Addresses are kept.
        """
        self._previous = self._session
        self._session = _Session(Credentials.generate(), None)
        return self._session.local

    def heard(self, path: Path, now: int) -> None:
        """Note an authenticated packet other than a check; unknown paths are ignored."""
        if path in self._paths:
            self._paths[path] = now

    def receive_check(self, data: bytes, path: Path, now: int) -> bytes | None:
        """Take a STUN datagram in.

        Args:
            data: the datagram.
            path: how it came.
            now: when it came, by `time.monotonic_ns()`.

        Returns:
            What to send back along `path`, None for nothing: indications, responses,
            repetitions from unknown addresses and whatever is not a well-formed binding
            request are ignored.
        """
        message = _parse_request(data)
        if message is None:
            return None
        refuse = _Refusal(message.transaction_id)
        username = message.attributes.get("USERNAME")
        if username is None or "MESSAGE-INTEGRITY" not in message.attributes:
            self.refused += 1
            return refuse(400)
        # The order is that of RFC 8489: first who it is (section 9.1.3), then what it asks for
        # (section 6.3.1), then roles (RFC 8445 section 7.3.1.1). Until the end nothing changes.
        session = self._session_of(username)
        if session is None:
            self.refused += 1
            return refuse(401)
        key = session.local.pwd.encode()
        if not message.check_message_integrity(key):
            self.refused += 1
            return refuse(401)
        unknown = _unknown_attributes(data)
        if unknown:
            self.refused += 1
            return refuse(420, key=key, unknown=unknown)
        if "ICE-CONTROLLED" in message.attributes:
            # A lite agent cannot take the controlling role from a full one (RFC 8445 section
            # 6.1.1), so the tiebreakers do not matter: the client has to change.
            self.refused += 1
            return refuse(487, key=key)
        if self._transactions.add(message.transaction_id):
            if session is self._session:
                self._previous = None
            self.last_check = now
            self._validate(path, now, nominated="USE-CANDIDATE" in message.attributes)
        else:
            self.repeated += 1
            if path not in self._paths:
                # Whose address has changed meanwhile will check again from there.
                return None
        mapped = _xor_address(path, message.transaction_id)
        return _encode(
            stun.Class.RESPONSE,
            message.transaction_id,
            [("XOR-MAPPED-ADDRESS", mapped)],
            key,
        )

    def _session_of(self, username: str) -> _Session | None:
        ours, _, theirs = username.partition(":")
        for session in (self._session, self._previous):
            if session is None or session.local.ufrag != ours:
                continue
            if session.remote_ufrag in (None, theirs):
                return session
        return None

    def _validate(self, path: Path, now: int, *, nominated: bool) -> None:
        fresh = path not in self._paths
        if fresh:
            self._add(path)
        # Before the entry of this path is updated: it may be judged against its own past.
        moves = self.selected is None or (
            path != self.selected
            and (nominated or self._is_silent(self.selected, now, fresh=fresh))
        )
        self._paths[path] = now
        if moves:
            self.selected = path
            self._plane.select_path(self._peer, path)

    def _is_silent(self, selected: Path, now: int, *, fresh: bool) -> bool:
        """Whether the selected path may be left for another that was not nominated."""
        heard = self._paths[selected]
        if fresh:
            # Packets from a new address were dropped so far, so all activity was elsewhere.
            return now - max(heard, self._activity()) >= self._silence
        return now - heard >= STALE * self._silence

    def _add(self, path: Path) -> None:
        if len(self._paths) >= self._max_addresses:
            idle = (p for p in self._paths if p != self.selected)
            self._remove(min(idle, key=self._paths.__getitem__))
        # The plane knows remote addresses; one of them may have reached two of ours.
        if not self._has_remote(path):
            self._plane.add_address(self._peer, path)
        self._paths[path] = 0

    def _remove(self, path: Path) -> None:
        del self._paths[path]
        if not self._has_remote(path):
            self._plane.remove_address(self._peer, path)

    def _has_remote(self, path: Path) -> bool:
        remote = path._replace(local="")
        return any(known._replace(local="") == remote for known in self._paths)


def local_ufrag(data: bytes) -> str | None:
    """The username fragment that a check is addressed to, without trusting anything in it."""
    if not _is_binding_request(data):
        return None
    for kind, value in _attributes(data):
        if kind == 0x0006:  # USERNAME, RFC 8489 section 14.3
            ours, colon, _ = value.partition(b":")
            return ours.decode("ascii", "replace") if colon else None
    return None


def _is_binding_request(data: bytes) -> bool:
    return (
        stun.HEADER_LENGTH <= len(data) <= MAX_STUN_BYTES
        and int.from_bytes(data[:2]) == _BINDING_REQUEST
        and int.from_bytes(data[4:8]) == stun.COOKIE
    )


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = stun.HEADER_LENGTH
    for _ in range(MAX_ATTRIBUTES):
        if position + 4 > len(data):
            return
        kind, length = struct.unpack_from("!HH", data, position)
        yield kind, data[position + 4 : position + 4 + length]
        position += 4 + length + stun.padding_length(length)


def _parse_request(data: bytes) -> stun.Message | None:
    if not _is_binding_request(data):
        return None
    try:
        return stun.parse_message(data)
    except (ValueError, struct.error):
        # aioice unpacks attributes of fixed size without a look at their length.
        return None


def _unknown_attributes(data: bytes) -> list[int]:
    """Attributes that a server must understand and we do not (RFC 8489 section 6.3.1)."""
    unknown = []
    for kind, _ in _attributes(data):
        if kind == 0x0008:  # what follows MESSAGE-INTEGRITY is ignored (section 14.5)
            break
        if kind < 0x8000 and kind not in stun.ATTRIBUTES_BY_TYPE:
            unknown.append(kind)
    return unknown


class _Refusal:
    """Error responses to one transaction."""

    def __init__(self, transaction_id: bytes) -> None:
        self._transaction_id = transaction_id

    def __call__(
        self, code: int, *, key: bytes | None = None, unknown: list[int] | None = None
    ) -> bytes:
        attributes: list[tuple[str | int, bytes]] = [
            ("ERROR-CODE", stun.pack_error_code((code, _ERRORS[code])))
        ]
        if unknown:
            types = struct.pack(f"!{len(unknown)}H", *unknown)
            attributes.append((_UNKNOWN_ATTRIBUTES, types))
        return _encode(stun.Class.ERROR, self._transaction_id, attributes, key)


def _xor_address(path: Path, transaction_id: bytes) -> bytes:
    """XOR-MAPPED-ADDRESS (RFC 8489 section 14.2).

    As aioice's, which parses the address in Python: a fifth of what a check costs.
    """
    if ":" in path.host:
        family, kind = socket.AF_INET6, 2
    else:
        family, kind = socket.AF_INET, 1
    address = socket.inet_pton(family, path.host.partition("%")[0])
    mask = (_COOKIE + transaction_id)[: len(address)]
    xored = int.from_bytes(address) ^ int.from_bytes(mask)
    head = struct.pack("!BBH", 0, kind, path.port ^ stun.COOKIE >> 16)
    return head + xored.to_bytes(len(address))


def _encode(
    kind: stun.Class,
    transaction_id: bytes,
    attributes: list[tuple[str | int, bytes]],
    key: bytes | None,
) -> bytes:
    """A binding response, signed if there is a key, with a fingerprint."""
    body = b"".join(_attribute(name, value) for name, value in attributes)
    header = struct.pack(
        "!HHI12s", stun.Method.BINDING | kind, len(body), stun.COOKIE, transaction_id
    )
    data = header + body
    if key is not None:
        # What is signed has the length that it will have with the signature.
        signed = stun.set_body_length(data, len(data) - stun.HEADER_LENGTH + 24)
        data += _attribute("MESSAGE-INTEGRITY", hmac.digest(key, signed, "sha1"))
    fingerprint = struct.pack("!I", stun.message_fingerprint(data))
    data += _attribute("FINGERPRINT", fingerprint)
    return stun.set_body_length(data, len(data) - stun.HEADER_LENGTH)


def _attribute(name: str | int, value: bytes) -> bytes:
    kind = name if isinstance(name, int) else stun.ATTRIBUTES_BY_NAME[name][0]
    padding = bytes(stun.padding_length(len(value)))
    return struct.pack("!HH", kind, len(value)) + value + padding
