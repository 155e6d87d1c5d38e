"""The data plane: packets in, packets out, behind a seam of integers."""
