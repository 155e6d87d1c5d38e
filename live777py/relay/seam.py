"""The values that cross the seam between control (asyncio) and the data plane."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple, NewType

PeerId = NewType("PeerId", int)
TrackId = NewType("TrackId", int)
ViewerId = NewType("ViewerId", int)
#: What puts packets into a track that did not come as SRTP.
SourceId = NewType("SourceId", int)
#: What reads a track's packets without SRTP.
TapId = NewType("TapId", int)


class Path(NamedTuple):
    """Where a peer is, and which of our addresses it reached.

    IPv4 addresses are dotted quads on both sides, also on a dual-stack socket.

    Attributes:
        host, port: the remote transport address.
        local: the local address that the datagram came to, from which replies must leave
            (a wildcard socket would otherwise choose one that the client never tried).
        scope: the interface index of a link-local IPv6 address, 0 for all others.
    """

    host: str
    port: int
    local: str
    scope: int = 0


class Control(enum.IntEnum):
    """Kinds of what the plane hands to control; each kind has its own quota in the ring."""

    STUN = 0
    DTLS = 1
    RTCP = 2
    #: A decrypted RTP packet of a key frame that carries parameter sets or a sequence header,
    #: in its outgoing numbering; `peer` is the *track*. At most one a key frame.
    KEY_FRAME = 3


class ControlPacket(NamedTuple):
    """One datagram that is not media.

    Attributes:
        kind: what it is.
        peer: the peer that this address belongs to, -1 for a STUN packet from elsewhere.
            DTLS and RTCP of unknown addresses never leave the plane.
        path: how it came; for KEY_FRAME packets an empty path.
        data: the bytes; SRTCP still protected.
        arrived: `time.monotonic_ns()` of the arrival.
    """

    kind: Control
    peer: int
    path: Path
    data: bytes
    arrived: int


class Gap(NamedTuple):
    """Packets of a track that were passed over: lost, or late.

    Attributes:
        track: whose they are.
        ssrc: of the publisher.
        first: the first one's extended number in the track's outgoing numbering.
        missing: how many there are; 0 when the publisher's numbers have jumped and nobody
            can say.
        sequence: the first one's extended sequence number as the publisher counts.
        arrived: `time.monotonic_ns()` of the packet that came instead.
    """

    track: TrackId
    ssrc: int
    first: int
    missing: int
    sequence: int
    arrived: int


class Arrived(NamedTuple):
    """Packets with a transport-wide number, in the order of their arrival.

    Attributes:
        packets: pairs of the number and the time in µs on `time.monotonic()`'s clock.
        position: where the next reading begins.
    """

    packets: list[tuple[int, int]]
    position: int


class Found(NamedTuple):
    """What a track's history has of some packets.

    Attributes:
        arrivals: by outgoing number, `time.monotonic_ns()` of the arrival of those that are
            there.
        oldest: the lowest outgoing number that may still be filled in.
    """

    arrivals: dict[int, int]
    oldest: int


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """What DTLS-SRTP exported (RFC 5764 section 4.2): master keys with salts appended.

    Attributes:
        profile: libsrtp's number of the protection profile, as pylibsrtp names it.
        receive, send: key and salt for packets from and to the peer.
    """

    profile: int
    receive: bytes
    send: bytes

    def __repr__(self) -> str:
        return f"SrtpKeys(profile={self.profile})"


class PeerStats(NamedTuple):
    """Counters of one peer; times are `time.monotonic_ns()`, 0 for never."""

    last_received: int
    packets_received: int
    bytes_received: int
    packets_sent: int
    bytes_sent: int
    send_errors: int


class TrackStats(NamedTuple):
    """The state of a track: what reception and sender reports are made from.

    Attributes:
        ssrc: the publisher's SSRC, -1 before its first packet.
        payload_type: the publisher's payload type of the latest packet, -1 before.
        packets, bytes: RTP packets and their bytes (header and payload) taken in since the
            track was made, over all publishers.
        base_sequence, highest_sequence: extended sequence numbers (cycles << 16 | number) of
            the first and the highest packet of this SSRC, as the publisher numbered them.
        received: packets of this SSRC, for the loss counts of RFC 3550 section 6.4.
        jitter: interarrival jitter in timestamp units (RFC 3550 section 6.4.1).
        key_frames: key frames begun since the track was made.
        last_arrival: `time.monotonic_ns()` of the latest packet, 0 for never.
        last_timestamp: the latest packet's *outgoing* RTP timestamp.
        timestamp_offset: outgoing minus incoming RTP timestamp, modulo 2^32.
        viewers: how many there are.
    """

    ssrc: int
    payload_type: int
    packets: int
    bytes: int
    base_sequence: int
    highest_sequence: int
    received: int
    jitter: int
    key_frames: int
    last_arrival: int
    last_timestamp: int
    timestamp_offset: int
    viewers: int


class Group(NamedTuple):
    """What a viewer that catches up would begin with.

    Attributes:
        packets: since the latest key frame; 0 when they are too old or not all there.
        started: when that key frame came, 0 when there is none to begin with.
    """

    packets: int
    started: int


class ViewerStats(NamedTuple):
    """What was sent to one viewer of one track, as a sender report counts it.

    Attributes:
        packets: RTP packets sent, retransmissions not counted.
        octets: payload octets sent (RFC 3550 section 6.4.1: no headers, no padding).
        timestamp_offset: the viewer's RTP timestamp minus the track's outgoing one.
        first_sequence, last_sequence: of what was sent, -1 before the first packet.
    """

    packets: int
    octets: int
    timestamp_offset: int
    first_sequence: int
    last_sequence: int


@dataclass(frozen=True, slots=True)
class SourceStats:
    """What a source that is not WebRTC has put in.

    Attributes:
        packets, bytes: taken into the track's numbering, or dropped there as anybody's.
        waiting: in the ring, not seen by the loop yet.
        dropped: there was no room for them, or they were too long.
    """

    packets: int
    bytes: int
    waiting: int
    dropped: int


@dataclass(frozen=True, slots=True)
class TapStats:
    """What a tap was given.

    Attributes:
        packets: put into its ring.
        waiting: of those, not read yet.
        dropped: packets that were not put in, of so many frames (`frames_dropped`).
    """

    packets: int
    waiting: int
    dropped: int
    frames_dropped: int
