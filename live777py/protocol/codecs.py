"""Codecs as values: what a track carries and what a peer can send or play."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal

Kind = Literal["audio", "video"]

#: The kinds of media that a stream has, at most one track of each.
KINDS: tuple[Kind, ...] = ("audio", "video")


class Format(enum.IntEnum):
    """The payload formats whose key frames the relay recognises; all else is `OPAQUE`."""

    OPAQUE = 0
    H264 = 1
    H265 = 2
    VP8 = 3
    VP9 = 4
    AV1 = 5


@dataclass(frozen=True, slots=True)
class Codec:
    """One codec as `a=rtpmap` and `a=fmtp` describe it (RFC 8866 sections 6.6 and 6.15).

    Attributes:
        kind: "audio" or "video".
        name: the encoding name in the spelling of its registration, such as "H264" or "opus".
        clock_rate: RTP timestamp units per second.
        channels: audio channels; 1 for video and where the rtpmap says nothing.
        parameters: the format parameters in the order of the fmtp line, names in lower case.
    """

    kind: Kind
    name: str
    clock_rate: int
    channels: int = 1
    parameters: tuple[tuple[str, str], ...] = ()

    def parameter(self, name: str) -> str | None:
        """The value of one format parameter, or None where the fmtp line lacks it."""
        for key, value in self.parameters:
            if key == name:
                return value
        return None

    @property
    def fmtp(self) -> str:
        """The parameters as an fmtp line carries them; empty when there are none."""
        return ";".join(f"{k}={v}" if v else k for k, v in self.parameters)

    @property
    def format(self) -> Format:
        """How the relay looks for key frames in this codec's payload."""
        return Format.__members__.get(self.name.upper(), Format.OPAQUE)

    def __str__(self) -> str:
        text = f"{self.name}/{self.clock_rate}"
        if self.channels > 1:
            text += f"/{self.channels}"
        return f"{text} ({self.fmtp})" if self.parameters else text
