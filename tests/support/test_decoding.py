"""What was taken apart for RTP comes together again."""

from __future__ import annotations

import itertools

import av
import pytest

from live777py.protocol import rtp
from live777py.protocol.codecs import Format
from tests.support import media
from tests.support.decoding import (
    _DECODERS,
    Assembler,
    _vp8_descriptor,
    _vp9_descriptor,
)


@pytest.mark.parametrize("format", list(_DECODERS))
def test_every_format_is_decoded(format: Format) -> None:
    stream = media.RtpStream(96, 1, format)
    times = itertools.count(0, 3000)
    assembler = Assembler(format)
    decoder = av.CodecContext.create(_DECODERS[format], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    pictures = media.encode(format, frames=5, bit_rate=2_000_000)
    decoded = 0
    for picture in pictures:
        whole = [
            data
            for packet in stream.packets(picture.data, next(times))
            if (data := assembler.take(rtp.parse(packet))) is not None
        ]
        assert len(whole) == 1
        decoded += len(decoder.decode(av.Packet(whole[0])))
    decoded += len(decoder.decode(None))
    assert decoded == len(pictures)


@pytest.mark.parametrize(
    ("descriptor", "length"),
    [
        ("10", 1),
        ("90802abb", 3),
        ("90808abbcc", 4),
        ("90e012aabb", 5),
        ("90f0920102aa", 6),
    ],
)
def test_descriptors_of_vp8_may_be_long(descriptor: str, length: int) -> None:
    assert _vp8_descriptor(bytes.fromhex(descriptor) + bytes(9)) == length


@pytest.mark.parametrize(
    ("descriptor", "length"),
    [
        ("08", 1),
        ("887f", 2),
        ("88ffff", 3),
        # Layers without and with the flexible mode, which has references besides.
        ("a87f0000", 4),
        ("f8ffff000302", 6),
        # A scalability structure with the size of one layer, and two pictures of a group.
        ("8aff0018014000f002040200", 12),
    ],
)
def test_descriptors_of_vp9_may_be_long(descriptor: str, length: int) -> None:
    assert _vp9_descriptor(bytes.fromhex(descriptor) + bytes(9)) == length
