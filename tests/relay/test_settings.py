from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from live777py.relay.settings import PlaneSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("history", 1000),
        ("history", 32),
        ("command_rows", 0),
        ("control_rows", 3),
        ("parked_packets", -2),
        ("max_peers", 0),
        ("max_viewers", 0),
        ("max_tracks", 0),
        ("max_sources", 0),
        ("max_taps", 0),
        ("source_packets", 100),
        ("tap_packets", 0),
        ("output_packets", 63),
        ("output_packets", 1025),
        ("threads", -1),
        ("threads", 65),
        ("catch_up_age", -1),
        ("catch_up_age", 3601),
        ("coalesce", -1),
        ("coalesce", 1),
        ("echo_delay", -0.1),
        ("echo_delay", 1),
    ],
)
def test_impossible_bounds_are_refused(name: str, value: int) -> None:
    changes: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        dataclasses.replace(PlaneSettings(), **changes)
