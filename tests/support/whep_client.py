"""A WHEP client made of stock aiortc: decodes what it receives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType

import av
import numpy as np
from aiortc import MediaStreamError, MediaStreamTrack

from tests.support.peers import AiortcClient


class WhepClient(AiortcClient):
    """Watches a stream and decodes it.

    Attributes:
        frames: decoded so far, by kind.
        picture: the latest decoded picture.
    """

    def __init__(self, url: str, *, kinds: Sequence[str] = ("video", "audio")) -> None:
        super().__init__(url)
        self.frames = {"video": 0, "audio": 0}
        self.picture: av.VideoFrame | None = None
        self.loudness = 0.0
        self._kinds = kinds
        self._changed = asyncio.Event()
        self._readers: list[asyncio.Task[None]] = []
        self.connection.on("track", self._on_track)

    def _prepare(self) -> None:
        for kind in self._kinds:
            self.connection.addTransceiver(kind, direction="recvonly")

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(exc_type, exc, traceback)
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._readers.append(asyncio.create_task(self._read(track)))

    async def _read(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            self.frames[track.kind] += 1
            if isinstance(frame, av.VideoFrame):
                self.picture = frame
            elif isinstance(frame, av.AudioFrame):
                self.loudness = float(np.abs(frame.to_ndarray()).mean())
            self._changed.set()

    def colour(self) -> tuple[int, int, int] | None:
        """The mean colour of the latest picture (red, green, blue)."""
        if self.picture is None:
            return None
        red, green, blue = self.picture.to_ndarray(format="rgb24").mean(axis=(0, 1))
        return round(red), round(green), round(blue)

    def shows(self, colour: tuple[int, int, int]) -> bool:
        """Whether the latest picture has this colour, but for the encoder's error."""
        seen = self.colour()
        return seen is not None and all(
            abs(a - b) <= 25 for a, b in zip(seen, colour, strict=True)
        )

    async def until(
        self, condition: Callable[[], object], timeout: float = 20.0
    ) -> None:
        """Wait until `condition()` is true; it is looked at after every frame.

        Raises:
            TimeoutError: it did not become true.
        """
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                await self._changed.wait()
