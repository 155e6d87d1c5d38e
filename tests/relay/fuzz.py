"""A storm of datagrams against the data plane: `python -m tests.relay.fuzz --count 1000000`.

Most are RTP, malformed in every way that its header has, and then encrypted *correctly*, since
what fails its authentication never reaches the code that reads it. The rest are STUN, DTLS
and RTCP with changed bytes, SRTP with changed bytes, SRTP before its keys, and noise, from
addresses that are known and from one that is not. Everything follows from one seed.

Beside the storm a well-behaved stream runs through the same plane: it must lose nothing.
"""

from __future__ import annotations

import argparse
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pylibsrtp import Session
from pylibsrtp._binding import ffi, lib

from live777py.protocol.codecs import Format
from live777py.protocol.extensions import Extension
from live777py.relay.addresses import find
from live777py.relay.cfuncs import COMPILED
from live777py.relay.header import LAST_EXTENSION, TWO_BYTE
from live777py.relay.seam import TrackId
from live777py.relay.tables import DATAGRAM, MAX_PACKET, State

from . import support
from .support import SMALL, Endpoint, Rig, protect, rtp

FORMATS = {
    96: Format.H264,
    97: Format.H265,
    98: Format.VP8,
    99: Format.VP9,
    100: Format.AV1,
    101: Format.OPAQUE,
}
#: What the publisher negotiated; two of the ids fit the two-byte form alone.
PUBLISHED = {
    1: Extension.AUDIO_LEVEL,
    2: Extension.VIDEO_ORIENTATION,
    14: Extension.PLAYOUT_DELAY,
    15: Extension.COLOR_SPACE,
    200: Extension.DEPENDENCY_DESCRIPTOR,
}
#: What each viewer negotiated: nothing, small ids, ids that need the two-byte form.
WATCHED: tuple[dict[Extension, int], ...] = (
    {},
    {extension: extension + 2 for extension in PUBLISHED.values()},
    {extension: 255 - extension for extension in PUBLISHED.values()},
)
#: Datagrams between two looks at what came out; they fit into every socket's buffer.
ROUND = 24

_BINDING_REQUEST = (
    bytes.fromhex("000100282112a442")
    + bytes(12)
    + (struct.pack("!HH", 6, 9) + b"ours:them" + bytes(3) + struct.pack("!HH", 8, 20))
    + bytes(20)
)
_CLIENT_HELLO = bytes.fromhex(
    "16fefd000000000000000000360100002a000000000000002afefd"
) + bytes(42)
_RECEIVER_REPORT = struct.pack("!BBHIIIIIII", 0x81, 201, 7, 1, 2, 3, 4, 5, 6, 7)


