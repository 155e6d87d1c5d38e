from __future__ import annotations

import random
import socket
import time
from typing import Any

import pytest

from live777py.protocol.codecs import Format
from live777py.protocol.extensions import Extension
from live777py.relay.seam import Control, Path, TrackId

from .support import Endpoint, Rig, parse, protect, rig, rtp, udp


def test_every_field_of_the_header_is_the_viewers() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(0)
        viewer = r.endpoint()
        r.watch(
            viewer,
            track,
            payload_type=111,
            ssrc=0xDEADBEEF,
            first_sequence=32767,
            timestamp_offset=0xFFFFFFF0,
        )
        r.turn()
        publisher.publish(rtp(65535, 0x20, b"first", marker=True, csrcs=(1, 2)))
        publisher.publish(rtp(0, 0x30, b"second", padding=4))
        r.turn()
        one, two = viewer.packets(2)
        assert one == (False, True, 111, 32767, 0x10, 0xDEADBEEF, None, b"first")
        assert two == (
            True,
            False,
            111,
            32768,
            0x20,
            0xDEADBEEF,
            None,
            b"second\0\0\0\4",
        )


def test_the_payload_arrives_whole_in_all_sizes() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        payloads = [random.Random(n).randbytes(n) for n in (0, 1, 13, 500, 1200, 1340)]
        for n, payload in enumerate(payloads):
            publisher.publish(rtp(n, n, payload))
        r.turn()
        assert [p.payload for p in viewer.packets(6)] == payloads


def test_a_jump_within_a_batch_overwrites_no_packet_that_is_yet_to_be_sent() -> None:
    with rig() as r:
        publisher, track, (viewer,) = r.stream()
        rows = int(r.plane._state.engine[0].history)
        publisher.publish(rtp(1, payload=b"anchor"))
        r.turn()
        publisher.publish(rtp(2, payload=b"before"))
        publisher.publish(rtp(2 + rows, payload=b"after"))
        r.turn()
        assert [(p.sequence, p.payload) for p in viewer.packets()] == [
            (1, b"anchor"),
            (2, b"before"),
            (2 + rows, b"after"),
        ]
        assert r.plane.track_stats(track).received == 3


@pytest.mark.parametrize("profile", [1, 7, 8])
def test_all_protection_profiles_are_forwarded(profile: int) -> None:
    with rig() as r:
        publisher = r.endpoint(profile=profile)
        viewer = r.endpoint(profile=profile)
        track = r.plane.add_track()
        r.bind(publisher, track)
        r.watch(viewer, track)
        r.turn()
        publisher.publish(rtp(7))
        r.turn()
        assert viewer.packets(1)[0].payload == b"payload"


def test_extensions_travel_under_the_ids_of_each_viewer() -> None:
    with rig() as r:
        publisher = r.endpoint()
        track = r.plane.add_track()
        ids = {
            3: Extension.VIDEO_ORIENTATION,
            5: Extension.PLAYOUT_DELAY,
            9: Extension.MID,
        }
        r.bind(publisher, track, extensions=ids)
        both, one, none = r.endpoint(), r.endpoint(), r.endpoint()
        r.watch(
            both,
            track,
            extensions={Extension.VIDEO_ORIENTATION: 14, Extension.PLAYOUT_DELAY: 1},
        )
        r.watch(one, track, extensions={Extension.PLAYOUT_DELAY: 7})
        r.watch(none, track)
        r.turn()
        # MID, orientation, an unknown one, playout delay.
        elements = b"\x90a" + b"\x30\x01" + b"\xc0?" + b"\x52abc"
        publisher.publish(rtp(1, extension=(0xBEDE, elements)))
        r.turn()
        assert both.packets(1)[0].extension == (0xBEDE, b"\xe0\x01\x12abc\0\0")
        assert one.packets(1)[0].extension == (0xBEDE, b"\0\0\x72abc\0\0")
        assert none.packets(1)[0].extension == (0xBEDE, bytes(8))


