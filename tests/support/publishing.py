"""A publisher that sends by itself for the time of a block."""

from __future__ import annotations

import abc
import asyncio
import contextlib
from types import TracebackType
from typing import Self

from tests.support.offers import OfferedMedia
from tests.support.rtp_client import RtpClient


class Publishing(abc.ABC):
    """`async with` it: connects, runs `_run` in the background, and leaves when left."""

    def __init__(self, url: str, *media: OfferedMedia, token: str | None) -> None:
        """Prepare.

        Args:
            url: of a WHIP endpoint.
            media: what is offered.
            token: for the endpoint.
        """
        self._client = RtpClient.publisher(url, *media)
        self._client.signalling.token = token
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        # A server that was killed cannot be told.
        with contextlib.suppress(OSError, TimeoutError):
            await self._client.aclose()
        await self._client.vanish()

    @abc.abstractmethod
    async def _run(self) -> None:
        """Send by `self._client` until cancelled."""
