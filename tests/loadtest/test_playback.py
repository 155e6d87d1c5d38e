from __future__ import annotations

import itertools
import random

import pytest

from live777py.loadtest.playback import Prepared, PreparedTrack, SentTrack
from live777py.media.clip import Clip, ClipTrack, Sample
from live777py.protocol import rtp
from live777py.protocol.codecs import Codec, Format
from tests.support import media
from tests.support.offers import OPUS, VP8, h264

PICTURES = media.encode(Format.H264, frames=6, key_interval=3, width=640, height=480)
VIDEO = ClipTrack(
    h264("42c01f"),
    tuple(Sample(p.data, n / 30, p.is_key) for n, p in enumerate(PICTURES)),
)
AUDIO = ClipTrack(OPUS, tuple(Sample(bytes([n]) * 80, n / 50, True) for n in range(10)))
CLIP = Clip("clip", (VIDEO, AUDIO), 0.2)


def new_track(track: ClipTrack = VIDEO, stream: int = 1) -> SentTrack:
    sent = SentTrack(
        PreparedTrack.of(track, CLIP.duration),
        stream=stream,
        ssrc=1111,
        rtx_ssrc=2222,
        generator=random.Random(1),
    )
    sent.payload_type = 96
    return sent


def is_key(packets: list[bytes]) -> bool:
    units = media.h264_access_units([rtp.parse(p) for p in packets])[0]
    return any(unit[0] & 0x1F == 5 for unit in units)


def test_a_clip_is_prepared_once_for_all_streams() -> None:
    prepared = Prepared.of(CLIP)
    assert [track.codec for track in prepared.tracks] == [VIDEO.codec, OPUS]
    assert prepared.bit_rate == CLIP.bit_rate


def test_pictures_come_out_as_they_went_in_with_a_mark() -> None:
    sent = new_track()
    for picture in PICTURES:
        _, packets = sent.next_sample()
        parsed = [rtp.parse(packet) for packet in packets]
        assert [p.marker for p in parsed] == [False] * (len(parsed) - 1) + [True]
        units = media.h264_access_units(parsed)[0]
        marks = [unit for unit in units if unit[0] & 0x1F == 6]
        assert any(b"live777py loadte" in mark for mark in marks)
        assert [u for u in units if u[0] & 0x1F != 6] == [
            u for u in media.annex_b_units(picture.data) if u[0] & 0x1F != 6
        ]


def test_numbers_and_times_go_on_over_the_end_of_the_clip() -> None:
    sent = new_track()
    frames = [sent.next_sample() for _ in range(20)]
    packets = [rtp.parse(packet) for _, packets in frames for packet in packets]
    first = packets[0].sequence
    assert 0 < first < 2**15
    assert [p.sequence for p in packets] == [first + n for n in range(len(packets))]
    times = [frame.timestamp for frame, _ in frames]
    steps = {rtp.timestamp_delta(b, a) for a, b in itertools.pairwise(times)}
    assert steps == {3000}
    assert sent.due == pytest.approx(20 / 30)
    assert sent.packets == len(packets)


def test_every_picture_is_known_again_by_its_first_payload() -> None:
    one, other = new_track(stream=1), new_track(stream=2)
    seen = []
    for _ in range(20):
        frame, packets = one.next_sample()
        other.next_sample()
        payload = rtp.payload_of(packets[0])
        assert one.frame_of(payload) is frame
        assert one.frame(frame.timestamp) is frame
        assert frame.sequence % 65536 == rtp.parse(packets[0]).sequence
        assert other.frame_of(payload) is None
        assert all(one.is_known(rtp.payload_of(packet)) for packet in packets)
        assert not one.is_known(payload + b"x")
        seen.append(payload)
    assert len(set(seen)) == 20


def test_what_was_sent_long_ago_is_forgotten() -> None:
    sent = new_track(AUDIO)
    first, _ = sent.next_sample()
    for _ in range(1500):
        sent.next_sample()
    assert sent.frame(first.timestamp) is None


def test_a_key_frame_that_is_asked_for_comes_next() -> None:
    sent = new_track()
    assert is_key(sent.next_sample()[1])
    assert not is_key(sent.next_sample()[1])
    sent.want_key_frame()
    assert is_key(sent.next_sample()[1])
    assert not is_key(sent.next_sample()[1])


def test_a_packet_is_sent_again_as_it_was_or_by_rtx() -> None:
    sent = new_track()
    _, packets = sent.next_sample()
    original = rtp.parse(packets[0])
    assert sent.retransmission(original.sequence) == packets[0]
    assert sent.retransmission(original.sequence - 1) is None
    sent.rtx_payload_type = 97
    numbers = []
    for _ in range(2):
        again = sent.retransmission(original.sequence)
        assert again is not None
        packet = rtp.parse(again)
        assert (packet.payload_type, packet.ssrc) == (97, 2222)
        assert packet.timestamp == original.timestamp
        assert packet.payload == original.sequence.to_bytes(2) + original.payload
        numbers.append(packet.sequence)
    assert numbers[1] == numbers[0] + 1


@pytest.mark.parametrize("codec", [VP8, OPUS])
def test_other_codecs_are_sent_without_a_mark(codec: Codec) -> None:
    track = ClipTrack(codec, (Sample(b"\x10" * 300, 0.0, True),))
    sent = new_track(track)
    _, packets = sent.next_sample()
    (packet,) = map(rtp.parse, packets)
    assert packet.payload.endswith(b"\x10" * 300)
    assert packet.marker == (codec.kind == "video")
