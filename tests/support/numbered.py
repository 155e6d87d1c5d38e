"""Pictures that show their own number, to be read from what a viewer paints or decodes."""

from __future__ import annotations

import av
import numpy as np

from bench.numbered import CELL, stamp

#: Cells of a number: sixteen of the twenty that a picture is wide.
BITS = 16

#: What a page's `numberOf` has to know.
STRIP = {"cell": float(CELL), "bits": BITS}


def picture(width: int, height: int, number: int) -> av.VideoFrame:
    """A moving gradient with its number in the upper left corner."""
    rows = np.arange(height, dtype=np.uint16)[:, None]
    columns = np.arange(width, dtype=np.uint16)[None, :]
    luma = (64 + (rows + columns + 4 * number % 128) % 128).astype(np.uint8)
    stamp(luma, number, BITS)
    chroma = np.full((height // 2, width), 128, np.uint8)
    return av.VideoFrame.from_ndarray(np.concatenate([luma, chroma]), format="yuv420p")


def number_of(frame: av.VideoFrame) -> int | None:
    """The number that a decoded picture shows; None where it is unreadable."""
    luma = frame.reformat(format="gray").to_ndarray()
    size = int(CELL * luma.shape[1])
    number = 0
    for bit in range(BITS):
        middle = slice(bit * size + size // 4, bit * size + 3 * size // 4)
        upper = luma[size // 4 : 3 * size // 4, middle].mean()
        lower = luma[size + size // 4 : size + 3 * size // 4, middle].mean()
        if abs(upper - lower) < 64:
            return None
        number |= int(upper > lower) << bit
    return number
