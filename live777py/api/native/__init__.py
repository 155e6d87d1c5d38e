"""live777's own HTTP API, WHIP and WHEP."""
