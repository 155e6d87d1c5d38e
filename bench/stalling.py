"""Our server with an event loop that stands still for 300 ms of every second.

`python -m bench.stalling ARGUMENTS`: the arguments are those of `live777py`. The GIL is held
meanwhile, as by a computation in Python, but no CPU is used: the server has one core here.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys

from live777py import cli

PERIOD = 1.0
STALL_US = 300_000

#: PyDLL: the GIL is not given back while it sleeps.
_usleep = ctypes.PyDLL(None).usleep


class _StallingPolicy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        loop = super().new_event_loop()

        def stall() -> None:
            _usleep(STALL_US)
            loop.call_later(PERIOD - STALL_US / 1e6, stall)

        loop.call_later(PERIOD, stall)
        return loop


if __name__ == "__main__":
    asyncio.set_event_loop_policy(_StallingPolicy())
    sys.exit(cli.main())
