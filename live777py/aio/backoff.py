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
        # Not for secrets: it only has to differ from others.
        part = random.uniform(-self._jitter, self._jitter)  # noqa: S311
        return min(self._most, max(self._least, usual * (1 + part)))

    def reset(self) -> None:
        """It has worked: begin with the shortest again."""
        self._usual = self._least
