from __future__ import annotations

import pytest

from live777py.protocol.headers import read_seen


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("2.5", 2.5), *((x, None) for x in ("", "x", "-1", "1e9", "nan"))],
)
def test_what_makes_no_sense_is_passed_over(text: str, seconds: float | None) -> None:
    assert read_seen(text) == seconds