class Storm:
    """Makes datagrams. Who draws the same from the same seed gets the same bytes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._sequences = dict.fromkeys(range(128), 1000)
        self._ssrcs = [*range(42, 42 + 128)]

    def rtp(self) -> bytes:
        """An RTP packet, well-formed by accident only."""
        r = self.random
        payload_type = r.choice((*FORMATS, *FORMATS, r.randrange(128)))
        head = bytearray(
            struct.pack(
                "!BBHII",
                0x80 | r.choice((0, 0, 0x10, 0x10, 0x20, 0x30)),
                payload_type | r.choice((0, 0x80)),
                self._sequence(payload_type),
                r.choice((0, 0xFFFFFFFF, r.getrandbits(32))),
                self._ssrc(payload_type),
            )
        )
        csrcs = r.choice((0, 0, 0, 0, 1, 15, r.randrange(16)))
        head[0] |= csrcs
        if r.random() < 0.01:
            head[0] ^= r.choice((0x40, 0x80, 0xC0))
        if r.random() < 0.02:
            # They say that there are more than there are.
            csrcs = r.randrange(csrcs + 1)
        body = r.randbytes(4 * csrcs)
        if head[0] & 0x10:
            body += self.extension()
        body += self.payload(payload_type)
        if head[0] & 0x20 and r.random() < 0.9:
            body += bytes([r.choice((0, 1, 2, 4, 255, r.randrange(256)))])
        packet = bytes(head) + body
        if r.random() < 0.03:
            packet = packet[: r.randrange(len(packet) + 1)]
        return packet[: DATAGRAM + 100]

    def _sequence(self, payload_type: int) -> int:
        r = self.random
        draw = r.random()
        latest = self._sequences[payload_type]
        if draw < 0.08:
            # One that was there, or was passed over.
            return (latest - r.randrange(600)) & 0xFFFF
        if draw < 0.96:
            step = 1
        elif draw < 0.99:
            step = r.randrange(1, 40)
        elif draw < 0.998:
            step = r.randrange(2900)
        else:
            step = r.randrange(-15_000, 15_000)
        self._sequences[payload_type] = (latest + step) & 0xFFFF
        return self._sequences[payload_type]

    def _ssrc(self, payload_type: int) -> int:
        r = self.random
        draw = r.random()
        if draw < 0.00005:
            # The track changes its source, if the old one has been silent.
            self._ssrcs[payload_type] = r.getrandbits(32)
        return r.getrandbits(32) if draw > 0.999 else self._ssrcs[payload_type]

    def extension(self) -> bytes:
        """A header extension whose length, ids and element lengths may all be wrong."""
        r = self.random
        profile = r.choice((0xBEDE, 0xBEDE, 0x1000, 0x100F, 0, r.getrandbits(16)))
        body = b""
        for _ in range(r.choice((0, 1, 2, 3, 3, 8, 40))):
            identifier = r.choice((*PUBLISHED, *PUBLISHED, 0, 7, r.randrange(256)))
            if profile == 0xBEDE:
                length = r.randrange(16)
                body += bytes([(identifier & 15) << 4 | length])
                body += r.randbytes(length + 1)
            else:
                length = r.choice((0, 0, 1, 3, 16, 17, r.randrange(256)))
                body += bytes([identifier, length]) + r.randbytes(length)
            body += bytes(r.choice((0, 0, 0, 1, 3)))
        if r.random() < 0.1:
            body = body[: r.randrange(len(body) + 1)]
        body += bytes(-len(body) % 4)
        words = len(body) // 4
        if r.random() < 0.05:
            words = r.choice((0, words + 1, words - 1, 65_535, r.getrandbits(16)))
        return struct.pack("!HH", profile, words & 0xFFFF) + body

    def payload(self, payload_type: int) -> bytes:
        """A payload that begins like one of its codec, or is none at all."""
        r = self.random
        size = r.choice(
            (0, 1, 2, 3, 20, 200, 1100, MAX_PACKET - 12, r.randrange(DATAGRAM))
        )
        body = r.randbytes(size)
        match FORMATS.get(payload_type):
            case Format.H264:
                first = bytes([r.choice((24, 24, 28, 5, 7, 31)) | r.randrange(4) << 5])
                return first + self._aggregate(body)
            case Format.H265:
                first = bytes([r.choice((48, 48, 49, 19, 32)) << 1, 1])
                return first + self._aggregate(body)
            case Format.VP8:
                return bytes([0x10 | r.choice((0, 0x80)), r.randrange(256)]) + body
            case Format.VP9:
                return bytes([r.choice((0x08, 0x88, 0xA8, 0xFF))]) + body
            case _:
                return body

    def _aggregate(self, body: bytes) -> bytes:
        """NAL units whose sizes lie now and then, of types that are no key frame."""
        r = self.random
        parts = []
        for _ in range(r.randrange(6)):
            size = r.choice((0, 1, 2, 30))
            claim = size if r.random() < 0.8 else r.choice((0, 65_535, size + 1))
            parts.append(struct.pack("!H", claim) + b"\x01" * size)
        return b"".join(parts) + body[: r.randrange(len(body) + 1)]

    def mutated(self, data: bytes) -> bytes:
        """A datagram with some bytes changed, cut, repeated or put in."""
        r = self.random
        changed = bytearray(data)
        for _ in range(r.choice((0, 1, 1, 2, 5))):
            if not changed:
                break
            at = r.randrange(len(changed))
            match r.randrange(5):
                case 0:
                    changed[at] ^= 1 << r.randrange(8)
                case 1:
                    changed[at] = r.choice((0, 1, 0x7F, 0x80, 0xFF))
                case 2:
                    del changed[at:]
                case 3:
                    changed[at:at] = r.randbytes(r.choice((1, 2, 4, 100)))
                case _:
                    changed += changed[at:]
        return bytes(changed[: DATAGRAM + 100])

    def control(self) -> bytes:
        """STUN, DTLS or RTCP that was valid once, or noise with such a first byte."""
        r = self.random
        known = (_BINDING_REQUEST, _CLIENT_HELLO, _RECEIVER_REPORT)
        if r.random() < 0.8:
            return self.mutated(r.choice(known))
        return bytes([r.randrange(256)]) + r.randbytes(r.choice((0, 1, 11, 19, 1500)))


@dataclass(slots=True)
class Tally:
    """What has happened so far."""

    sent: int = 0
    encrypted: int = 0
    forwarded: int = 0
    followed: int = 0


class Fuzz:
    """A rig under a storm."""

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig = rig
        self.storm = Storm(seed)
        self.tally = Tally()
        self.publisher = rig.endpoint()
        self.keyless = rig.endpoint(with_keys=False)
        self.stranger = support.udp()
        self.viewers = [rig.endpoint() for _ in WATCHED]
        self.tracks: list[TrackId] = []
        for payload_type, form in FORMATS.items():
            track = rig.plane.add_track()
            self.tracks.append(track)
            rig.bind(
                self.publisher,
                track,
                payload_type=payload_type,
                format=form,
                extensions=PUBLISHED,
            )
            for viewer, ids in zip(self.viewers, WATCHED, strict=True):
                rig.watch(
                    viewer,
                    track,
                    payload_type=payload_type - 60,
                    ssrc=payload_type,
                    extensions=ids,
                )
        self.good, self.good_track, (self.good_viewer,) = rig.stream()
        self._good_sequence = 0
        self._last: bytes = b""

    def close(self) -> None:
        self.stranger.close()

    def run(
        self, count: int, told: Callable[[Tally], None] = lambda tally: None
    ) -> None:
        """Send so many datagrams, and look at all that comes out.

        Raises:
            AssertionError: a viewer got what is no RTP packet of its stream, or the stream
                beside the storm lost something.
        """
        end = self.tally.sent + count
        while self.tally.sent < end:
            for _ in range(min(ROUND, end - self.tally.sent)):
                self._send_one()
            self._good_sequence += 1
            self.good.publish(rtp(self._good_sequence, 3000 * self._good_sequence))
            self.rig.turn()
            for packet in self.rig.plane.control_packets():
                assert len(packet.data) <= DATAGRAM
            self._look()
            told(self.tally)

    def _send_one(self) -> None:
        storm, draw = self.storm, self.storm.random.random()
        self.tally.sent += 1
        if draw < 0.80:
            self._encrypted(storm.rtp())
        elif draw < 0.88:
            self.publisher.send(storm.mutated(self._last))
        elif draw < 0.95:
            sender = storm.random.choice((self.publisher, self.keyless))
            sender.send(storm.control())
        elif draw < 0.97:
            self.keyless.send(storm.rtp())
        else:
            self.stranger.sendto(
                storm.random.choice((storm.rtp, storm.control))(), self.good.server
            )

    def _encrypted(self, packet: bytes) -> None:
        try:
            data = protect(self.publisher.protect, packet)
        except ValueError:
            # libsrtp looks at the header too.
            self.publisher.send(packet)
            return
        self.tally.encrypted += 1
        self._last = data
        self.publisher.send(data)

    def _look(self) -> None:
        for viewer, ids in zip(self.viewers, WATCHED, strict=True):
            for data in viewer.datagrams():
                self.tally.forwarded += 1
                check_packet(unprotect(viewer.unprotect, data), ids)
        (good,) = self.good_viewer.packets()
        assert good.sequence == self._good_sequence & 0xFFFF
        assert good.payload == b"payload"
        self.tally.followed += 1


@contextmanager
def fuzzing(seed: int) -> Iterator[Fuzz]:
    """A rig of its own with everything set up."""
    rig = Rig(SMALL)
    try:
        fuzz = Fuzz(rig, seed)
        try:
            rig.turn()
            yield fuzz
        finally:
            fuzz.close()
    finally:
        rig.close()


def unprotect(session: Session, data: bytes) -> bytes:
    """Decrypt a packet of any length, which must not have been there before."""
    buffer = ffi.new("char[]", data)
    length = ffi.new("int *", len(data))
    error = lib.srtp_unprotect(session._srtp[0], buffer, length)
    assert error == 0, f"libsrtp refuses what the plane sent: {error}"
    return bytes(ffi.buffer(buffer, length[0]))


def check_packet(data: bytes, ids: dict[Extension, int]) -> None:
    """What a viewer gets is RTP without CSRCs, with extensions that it negotiated or none."""
    first, second, _, _, ssrc = struct.unpack_from("!BBHII", data)
    assert first & 0xCF == 0x80, "version 2, no CSRC"
    assert (second & 127) + 60 == ssrc, "the payload type of this SSRC"
    assert ssrc in FORMATS
    if not first & 0x10:
        return
    profile, words = struct.unpack_from("!HH", data, 12)
    elements = data[16 : 16 + 4 * words]
    assert len(elements) == 4 * words
    head = 2 if profile == TWO_BYTE else 1
    assert profile in (0xBEDE, TWO_BYTE)
    at = 0
    while at < len(elements):
        if elements[at] == 0:
            at += 1
            continue
        if head == 1:
            identifier, length = elements[at] >> 4, (elements[at] & 15) + 1
        else:
            identifier, length = elements[at], elements[at + 1]
        assert identifier in ids.values()
        at += head + length
    assert at == len(elements), "the last element ends with the header"


def check_tables(rig: Rig) -> None:
    """Whatever came in, the tables of an idle plane agree with one another."""
    plane, state = rig.plane, rig.plane._state
    engine = state.engine[0]
    assert (engine.collected, engine.dirty, engine.output_packets) == (0, 0, 0)
    for track, known in plane._tracks.items():
        listed = [_listed(lane, track) for lane in plane._memory.lanes]
        assert sum(map(len, listed)) == len(known.viewers)
        assert set().union(*listed) == {int(viewer) for viewer in known.viewers}
        _check_track(state, track)
    owned = [(key, peer) for key, peer in plane._owners.items()]
    for (high, low, port), peer in owned:
        at = find(state.addresses, engine.seed, high, low, port)
        assert at >= 0
        assert state.addresses[at].peer_plus_one == peer + 1
    assert (state.addresses["peer_plus_one"] != 0).sum() == len(owned)
    waiting = state.parking.rows["peer_plus_one"]
    assert 0 <= engine.parked_head - engine.parked_tail <= len(waiting)
    for peer in plane._peers:
        assert state.peers[peer].parked == (waiting == peer + 1).sum()


def _listed(state: State, track: int) -> set[int]:
    """The viewers that a lane has of a track, by following the links."""
    row = state.audiences[track]
    found: set[int] = set()
    link, previous = int(row.first_viewer_plus_one), 0
    while link != 0:
        assert link - 1 not in found, "the list of viewers has a loop"
        found.add(link - 1)
        viewer = state.viewers[link - 1]
        assert viewer.previous_plus_one == previous
        assert viewer.track_plus_one == track + 1
        link, previous = int(viewer.next_plus_one), link
    assert row.viewers == len(found)
    assert row.batch_first_plus_one == 0
    return found


def _check_track(state: State, track: int) -> None:
    row, history = state.tracks[track], int(state.engine[0].history)
    first = track * history
    for slot in range(first, first + history):
        packet = state.history.packets[slot]
        if packet.number == 0:
            continue
        assert packet.number % history == slot - first
        assert packet.number <= row.highest_out
        assert 12 <= packet.length <= MAX_PACKET
        assert 0 <= packet.octets <= packet.length - 12
        head = bytes(state.history.bytes[slot, :20])
        assert head[0] & 0xCF == 0x80
        if head[0] & 0x10:
            assert 16 + 4 * int.from_bytes(head[14:16]) <= packet.length
            assert int.from_bytes(head[12:14]) in (0xBEDE, TWO_BYTE)
            assert head[16] >> 4 <= LAST_EXTENSION or head[12] == TWO_BYTE >> 8


def check_forwarding(fuzz: Fuzz) -> None:
    """After the storm a new publisher takes the tracks over and everything goes on."""
    rig = fuzz.rig
    newcomer: Endpoint = rig.endpoint()
    for payload_type, track in zip(FORMATS, fuzz.tracks, strict=True):
        rig.bind(newcomer, track, payload_type=payload_type)
    rig.turn()
    for viewer in fuzz.viewers:
        viewer.datagrams()
    for payload_type in FORMATS:
        for sequence in range(3):
            newcomer.publish(
                rtp(sequence, ssrc=payload_type, payload_type=payload_type)
            )
    rig.turn()
    for viewer in fuzz.viewers:
        got = [
            unprotect(viewer.unprotect, d) for d in viewer.datagrams(3 * len(FORMATS))
        ]
        assert [data[12:] for data in got] == [b"payload"] * 3 * len(FORMATS)


def main(arguments: list[str] | None = None) -> int:
    """Run a storm from the command line."""
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=…", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=900, help="stop after so many")
    options = parser.parse_args(arguments)
    began = shown = time.monotonic()

    def told(tally: Tally) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= 5:
            shown = now
            print(f"{tally.sent:>10} {tally.sent / (now - began):>8.0f}/s", flush=True)

    with fuzzing(options.seed) as fuzz:
        while fuzz.tally.sent < options.count:
            if time.monotonic() - began > options.seconds:
                print(f"stopped after {options.seconds:g} s")
                break
            fuzz.run(min(10_000, options.count - fuzz.tally.sent), told)
            check_tables(fuzz.rig)
        check_forwarding(fuzz)
        check_tables(fuzz.rig)
        tally, counters = fuzz.tally, fuzz.rig.plane.counters()
        rate = tally.sent / (time.monotonic() - began)
        mode = "compiled" if COMPILED else "plain"
        print(f"{mode}: {tally.sent} datagrams, seed {options.seed}, {rate:.0f}/s")
        print(f"  {tally.encrypted} encrypted, {tally.forwarded} copies to viewers")
        print(f"  {tally.followed} packets of the stream beside the storm")
        for name in ("malformed", "srtp_failed", "srtp_replayed", "late", "no_track",
                     "foreign_ssrc", "sequence_jumps", "protect_failed"):  # fmt: skip
            print(f"  {name} {counters[name]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
