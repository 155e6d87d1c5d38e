from __future__ import annotations

import errno
import ssl

import aiohttp
import pytest

from live777py.clients.reasons import reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ECONNREFUSED, "connect to 10.0.0.1"), "Connection refused"),
        # A number of TLS, which among the system's is another error.
        (ssl.SSLError(1, "wrong version number"), "it does not speak TLS"),
        (aiohttp.InvalidURL("http://a/?key=hidden"), "the URL, or the one"),
        (ValueError("not\n a URL"), "not a URL"),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (ValueError(), "ValueError"),
    ],
)
def test_an_error_is_told_in_words(error: Exception, reason: str) -> None:
    told = reason_of(error)
    assert told.startswith(reason)
    assert "hidden" not in told
