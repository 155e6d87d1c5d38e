"""Those who want to be told whether a stream is there, and do not want to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from live777py.errors import LiveError

#: Seconds for which one of them waits for an answer at most.
PATIENCE = 10.0

#: Why the stream is not there, or None where it is.
Verdict = asyncio.Future[LiveError | None]


class Seekers:
    """Those of one pull."""

    def __init__(self) -> None:
        self._verdicts: list[Verdict] = []

    def __bool__(self) -> bool:
        """Whether there are any, those among them who have their answer and use it just now."""
        return bool(self._verdicts)

    @contextmanager
    def added(self) -> Iterator[Verdict]:
        """One more for the time of a block."""
        verdict: Verdict = asyncio.get_running_loop().create_future()
        self._verdicts.append(verdict)
        try:
            yield verdict
        finally:
            self._verdicts.remove(verdict)

    def tell(self, answer: LiveError | None) -> None:
        """Answer all who have no answer yet."""
        for verdict in self._verdicts:
            if not verdict.done():
                verdict.set_result(answer)


async def settled(verdict: Verdict, otherwise: Callable[[], LiveError]) -> None:
    """Wait for an answer; returns when the stream is there.

    Args:
        verdict: that is awaited.
        otherwise: makes the answer when there is none in time.

    Raises:
        LiveError: why the stream is not there.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            failure = await verdict
    except TimeoutError:
        failure = otherwise()
    if failure is not None:
        # Others are told the same.
        raise failure.with_traceback(None)
