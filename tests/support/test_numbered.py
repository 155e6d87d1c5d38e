"""Numbered pictures can be read, and others not."""

from __future__ import annotations

import av
import numpy as np
import pytest

from tests.support.numbered import number_of, picture
from tests.support.numbered_publisher import EPOCH, HEIGHT, WIDTH


@pytest.mark.parametrize("number", [0, 1, EPOCH, 0x5A5A, 0xFFFF])
def test_a_picture_shows_its_number(number: int) -> None:
    assert number_of(picture(WIDTH, HEIGHT, number)) == number


def test_a_picture_without_a_number_has_none() -> None:
    grey = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    assert number_of(av.VideoFrame.from_ndarray(grey, format="yuv420p")) is None
