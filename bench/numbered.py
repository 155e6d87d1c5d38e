"""A stream whose pictures show their own number, so that one can be told from the next.

The number stands in the upper left corner as cells of black and white, and below it once more
with the colours swapped: what a decoder made up does not pass for a number.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np

from bench.stream import KEY_INTERVAL, RATE
from live777py.protocol.codecs import Format
from tests.support import media

WIDTH, HEIGHT = 1280, 720
BIT_RATE = 2_500_000

#: How long and how wide a cell is, as a share of the picture's width.
CELL = Fraction(1, 20)
BITS = 8
#: Pictures with numbers of their own: 8 s, so that a viewer's delay is never ambiguous.
PICTURES = 4 * KEY_INTERVAL

_BLACK, _WHITE, _GREY = 16, 235, 128
#: Standard deviation of the noise that keeps the encoder at its bit rate.
_NOISE = 6


@functools.cache
def pictures() -> Sequence[bytes]:
    """The period of access units, a key frame first; blocks for a second or two."""
    encoded = media.encode(
        Format.H264,
        draw=_draw,
        width=WIDTH,
        height=HEIGHT,
        frames=PICTURES,
        rate=RATE,
        key_interval=KEY_INTERVAL,
        bit_rate=BIT_RATE,
        options={
            "preset": "ultrafast",
            "profile": "high",
            "x264-params": f"keyint={KEY_INTERVAL}:min-keyint={KEY_INTERVAL}"
            ":scenecut=0:vbv-maxrate=2500:vbv-bufsize=1250",
        },
    )
    return [picture.data for picture in encoded]


def distance(earlier: int, later: int) -> int:
    """By how many pictures one is behind the other; negative where it is ahead."""
    half = PICTURES // 2
    return (earlier - later + half) % PICTURES - half


def stamp(luma: np.ndarray[Any, np.dtype[np.uint8]], number: int, bits: int) -> None:
    """Write a number into a picture, its least bit first."""
    size = int(CELL * luma.shape[1])
    for bit in range(bits):
        columns = slice(bit * size, (bit + 1) * size)
        is_set = number >> bit & 1
        luma[:size, columns] = _WHITE if is_set else _BLACK
        luma[size : 2 * size, columns] = _BLACK if is_set else _WHITE


@functools.cache
def _noise() -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    generator = np.random.default_rng(PICTURES)
    return [
        generator.normal(_GREY, _NOISE, (HEIGHT, WIDTH)).clip(0, 255).astype(np.uint8)
        for _ in range(4)
    ]


def _draw(width: int, height: int, index: int) -> av.VideoFrame:
    noise = _noise()
    luma = np.roll(noise[index % len(noise)], 5 * index, axis=1)
    stamp(luma, index, BITS)
    chroma = np.full((height // 2, width), _GREY, np.uint8)
    return av.VideoFrame.from_ndarray(
        np.ascontiguousarray(np.concatenate([luma, chroma])), format="yuv420p"
    )
