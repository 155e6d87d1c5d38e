"""What is logged when no connection can be accepted, for want of descriptors or memory.

asyncio tells of each attempt, a hundred times and more in a second, with a traceback each; and
where the server stops meanwhile, of each that it had put off.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import os
import time
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

#: Seconds between two lines.
INTERVAL = 10.0

#: For want of what asyncio puts off accepting.
_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

#: What asyncio calls when it is time to try again.
_PUT_OFF = "._start_serving("


class Starvation:
    """An exception handler of an event loop, which leaves all else to the usual one."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare.

        Args:
            clock: seconds, going forward only.
        """
        self._clock = clock
        self._told = -math.inf

    def __call__(
        self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
    ) -> None:
        """Take what the loop complains of."""
        error = context.get("exception")
        if self._told > -math.inf and _PUT_OFF in context.get("message", ""):
            # It was to listen again on a socket that is closed by now.
            return
        if (
            not isinstance(error, OSError)
            or error.errno not in _RESOURCES
            or "socket" not in context
        ):
            loop.default_exception_handler(context)
            return
        now = self._clock()
        if now - self._told >= INTERVAL:
            self._told = now
            reason = os.strerror(error.errno)
            logger.error("connections wait to be accepted: %s (see ulimit -n)", reason)
