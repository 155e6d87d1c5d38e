"""Owns tasks that do not share their fate: sessions, sources, sinks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, TypeVarTuple

from live777py.aio.finish import finish
from live777py.errors import ShuttingDown

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

logger = logging.getLogger(__name__)


class TaskScope:
    """A block that owns tasks: none outlives it, and none harms another.

    A task that fails is logged and its siblings carry on (in `asyncio.TaskGroup` they
    would be cancelled). Leaving the block cancels what still runs and waits for its end,
    whatever made us leave. A task must let a cancellation through.

    Use it as `async with TaskScope() as scope`, once; `spawn` and `start` are called inside
    the block, also by the scope's own tasks. Outside it they raise `ShuttingDown`.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Before the first await, so that no task is added behind our back.
        self._open = False
        for task in self._tasks:
            task.cancel()
        # The group is not told of the body's exception: it would wrap it in a group.
        await self._group.__aexit__(None, None, None)

    def spawn(
        self,
        func: Callable[[*Ts], Coroutine[Any, Any, object]],
        *args: *Ts,
    ) -> None:
        """Start a task that belongs to the scope from the beginning.

        Raises:
            ShuttingDown: the scope is not open.
        """
        _ = self._create(func, self._run(func, *args))

    async def start(
        self,
        func: Callable[[Callable[[T], None], *Ts], Coroutine[Any, Any, object]],
        *args: *Ts,
    ) -> T:
        """Start a task and wait until it calls `started(value)`, its first argument.

        Until this method returns, the task belongs to the caller: an error of the task is
        raised here, and cancelling the caller cancels the task and waits for its end.
        Afterwards it belongs to the scope. So either the caller has the value and the task
        lives on, or nothing is left behind.

        Returns:
            What the task passed to `started`.

        Raises:
            ShuttingDown: the scope is not open, or it closed before the task had started.
            RuntimeError: the task ended without having called `started`.
        """
        handover = _Handover[T]()
        task = self._create(func, self._run_until_started(handover, func, *args))
        # A task that is cancelled before its first step never runs a line of its own:
        # only a callback can end the wait of its caller.
        task.add_done_callback(handover.abandon)
        try:
            return await handover.value
        except asyncio.CancelledError:
            handover.abandon(task)
            task.cancel()
            await finish(asyncio.wait, [task])
            raise

    def _create(
        self, func: Callable[..., object], coroutine: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        if not self._open:
            coroutine.close()
            raise ShuttingDown
        task = self._group.create_task(coroutine, name=_name(func))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(
        self,
        func: Callable[[*Ts], Coroutine[Any, Any, object]],
        *args: *Ts,
    ) -> None:
        try:
            await func(*args)
        except Exception:
            logger.exception("%s failed", _name(func))

    async def _run_until_started(
        self,
        handover: _Handover[T],
        func: Callable[[Callable[[T], None], *Ts], Coroutine[Any, Any, object]],
        *args: *Ts,
    ) -> None:
        try:
            await func(handover.started, *args)
        except Exception as error:
            if not handover.fail(error):
                logger.exception("%s failed", _name(func))
        else:
            handover.fail(RuntimeError(f"{_name(func)} ended without having started"))


class _Handover(Generic[T]):
    """The moment at which a task passes from its caller to the scope."""

    def __init__(self) -> None:
        self.value: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def started(self, value: T) -> None:
        """What the task calls; of no effect when the caller waits no longer.

        Raises:
            RuntimeError: it was called before.
        """
        if self.value.cancelled():
            return
        if self.value.done():
            raise RuntimeError("started() may be called once only")
        self.value.set_result(value)

    def fail(self, error: Exception) -> bool:
        """Raise `error` in the caller; false if nobody waits there any more."""
        if self.value.done():
            return False
        self.value.set_exception(error)
        return True

    def abandon(self, _task: object = None) -> None:
        """End the wait of a caller whose task was cancelled."""
        self.fail(ShuttingDown())
        # A caller that is cancelled at this moment never looks at the error.
        if not self.value.cancelled():
            self.value.exception()


def _name(func: Callable[..., object]) -> str:
    return getattr(func, "__qualname__", repr(func))
