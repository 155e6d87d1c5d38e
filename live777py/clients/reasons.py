"""Why another server gave no answer, in words for who asked for it."""

from __future__ import annotations

import os
import ssl

import aiohttp


def reason_of(error: Exception) -> str:
    """In words; without the URLs that aiohttp quotes, in whose queries are secrets."""
    if isinstance(error, aiohttp.ClientResponseError):
        return "what it answered is not HTTP"
    if isinstance(error, aiohttp.InvalidURL):
        return "the URL, or the one that it redirects to, cannot be used"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        found = getattr(error.certificate_error, "verify_message", "")
        return f"its certificate is not valid here{f': {found}' if found else ''}"
    # Before errors of the system: TLS has numbers of its own, which mean something else there.
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "it does not speak TLS, or in no way that we do"
    if isinstance(error, OSError) and error.errno:
        # Those of the resolver are negative, and none of the system's.
        known = os.strerror(error.errno) if error.errno > 0 else error.strerror
        return known or "the host name cannot be resolved"
    return " ".join(str(error).split()) or type(error).__name__
