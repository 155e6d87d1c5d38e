"""Helpers for tests: servers, peers, links, media."""
