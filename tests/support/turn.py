"""A real TURN server on loopback: coturn."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from aioice import stun

from live777py.fleet.ports import free
from tests.support.certificates import write_certificate

LISTENING = "127.0.0.1"

#: Where relayed datagrams come from: no other address of these tests.
RELAY = "127.0.0.2"

USERNAME, CREDENTIAL = "cam", "open sesame"

#: Seconds that it may take to start.
PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class TurnServer:
    """Where it is, and what it wrote so far."""

    port: int
    tls_port: int
    certificate: Path
    _log: Path

    def link(self, credential: str = CREDENTIAL, transport: str = "udp") -> str:
        """The value of a Link header.

        Args:
            credential: the right one, or not.
            transport: "udp", "tcp" or "tls".
        """
        url = f"turn:{LISTENING}:{self.port}?transport={transport}"
        if transport == "tls":
            url = f"turns:{LISTENING}:{self.tls_port}?transport=tcp"
        return (
            f'<{url}>; rel="ice-server"; username="{USERNAME}"; '
            f'credential="{credential}"; credential-type="password"'
        )

    @property
    def log(self) -> str:
        """All lines."""
        return self._log.read_text()


@asynccontextmanager
async def turn_server() -> AsyncIterator[TurnServer]:
    """A server for the time of a `with` block."""
    executable = shutil.which("turnserver", path=f"{os.environ['PATH']}:/usr/sbin")
    if executable is None:
        raise RuntimeError("there is no coturn: `make test` installs it")
    with TemporaryDirectory() as folder:
        ports = free(LISTENING)
        port, tls_port = next(ports), next(ports)
        log = Path(folder) / "log"
        cert, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
        write_certificate(cert, key)
        process = await asyncio.create_subprocess_exec(
            executable,
            *("-c", os.devnull, "--no-cli", "--no-dtls", "--verbose"),
            *("--listening-ip", LISTENING, "--listening-port", str(port)),
            *("--tls-listening-port", str(tls_port), "--cert", cert, "--pkey", key),
            *("--relay-ip", RELAY, "--allow-loopback-peers", "--lt-cred-mech"),
            *("--realm", "test", "--user", f"{USERNAME}:{CREDENTIAL}"),
            *("--db", f"{folder}/db", "--pidfile", f"{folder}/pid"),
            *("--log-file", str(log), "--simple-log"),
            stdout=DEVNULL,
            stderr=DEVNULL,
            cwd=folder,
        )
        try:
            try:
                async with asyncio.timeout(PATIENCE):
                    await _answered(port)
            except TimeoutError:
                said = log.read_text() if log.exists() else "nothing"
                raise RuntimeError(f"coturn did not start: {said}") from None
            yield TurnServer(port, tls_port, cert, log)
        finally:
            process.kill()
            await process.wait()


async def _answered(port: int) -> None:
    """Wait for an answer to a STUN request."""
    request = stun.Message(
        message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST
    )
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        while True:
            await loop.sock_sendto(sock, bytes(request), (LISTENING, port))
            try:
                async with asyncio.timeout(0.1):
                    await loop.sock_recv(sock, 2048)
            except TimeoutError:
                continue
            return
