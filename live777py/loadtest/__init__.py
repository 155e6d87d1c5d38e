"""`live777py loadtest`: publishes to and watches any WHIP/WHEP server, and measures."""
