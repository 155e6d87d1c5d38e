"""WebRTC peers: ICE, DTLS, negotiation, RTCP; the only part that imports aiortc and aioice."""
