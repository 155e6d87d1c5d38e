"""Measurements of the whole server, as a process, on loopback."""
