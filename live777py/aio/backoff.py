"""How long to wait before something that failed is tried again. It owns no timer."""

from __future__ import annotations

import random


class Backoff:
    """Doubles from `least` to `most` seconds, each a little shorter or longer than that.

    Those who lost the same server would otherwise all come back to it in one moment.
    """

    def __init__(
        self, least: float = 1.0, most: float = 60.0, jitter: float = 0.25
    ) -> None:
        """Begin with the shortest.

        Args:
            least, most: seconds, between which every delay is.
            jitter: the part by which a delay may differ from its usual length.
        """
        self._least = least
        self._most = most
        self._jitter = jitter
        self._usual = least

    def next(self) -> float:
        """Seconds to wait now; the next time it is twice as long."""
        usual = self._usual
        self._usual = min(self._most, 2 * usual)
        # At both ends the range is cut, and not the delay, or half of all would be the same.
        shortest = max(self._least, usual * (1 - self._jitter))
        longest = min(self._most, usual * (1 + self._jitter))
        # Not for secrets: it only has to differ from others.
        return random.uniform(shortest, longest)  # noqa: S311

    def reset(self) -> None:
        """It has worked: begin with the shortest again."""
        self._usual = self._least
