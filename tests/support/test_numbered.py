"""Numbered pictures can be read, and configurations of node processes are TOML."""

from __future__ import annotations

import av
import numpy as np
import pytest
import tomli

from tests.support.node_process import toml
from tests.support.numbered import number_of, picture
from tests.support.numbered_publisher import EPOCH, HEIGHT, WIDTH


@pytest.mark.parametrize("number", [0, 1, EPOCH, 0x5A5A, 0xFFFF])
def test_a_picture_shows_its_number(number: int) -> None:
    assert number_of(picture(WIDTH, HEIGHT, number)) == number


def test_a_picture_without_a_number_has_none() -> None:
    grey = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    assert number_of(av.VideoFrame.from_ndarray(grey, format="yuv420p")) is None


def test_sections_are_written_as_toml() -> None:
    section = {
        "listen": "[::]:7777",
        "on": True,
        "after": 1.5,
        "sources": [{"url": "http://a/whep/é", "token": 'a"b'}, "http://b"],
    }
    assert tomli.loads(f"http = {toml(section)}\n") == {"http": section}
