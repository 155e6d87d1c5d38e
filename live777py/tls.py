"""The server's certificate: loaded at start, loaded anew when its files have changed."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from pathlib import Path

from live777py.errors import ConfigError

logger = logging.getLogger(__name__)

#: Seconds between two looks at the files.
INTERVAL = 60.0

_Stamp = tuple[tuple[int, int, int], ...]


class Certificate:
    """A certificate chain and its key, and the TLS context of the listener.

    `context` stays the same object: what is loaded into it counts for the next handshake, and
    connections that stand are left alone. Its files are read in threads.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        """Load both.

        Raises:
            ConfigError: they cannot be read, or do not belong together.
        """
        self._cert = cert
        self._key = key
        self._stamp = self._look()
        self.context = self._load()

    def renew(self) -> None:
        """Load the files anew; if they are wrong, what was loaded stays, and the log says so."""
        stamp = self._look()
        try:
            self._load()
        except ConfigError as error:
            logger.warning("the old certificate stays in use: %s", error)
        else:
            # Tried on a context of its own first: half of a change would break this one.
            self.context.load_cert_chain(self._cert, self._key)
            logger.info("loaded the certificate %s anew", self._cert)
        self._stamp = stamp

    def renew_if_changed(self) -> None:
        """Load the files anew if they are others than before."""
        if self._look() != self._stamp:
            self.renew()

    async def watch(self) -> None:
        """Look at the files every minute, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await asyncio.to_thread(self.renew_if_changed)

    def _look(self) -> _Stamp:
        stamps = []
        for path in (self._cert, self._key):
            try:
                found = path.stat()
            except OSError:
                stamps.append((0, 0, 0))
            else:
                stamps.append((found.st_ino, found.st_mtime_ns, found.st_size))
        return tuple(stamps)

    def _load(self) -> ssl.SSLContext:
        for key, path in (("tls_cert", self._cert), ("tls_key", self._key)):
            try:
                path.open("rb").close()
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                raise ConfigError(
                    f"http.{key}: {path} cannot be read: {reason}"
                ) from None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            # Without the callback OpenSSL would ask for a passphrase on the terminal.
            context.load_cert_chain(self._cert, self._key, password=_no_passphrase)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"http.tls_cert: {self._cert} and {self._key} do not make a "
                f"certificate with its key: {_reason(error)}"
            ) from None
        return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase, which nobody could enter")


def _reason(error: ssl.SSLError | ValueError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return str(error)
