"""Live video by WHIP and WHEP, on one port."""

__version__ = "0.1.0"
