"""A plane stepped by hand, and peers that are plain sockets with libsrtp sessions."""

from __future__ import annotations

import dataclasses
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session
from pylibsrtp._binding import ffi, lib

from live777py.protocol.codecs import Format
from live777py.protocol.extensions import Extension
from live777py.relay.plane import Plane
from live777py.relay.seam import Path, PeerId, SrtpKeys, TrackId, ViewerId
from live777py.relay.settings import PlaneSettings

GCM = int(Policy.SRTP_PROFILE_AEAD_AES_128_GCM)
SMALL = PlaneSettings(
    threads=0,
    max_peers=64,
    max_viewers=64,
    max_tracks=8,
    history=256,
    command_rows=256,
    control_rows=64,
    parked_packets=512,
    output_packets=64,
    # Tests say when something else is to be sent than what they ask for.
    echo_delay=0,
)


#: The lane that has all viewers; other than 0 in tests that run with another, too.
LANE = 0


class Rtp(NamedTuple):
    """A parsed packet; `extension` is (profile, bytes) or None."""

    padding: bool
    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    extension: tuple[int, bytes] | None
    payload: bytes


def rtp(
    sequence: int,
    timestamp: int = 0,
    payload: bytes = b"payload",
    *,
    ssrc: int = 42,
    payload_type: int = 96,
    marker: bool = False,
    padding: int = 0,
    csrcs: tuple[int, ...] = (),
    extension: tuple[int, bytes] | None = None,
) -> bytes:
    """The bytes of an RTP packet."""
    first = 0x80 | (0x20 if padding else 0) | len(csrcs)
    data = b"".join(struct.pack("!I", csrc) for csrc in csrcs)
    if extension is not None:
        first |= 0x10
        profile, elements = extension
        elements += bytes(-len(elements) % 4)
        data += struct.pack("!HH", profile, len(elements) // 4) + elements
    if padding:
        payload += bytes(padding - 1) + bytes([padding])
    second = payload_type | (0x80 if marker else 0)
    head = struct.pack(
        "!BBHII", first, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc
    )
    return head + data + payload


def parse(data: bytes) -> Rtp:
    """The parts of a packet that a viewer got; it never has CSRCs."""
    first, second, sequence, timestamp, ssrc = struct.unpack("!BBHII", data[:12])
    assert first >> 6 == 2
    assert first & 15 == 0
    at = 12
    extension = None
    if first & 0x10:
        profile, words = struct.unpack("!HH", data[12:16])
        at = 16 + 4 * words
        extension = (profile, data[16:at])
    return Rtp(
        bool(first & 0x20),
        bool(second & 0x80),
        second & 127,
        sequence,
        timestamp,
        ssrc,
        extension,
        data[at:],
    )


def udp(host: str = "127.0.0.1") -> socket.socket:
    """A socket of a peer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind((host, 0))
    return sock


def _session(key: bytes, direction: int, profile: int) -> Session:
    policy = Policy(key=key, ssrc_type=direction, srtp_profile=profile)
    policy.allow_repeat_tx = True
    policy.window_size = 0x4000
    return Session(policy)


def protect(session: Session, data: bytes) -> bytes:
    """Encrypt a packet of any length (pylibsrtp's own buffer holds 1,356 bytes)."""
    buffer = ffi.new("char[]", data + bytes(64))
    length = ffi.new("int *", len(data))
    error = lib.srtp_protect(session._srtp[0], buffer, length)
    if error:
        raise ValueError(f"libsrtp refuses this packet: {error}")
    return bytes(ffi.buffer(buffer, length[0]))


@dataclass
class Endpoint:
    """One peer, at its own end of the wire."""

    sock: socket.socket
    server: tuple[str, int]
    local: str
    keys: SrtpKeys
    protect: Session
    unprotect: Session
    peer: PeerId

    @property
    def path(self) -> Path:
        host, port = self.sock.getsockname()[:2]
        return Path(host, port, self.local)

    def send(self, data: bytes) -> None:
        """Send a datagram as it is."""
        self.sock.sendto(data, self.server)

    def publish(self, data: bytes) -> bytes:
        """Encrypt and send an RTP packet; the bytes that were sent."""
        protected = protect(self.protect, data)
        self.send(protected)
        return protected

    def datagrams(self, count: int = -1, timeout: float = 1.0) -> list[bytes]:
        """What has arrived, waiting for `count` datagrams if that is given."""
        got: list[bytes] = []
        end = time.monotonic() + (timeout if count >= 0 else 0)
        while count < 0 or len(got) < count:
            left = max(0.0, end - time.monotonic())
            if not select.select([self.sock], [], [], left)[0]:
                break
            got.append(self.sock.recv(4096))
        return got

    def packets(self, count: int = -1) -> list[Rtp]:
        """What has arrived, decrypted; not what had arrived before."""
        got = []
        for data in self.datagrams(count):
            try:
                got.append(parse(self.unprotect.unprotect(data)))
            except SrtpError as error:
                if "replay check failed" not in str(error):
                    raise
        return got


class Rig:
    """A plane with its socket, and everything that tests do with both."""

    def __init__(
        self, settings: PlaneSettings = SMALL, host: str = "127.0.0.1"
    ) -> None:
        self.sock = udp(host)
        if LANE and settings.threads == 0:
            settings = dataclasses.replace(settings, threads=LANE + 1)
        self.plane = Plane(self.sock, settings)
        #: The state of the lane that sends to viewers.
        self.sending = self.plane._memory.lanes[LANE]
        #: And the socket by which it sends.
        self.sender = [self.sock, *self.plane._senders][LANE]
        self.endpoints: list[Endpoint] = []

    def endpoint(
        self,
        host: str = "127.0.0.1",
        *,
        server: str | None = None,
        profile: int = GCM,
        with_keys: bool = True,
    ) -> Endpoint:
        """A peer whose address is known; media goes there."""
        sock = udp(host)
        length = {1: 30, 7: 28, 8: 44}[profile]
        keys = SrtpKeys(profile, os.urandom(length), os.urandom(length))
        local = server or host
        made = Endpoint(
            sock,
            (local, self.sock.getsockname()[1]),
            local,
            keys,
            _session(keys.receive, Policy.SSRC_ANY_OUTBOUND, profile),
            _session(keys.send, Policy.SSRC_ANY_INBOUND, profile),
            self.plane.add_peer(),
        )
        self.plane.add_address(made.peer, made.path)
        self.plane.select_path(made.peer, made.path)
        if with_keys:
            self.plane.set_keys(made.peer, keys)
        self.endpoints.append(made)
        return made

    def bind(
        self,
        publisher: Endpoint,
        track: TrackId,
        *,
        payload_type: int = 96,
        format: Format = Format.OPAQUE,
        clock_rate: int = 90_000,
        extensions: Mapping[int, Extension] | None = None,
    ) -> None:
        """Let a publisher feed a track."""
        self.plane.bind(
            publisher.peer,
            payload_type,
            track,
            format=format,
            clock_rate=clock_rate,
            extensions=extensions or {},
        )

    def watch(
        self,
        viewer: Endpoint,
        track: TrackId,
        *,
        payload_type: int = 100,
        ssrc: int = 1000,
        first_sequence: int = 1,
        timestamp_offset: int = 0,
        extensions: Mapping[Extension, int] | None = None,
        rtx_payload_type: int = -1,
        rtx_ssrc: int = 0,
        catch_up: bool = False,
    ) -> ViewerId:
        """Send a track to an endpoint."""
        return self.plane.add_viewer(
            viewer.peer,
            track,
            payload_type=payload_type,
            ssrc=ssrc,
            first_sequence=first_sequence,
            timestamp_offset=timestamp_offset,
            extensions=extensions or {},
            rtx_payload_type=rtx_payload_type,
            rtx_ssrc=rtx_ssrc,
            catch_up=catch_up,
        )

    def stream(
        self, viewers: int = 1, format: Format = Format.OPAQUE
    ) -> tuple[Endpoint, TrackId, list[Endpoint]]:
        """A publisher, its track, and viewers of it."""
        publisher = self.endpoint()
        track = self.plane.add_track()
        self.bind(publisher, track, format=format)
        watchers = [self.endpoint() for _ in range(viewers)]
        for number, watcher in enumerate(watchers):
            self.watch(watcher, track, ssrc=1000 + number)
        self.turn()
        return publisher, track, watchers

    def turn(self, times: int = 1) -> int:
        """Step the loop until there is nothing more; how many datagrams came in."""
        total = 0
        for _ in range(times):
            while received := self.plane.turn():
                total += received
        return total

    def catch_up(self) -> None:
        """Step the loop until every viewer is at the live edge."""
        self.turn()
        while self.sending.engine[0].catching:
            self.plane.turn(1)

    def __getitem__(self, counter: str) -> int:
        return self.plane.counters()[counter]

    def close(self) -> None:
        self.plane.stop()
        self.sock.close()
        for endpoint in self.endpoints:
            endpoint.sock.close()


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.002)


def addresses_used(r: Rig) -> int:
    """Rows of the table of addresses that are taken."""
    return int((r.plane._state.addresses["peer_plus_one"] > 0).sum())


@contextmanager
def rig(settings: PlaneSettings = SMALL, host: str = "127.0.0.1") -> Iterator[Rig]:
    """A rig that is closed at the end."""
    made = Rig(settings, host)
    try:
        yield made
    finally:
        made.close()
