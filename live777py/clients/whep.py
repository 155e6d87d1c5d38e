"""Watching another server's stream by WHEP (draft-ietf-wish-whep)."""

from __future__ import annotations

from live777py.clients.sdp_session import SdpClient


class WhepClient(SdpClient):
    """Posts offers to WHEP endpoints, which may want to offer themselves."""

    protocol = "WHEP"
