"""HTTP dialects: thin adapters over core."""
