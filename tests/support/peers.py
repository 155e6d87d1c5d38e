"""What the WHIP and WHEP clients made of stock aiortc have in common."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.codecs import get_capabilities

from tests.support.loopback import loopback_only
from tests.support.signalling import Signalling

CONNECT_TIMEOUT = 20.0


class AiortcClient:
    """A peer connection of stock aiortc and its session.

    `async with` returns when connected; leaving deletes the session.
    """

    def __init__(self, url: str) -> None:
        self._settled = asyncio.Event()
        self.signalling = Signalling(url)
        # Not max-bundle: aiortc then takes the candidates of the last section alone,
        # while a bundle's are in its first.
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.on("connectionstatechange", self._state_changed)

    def _prepare(self) -> None:
        """Add transceivers; called before the offer is made."""

    def _state_changed(self) -> None:
        if self.connection.connectionState in ("connected", "failed", "closed"):
            self._settled.set()

    async def __aenter__(self) -> Self:
        try:
            self._prepare()
            offer = await self.connection.createOffer()
            with loopback_only():
                await self.connection.setLocalDescription(offer)
            answer = await self.signalling.post(self.connection.localDescription.sdp)
            await self.connection.setRemoteDescription(
                RTCSessionDescription(sdp=answer, type="answer")
            )
            # The server counts as published what is connected, not what was answered.
            await asyncio.wait_for(self._settled.wait(), CONNECT_TIMEOUT)
            if self.connection.connectionState != "connected":
                raise ConnectionError("ICE or DTLS failed")
        except BaseException:
            await self.connection.close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Closed first: a publisher's encoder otherwise goes on while the DELETE runs.
        location = self.signalling.location
        if location is not None and self.connection.connectionState != "closed":
            await self.signalling.delete()
        await self.connection.close()


def prefer(transceiver: RTCRtpTransceiver, name: str) -> None:
    """Offer only the codec of this name, and its RTX."""
    transceiver.setCodecPreferences(
        [
            codec
            for codec in get_capabilities(transceiver.kind).codecs
            if codec.name.lower() in (name.lower(), "rtx")
        ]
    )
