"""Outbound HTTP: what this program asks of other servers."""