def test_long_and_empty_extensions_take_the_two_byte_form() -> None:
    with rig() as r:
        publisher = r.endpoint()
        track = r.plane.add_track()
        ids = {200: Extension.DEPENDENCY_DESCRIPTOR, 3: Extension.VIDEO_ORIENTATION}
        r.bind(publisher, track, extensions=ids)
        viewer = r.endpoint()
        theirs = {Extension.DEPENDENCY_DESCRIPTOR: 99, Extension.VIDEO_ORIENTATION: 4}
        r.watch(viewer, track, extensions=theirs)
        r.turn()
        long = bytes([200, 20, *range(20)]) + bytes([3, 1, 7])
        publisher.publish(rtp(1, extension=(0x1000, long)))
        publisher.publish(rtp(2, extension=(0x100F, bytes([3, 0]))))
        publisher.publish(rtp(3, extension=(0x1000, bytes([3, 1, 5]))))
        r.turn()
        one, two, three = viewer.packets(3)
        expected = bytes([99, 20, *range(20)]) + bytes([4, 1, 7])
        assert one.extension == (0x1000, expected + b"\0" * 3)
        assert two.extension == (0x1000, bytes([4, 0, 0, 0]))
        # What fits the one-byte form is turned into it.
        assert three.extension == (0xBEDE, bytes([0x40, 5, 0, 0]))


def test_packets_without_a_kept_extension_have_none() -> None:
    with rig() as r:
        publisher = r.endpoint()
        track = r.plane.add_track()
        r.bind(publisher, track, extensions={3: Extension.VIDEO_ORIENTATION})
        viewer = r.endpoint()
        r.watch(viewer, track, extensions={Extension.VIDEO_ORIENTATION: 3})
        r.turn()
        publisher.publish(rtp(1, extension=(0xBEDE, b"\x90a")))
        publisher.publish(rtp(2, extension=(0x1234, b"\x30\x01")))
        r.turn()
        assert [p.extension for p in viewer.packets(2)] == [None, None]


def test_control_packets_reach_control_with_their_path() -> None:
    with rig() as r:
        peer = r.endpoint()
        stranger = udp()
        r.turn()
        before = time.monotonic_ns()
        for data in (b"\0\1stun", b"\x16dtls", b"\x80\xc8rtcp"):
            peer.send(data)
            stranger.sendto(data, peer.server)
        r.turn()
        got = list(r.plane.control_packets())
        theirs = Path("127.0.0.1", stranger.getsockname()[1], "127.0.0.1")
        assert [(p.kind, p.peer, p.path, p.data) for p in got] == [
            (Control.STUN, peer.peer, peer.path, b"\0\1stun"),
            (Control.STUN, -1, theirs, b"\0\1stun"),
            (Control.DTLS, peer.peer, peer.path, b"\x16dtls"),
            (Control.RTCP, peer.peer, peer.path, b"\x80\xc8rtcp"),
        ]
        assert all(before <= p.arrived <= time.monotonic_ns() for p in got)
        assert r["unknown_address"] == 2
        stranger.close()


def test_only_authenticated_packets_count_as_a_sign_of_life() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        publisher.send(rtp(1) + bytes(16))
        r.turn()
        assert r.plane.peer_stats(publisher.peer).last_received == 0
        assert r["srtp_failed"] == 1
        publisher.publish(rtp(1))
        before = time.monotonic_ns()
        r.turn()
        stats = r.plane.peer_stats(publisher.peer)
        assert before <= stats.last_received <= time.monotonic_ns()
        assert stats.packets_received == 1
        assert len(viewer.packets(1)) == 1


def test_a_duplicate_is_dropped() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        publisher.send(publisher.publish(rtp(1)))
        r.turn()
        assert len(viewer.packets()) == 1
        assert r["srtp_replayed"] == 1


def test_media_of_unbound_payload_types_is_dropped() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        publisher.publish(rtp(1, payload_type=97))
        r.turn()
        assert r["no_track"] == 1
        assert viewer.packets() == []


