"""A WHIP client made of stock aiortc: encodes VP8 or H.264 (baseline) and Opus."""

from __future__ import annotations

import fractions

import av
import numpy as np
from aiortc import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack

from tests.support.peers import AiortcClient, prefer

WIDTH, HEIGHT = 320, 240


class ColourTrack(VideoStreamTrack):
    """Pictures of one colour (red, green, blue) that can be changed at any time."""

    def __init__(self, colour: tuple[int, int, int]) -> None:
        super().__init__()
        self.colour = colour

    async def recv(self) -> av.VideoFrame:
        """The next picture, when it is time for it."""
        pts, time_base = await self.next_timestamp()
        image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        image[:] = self.colour
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class ToneTrack(AudioStreamTrack):
    """A tone of 440 Hz."""

    async def recv(self) -> av.AudioFrame:
        """The next 20 ms, when it is time for them."""
        silence = await super().recv()
        assert isinstance(silence, av.AudioFrame)
        assert silence.pts is not None
        times = (silence.pts + np.arange(silence.samples)) / silence.sample_rate
        tone = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(tone[None, :], format="s16", layout="mono")
        frame.sample_rate = silence.sample_rate
        frame.pts = silence.pts
        frame.time_base = fractions.Fraction(1, silence.sample_rate)
        return frame


class WhipClient(AiortcClient):
    """Publishes tracks, by default a colour as VP8 and a tone as Opus."""

    def __init__(
        self,
        url: str,
        *tracks: MediaStreamTrack,
        codec: str = "VP8",
    ) -> None:
        super().__init__(url)
        self.tracks = tracks or (ColourTrack((200, 40, 40)), ToneTrack())
        self._codec = codec

    def _prepare(self) -> None:
        for track in self.tracks:
            transceiver = self.connection.addTransceiver(track, direction="sendonly")
            # What is first in an answer is sent, and some servers begin with G.711.
            prefer(transceiver, self._codec if track.kind == "video" else "opus")
