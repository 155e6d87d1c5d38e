"""Distributions of measured times, in bounded memory."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import numpy as np

#: Width of a bin and how many: times up to ten seconds, told to 20 µs.
_BIN = 20e-6
_BINS = 500_000


class Histogram:
    """Counts times in equal bins; what is longer than ten seconds counts as that."""

    def __init__(self) -> None:
        self._bins = array("I", bytes(4 * _BINS))
        self.count = 0
        self.highest = 0.0

    def add(self, seconds: float) -> None:
        """Count one time; a negative one, which clocks may give, as zero."""
        self._bins[min(max(int(seconds / _BIN), 0), _BINS - 1)] += 1
        self.count += 1
        if seconds > self.highest:
            self.highest = seconds

    def percentile(self, share: float) -> float | None:
        """The time that this share (0 to 1) does not exceed; None without any."""
        if not self.count:
            return None
        wanted = max(1, math.ceil(share * self.count))
        index = int(np.searchsorted(np.cumsum(self._bins, dtype=np.int64), wanted))
        return min((index + 1) * _BIN, self.highest)


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that this share (0 to 1) of some does not exceed (nearest rank)."""
    if not values:
        return None
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]
