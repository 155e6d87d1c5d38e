"""Runs a clean-up to its end, also when the task that asked for it is cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger = logging.getLogger(__name__)


async def finish(
    func: Callable[[*Ts], Coroutine[Any, Any, T]],
    *args: *Ts,
    grace: float | None = None,
) -> T:
    """Run `func(*args)` to its end, then let a cancellation that came meanwhile go on.

    For clean-ups of libraries that a cancellation in the middle leaves half closed. Without
    `grace` the wait has no bound: a clean-up that may hang needs a time-out of its own, inside.

    Args:
        func: the clean-up, a coroutine function.
        *args: its arguments.
        grace: the seconds that it has left when the caller is cancelled; then it is, too.

    Returns:
        What `func` returned, unless the caller was cancelled.

    Raises:
        asyncio.CancelledError: the caller was cancelled. A failure of `func` is then
            logged, since it cannot be raised too.
    """
    task = asyncio.create_task(func(*args))
    cancelled: asyncio.CancelledError | None = None
    timer: asyncio.TimerHandle | None = None
    while not task.done():
        try:
            # wait() leaves the task alone when it is itself cancelled.
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            if cancelled is None and grace is not None:
                timer = asyncio.get_running_loop().call_later(grace, task.cancel)
            cancelled = error
    if timer is not None:
        timer.cancel()
    if cancelled is None:
        return task.result()
    if not task.cancelled() and (failure := task.exception()) is not None:
        logger.error("clean-up failed while being cancelled", exc_info=failure)
    raise cancelled
