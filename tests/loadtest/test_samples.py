from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.loadtest.samples import Histogram, percentile


def test_nothing_has_no_percentile() -> None:
    assert Histogram().percentile(0.5) is None
    assert percentile([], 0.5) is None


def test_percentiles_are_the_nearest_rank() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 0.50) == 50
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1.0) == 100
    assert percentile([7.0], 0.0) == 7


@given(st.lists(st.floats(0, 9), min_size=1, max_size=50), st.floats(0, 1))
def test_a_histogram_is_right_to_the_width_of_a_bin(
    values: list[float], share: float
) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    assert histogram.percentile(share) == pytest.approx(
        percentile(values, share), abs=2.1e-5
    )


def test_what_is_out_of_range_is_counted_at_its_ends() -> None:
    histogram = Histogram()
    histogram.add(-1.0)
    assert histogram.percentile(1.0) == 0
    histogram.add(60.0)
    assert histogram.percentile(1.0) == pytest.approx(10.0)
    assert histogram.highest == 60
