"""Watching another server's stream by WHEP (draft-ietf-wish-whep)."""

from __future__ import annotations

from live777py.clients.sdp_session import SdpClient


class WhepClient(SdpClient):
    """Posts offers to WHEP endpoints; a server that wants to offer itself is refused."""

    protocol = "WHEP"
