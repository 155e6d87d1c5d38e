"""Publishing to another server by WHIP (RFC 9725)."""

from __future__ import annotations

from live777py.clients.sdp_session import SdpClient


class WhipClient(SdpClient):
    """Posts offers to WHIP endpoints."""

    protocol = "WHIP"