def test_oversized_and_empty_datagrams_are_dropped() -> None:
    with rig() as r:
        publisher, track, (viewer,) = r.stream()
        publisher.send(b"")
        publisher.send(b"\x80" * 4000)
        # The longest packet that is forwarded, and one byte more.
        publisher.publish(rtp(1, payload=bytes(1492)))
        publisher.publish(rtp(2, payload=bytes(1493)))
        publisher.send(b"\x80")
        r.turn()
        assert r["malformed"] == 4
        assert len(viewer.datagrams()) == 1
        assert r.plane.track_stats(track).packets == 1


def test_malformed_headers_inside_valid_srtp_are_dropped() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        publisher.publish(rtp(1, payload=b"", padding=9)[:-1] + b"\xff")
        publisher.publish(rtp(2, payload=b"", padding=9)[:-1] + b"\0")
        publisher.publish(b"\xa0" + rtp(3, payload=b"")[1:])
        publisher.publish(rtp(4))
        r.turn()
        assert r["malformed"] == 3
        assert [p.sequence for p in viewer.packets()] == [1]


def test_random_datagrams_harm_nobody() -> None:
    source = random.Random(7)
    with rig() as r:
        publisher = r.endpoint()
        track = r.plane.add_track()
        r.bind(publisher, track, format=Format.H264, extensions={1: Extension.MID})
        viewer = r.endpoint()
        r.watch(viewer, track)
        valid = [publisher.protect.protect(rtp(n, n, bytes(60))) for n in range(50)]
        r.turn()
        sent = 0
        for _ in range(20_000 // 50):
            for _ in range(50):
                publisher.send(_mutated(source, valid))
            sent += 50
            r.turn()
            list(r.plane.control_packets())
        assert r["packets_in"] == sent
        viewer.datagrams()
        publisher.publish(rtp(3000))
        r.turn()
        assert len(viewer.packets(1)) == 1


def _mutated(source: random.Random, valid: list[bytes]) -> bytes:
    kind = source.randrange(4)
    if kind == 0:
        return source.randbytes(source.randrange(200))
    if kind == 1:
        return bytes([source.choice((0, 22, 128, 144, 191))]) + source.randbytes(60)
    data = bytearray(source.choice(valid))
    if kind == 2:
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        return bytes(data)
    return bytes(data[: source.randrange(len(data))])


def test_random_payloads_inside_valid_srtp_harm_nobody() -> None:
    source = random.Random(11)
    with rig() as r:
        publisher = r.endpoint()
        track = r.plane.add_track()
        extensions = {n: Extension(n) for n in range(1, 6)}
        for number, format in enumerate(Format):
            r.bind(
                publisher,
                track,
                payload_type=96 + number,
                format=format,
                extensions=extensions,
            )
        viewer = r.endpoint()
        r.watch(viewer, track, extensions={Extension(n): n + 1 for n in range(1, 6)})
        r.turn()
        for n in range(3000):
            body = source.randbytes(source.randrange(60))
            head = rtp(n, n, b"", payload_type=96 + n % 6)
            first = 0x80 | (source.randrange(64) & 0x31)
            data = bytes([first]) + head[1:12] + _extension(source, first) + body
            try:
                publisher.publish(data)
            except ValueError:
                # libsrtp itself refuses impossible headers.
                continue
            r.turn()
        list(r.plane.control_packets())
        sent = r["packets_out"]
        assert sent > 100
        assert sent + r["malformed"] + r["late"] == r["packets_in"]
        assert all(parse(viewer.unprotect.unprotect(d)) for d in viewer.datagrams())


def _extension(source: random.Random, first: int) -> bytes:
    csrcs = bytes(4 * (first & 15))
    if not first & 0x10:
        return csrcs
    words = source.randrange(5)
    profile = source.choice((b"\xbe\xde", b"\x10\x00", b"\x10\x0f"))
    return csrcs + profile + bytes([0, words]) + source.randbytes(4 * words)


@pytest.mark.parametrize(
    ("listen", "host"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1")],
)
def test_ipv4_and_ipv6_peers_are_served(listen: str, host: str) -> None:
    with rig(host=listen) as r:
        publisher, viewer = r.endpoint(host), r.endpoint(host)
        track = r.plane.add_track()
        r.bind(publisher, track)
        r.watch(viewer, track)
        r.turn()
        for n in range(5):
            publisher.publish(rtp(n))
        publisher.send(b"\0\1stun")
        r.turn()
        assert len(viewer.packets(5)) == 5
        (packet,) = r.plane.control_packets()
        assert packet.path == publisher.path
        r.plane.send(b"reply", packet.path)
        assert publisher.datagrams(1) == [b"reply"]


@pytest.mark.parametrize("listen", ["0.0.0.0", "::"])
def test_all_that_is_sent_leaves_from_the_address_that_was_reached(
    listen: str,
) -> None:
    with rig(host=listen) as r:
        publisher = r.endpoint(server="127.0.0.2")
        viewer = r.endpoint(server="127.0.0.2")
        track = r.plane.add_track()
        r.bind(publisher, track)
        r.watch(viewer, track)
        r.turn()
        publisher.send(b"\0\1stun")
        for n in range(3):
            publisher.publish(rtp(n))
        r.turn()
        (packet,) = r.plane.control_packets()
        assert packet.path == publisher.path
        assert packet.path.local == "127.0.0.2"
        r.plane.send(b"reply", packet.path)
        assert publisher.sock.recvfrom(99) == (b"reply", publisher.server)
        for _ in range(3):
            data, source = viewer.sock.recvfrom(2000)
            assert source == viewer.server
            viewer.unprotect.unprotect(data)


def test_a_shared_socket_that_overflows_is_noticed() -> None:
    with rig() as r:
        r.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sender = udp()
        for _ in range(100):
            sender.sendto(bytes(1000), r.sock.getsockname())
        r.turn()
        sender.sendto(bytes(1000), r.sock.getsockname())
        r.turn()
        assert r["kernel_dropped"] + r["packets_in"] == 101
        assert r["kernel_dropped"] > 0
        sender.close()


def test_media_is_taken_from_known_addresses_only() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        elsewhere = udp()
        elsewhere.sendto(publisher.protect.protect(rtp(1)), publisher.server)
        r.turn()
        assert r["unknown_address"] == 1
        r.plane.remove_address(publisher.peer, publisher.path)
        r.turn()
        publisher.publish(rtp(2))
        r.turn()
        assert r["unknown_address"] == 2
        assert viewer.packets() == []
        elsewhere.close()


def test_key_frames_are_shown_to_control_once_a_frame_and_not_too_often() -> None:
    with rig() as r:
        publisher, track, (viewer,) = r.stream(format=Format.H264)
        publisher.publish(rtp(1, 100, b"\x09\x10"))
        publisher.publish(rtp(2, 100, b"\x67sps"))
        publisher.publish(rtp(3, 100, b"\x65idr"))
        publisher.publish(rtp(4, 200, b"\x67soon"))
        r.turn()
        (packet,) = r.plane.control_packets()
        assert (packet.kind, packet.peer) == (Control.KEY_FRAME, track)
        assert packet.path == Path("", 0, "")
        shown = parse(packet.data)
        assert shown.payload == b"\x67sps"
        assert shown.timestamp == viewer.packets(4)[1].timestamp
        assert r.plane.track_stats(track).key_frames == 2
        time.sleep(0.11)
        publisher.publish(rtp(5, 300, b"\x67later"))
        r.turn()
        assert [p.data[12:] for p in r.plane.control_packets()] == [b"\x67later"]


def test_the_first_key_frame_of_another_publisher_is_shown_at_once() -> None:
    with rig() as r:
        publisher, track, _ = r.stream(format=Format.VP8)
        publisher.publish(rtp(1, 100, b"\x10\x00"))
        r.turn()
        second = r.endpoint()
        r.bind(second, track, format=Format.H264)
        r.turn()
        second.publish(rtp(1, 100, b"\x67sps", ssrc=2))
        r.turn()
        shown = [parse(packet.data).payload for packet in r.plane.control_packets()]
        assert shown == [b"\x10\x00", b"\x67sps"]


def test_what_is_neither_stun_dtls_nor_srtp_is_counted() -> None:
    with rig() as r:
        peer = r.endpoint()
        r.turn()
        for first in (4, 19, 64, 127, 192, 255):
            peer.send(bytes([first]) + b"abc")
        r.turn()
        assert r["unknown_kind"] == 6
        assert list(r.plane.control_packets()) == []


def test_a_peer_with_many_ssrcs_is_stopped() -> None:
    with rig() as r:
        publisher, track, _ = r.stream()
        for n in range(300):
            publisher.publish(rtp(n, ssrc=1000 + n))
            r.turn()
            # Silence, for the next SSRC to be allowed to take over.
            r.plane._state.tracks[track].last_arrival -= 1_000_000_000
        assert r.plane.track_stats(track).packets == 256
        assert r["foreign_ssrc"] == 44


def rtx(
    sequence: int, original: int, payload: bytes = b"payload", **fields: Any
) -> bytes:
    """A retransmission (RFC 4588) of a packet of payload type 96."""
    fields = {"ssrc": 77, "payload_type": 97, **fields}
    return rtp(sequence, payload=original.to_bytes(2, "big") + payload, **fields)


def repeating(r: Rig, viewers: int = 1) -> tuple[Endpoint, TrackId, list[Endpoint]]:
    publisher, track, watchers = r.stream(viewers)
    r.plane.bind_rtx(publisher.peer, 97, 96)
    r.turn()
    return publisher, track, watchers


def test_a_retransmission_goes_to_viewers_in_the_place_of_the_original() -> None:
    with rig() as r:
        publisher, track, (viewer,) = repeating(r)
        for sequence in (65_534, 65_535, 2):
            publisher.publish(rtp(sequence, 1000 + sequence, b"%d" % sequence))
        r.turn()
        publisher.publish(rtx(9, 1, b"one", timestamp=5, marker=True, padding=3))
        publisher.publish(rtx(10, 0, b"zero", timestamp=4))
        r.turn()
        got = {p.sequence: p for p in viewer.packets(5)}
        assert sorted(got) == [1, 2, 3, 4, 5]
        assert got[3].payload == b"zero"
        assert got[4].payload == b"one\0\0\3"
        assert (got[4].marker, got[4].padding) == (True, True)
        assert (got[3].payload_type, got[3].ssrc) == (100, 1000)
        # Timestamps go on from the first packet as all others do.
        assert (got[4].timestamp - got[3].timestamp) == 1
        assert r["rtx_restored"] == 2
        found = r.plane.find_packets(track, [65_536 + n for n in range(65_536, 65_539)])
        assert len(found.arrivals) == 3


def test_what_is_there_or_has_no_place_is_not_sent_again() -> None:
    with rig() as r:
        publisher, _, (viewer,) = repeating(r)
        publisher.publish(rtx(1, 99))
        for sequence in (100, 101, 103):
            publisher.publish(rtp(sequence))
        r.turn()
        # There already, before the first, ahead, far away; then what is missing, twice.
        for sequence, original in enumerate((101, 99, 104, 40_000, 102, 102)):
            publisher.publish(rtx(10 + sequence, original))
        publisher.publish(rtp(104))
        r.turn()
        assert [p.sequence for p in viewer.packets()] == [1, 2, 4, 3, 5]
        assert (r["rtx_restored"], r["rtx_useless"]) == (1, 6)
        assert r["sequence_jumps"] == 0


def test_the_original_behind_its_retransmission_is_a_duplicate() -> None:
    with rig() as r:
        publisher, track, (viewer,) = repeating(r)
        late = protect(publisher.protect, rtp(2))
        publisher.publish(rtp(1))
        publisher.publish(rtp(3))
        publisher.publish(rtx(1, 2))
        publisher.send(late)
        r.turn()
        assert [p.sequence for p in viewer.packets()] == [1, 3, 2]
        assert r["duplicates"] == 1
        assert r.plane.track_stats(track).received == 3


def test_retransmissions_are_not_received_packets_of_the_original() -> None:
    with rig() as r:
        publisher, track, _ = repeating(r)
        for sequence in (1, 2, 5):
            publisher.publish(rtp(sequence))
        for sequence in (3, 4):
            publisher.publish(rtx(sequence, sequence))
        r.turn()
        stats = r.plane.track_stats(track)
        assert (stats.base_sequence, stats.highest_sequence) == (1, 5)
        assert (stats.received, stats.packets) == (3, 5)


def test_padding_alone_is_dropped_but_shows_that_the_peer_lives() -> None:
    with rig() as r:
        publisher, _, (viewer,) = repeating(r)
        r.plane.set_transport_cc(publisher.peer, 3)
        publisher.publish(rtp(1))
        r.turn()
        probe = rtp(
            1,
            payload=b"",
            padding=200,
            ssrc=77,
            payload_type=97,
            extension=(0xBEDE, bytes([0x31, 0, 9])),
        )
        publisher.publish(probe)
        publisher.publish(rtp(2, payload=b"", ssrc=77, payload_type=97))
        r.turn()
        assert len(viewer.packets()) == 1
        assert r["rtx_empty"] == 2
        assert r["malformed"] == 0
        assert r.plane.peer_stats(publisher.peer).packets_received == 3
        assert [n for n, _ in r.plane.arrivals(publisher.peer, 0).packets] == [9]


def test_a_plain_retransmission_is_forwarded_late_and_once() -> None:
    with rig() as r:
        publisher, _, (viewer,) = r.stream()
        lost = protect(publisher.protect, rtp(65_535))
        publisher.publish(rtp(65_534))
        for sequence in range(200):
            publisher.publish(rtp(sequence))
        r.turn()
        publisher.send(lost)
        publisher.send(lost)
        r.turn()
        numbers = [p.sequence for p in viewer.packets()]
        assert numbers == [1, *range(3, 203), 2]
        assert r["srtp_replayed"] == 1


def test_a_viewer_does_not_begin_with_a_late_packet() -> None:
    with rig() as r:
        publisher, track, _ = repeating(r, 0)
        publisher.publish(rtp(1))
        publisher.publish(rtp(4))
        r.turn()
        viewer = r.endpoint()
        r.watch(viewer, track)
        r.turn()
        publisher.publish(rtx(1, 2))
        r.turn()
        publisher.publish(rtp(3))
        publisher.publish(rtp(5))
        r.turn()
        assert [p.sequence for p in viewer.packets()] == [1]


def test_who_does_not_publish_cannot_repeat() -> None:
    with rig() as r:
        publisher, track, (viewer,) = repeating(r)
        publisher.publish(rtp(1))
        publisher.publish(rtp(3))
        r.turn()
        r.bind(r.endpoint(), track)
        r.turn()
        publisher.publish(rtx(1, 2))
        r.turn()
        assert len(viewer.packets()) == 2
        assert r["foreign_ssrc"] == 1


def test_a_peer_cannot_use_up_memory_by_ssrcs_of_retransmissions() -> None:
    with rig() as r:
        publisher, _, _ = repeating(r)
        publisher.publish(rtp(1))
        r.turn()
        for ssrc in range(1000, 1300):
            publisher.publish(rtx(1, 0, ssrc=ssrc))
            r.turn()
        assert r["rtx_useless"] == 255
        assert r["foreign_ssrc"] == 45


def test_only_what_is_bound_can_be_repeated() -> None:
    with rig() as r:
        publisher, _, _ = r.stream()
        for number, original in ((97, 95), (96, 96), (128, 96), (-1, 96)):
            with pytest.raises(ValueError, match="payload type"):
                r.plane.bind_rtx(publisher.peer, number, original)
        r.plane.bind_rtx(publisher.peer, 97, 96)
        r.turn()
        # A payload type that becomes media repeats nothing any more.
        r.bind(publisher, r.plane.add_track(), payload_type=97)
        r.turn()
        publisher.publish(rtp(5, payload_type=97, ssrc=3))
        r.turn()
        assert r["rtx_useless"] == 0
        assert r["foreign_ssrc"] == 0
