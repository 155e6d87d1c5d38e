"""End to end: real programs against a real server."""
