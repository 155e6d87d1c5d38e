"""The server's certificate: loaded, refused with a sentence, renewed under way."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

import pytest
from aiohttp import ClientConnectorCertificateError, ClientSession, TCPConnector

from live777py import tls
from live777py.errors import ConfigError
from live777py.tls import Certificate
from tests.support.certificates import write_certificate
from tests.support.server import running


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    write_certificate(cert, key, "first")
    return cert, key


def trusting(cert: Path) -> ClientSession:
    """A client that trusts this certificate and no other."""
    context = ssl.create_default_context(cafile=str(cert))
    return ClientSession(connector=TCPConnector(ssl=context, force_close=True))


async def test_the_server_speaks_https(files: tuple[Path, Path]) -> None:
    cert, key = files
    async with running(http={"tls_cert": str(cert), "tls_key": str(key)}) as server:
        assert server.url.startswith("https://127.0.0.1:")
        async with (
            trusting(cert) as http,
            http.get(f"{server.url}/api/streams/") as response,
        ):
            assert response.status == 200


async def test_a_renewed_certificate_is_used_without_a_restart(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "INTERVAL", 0.01)
    cert, key = files
    async with running(http={"tls_cert": str(cert), "tls_key": str(key)}) as server:
        write_certificate(cert, key, "second")
        async with asyncio.timeout(20):
            while True:
                async with trusting(cert) as http:
                    try:
                        async with http.get(f"{server.url}/") as response:
                            assert response.status == 200
                            return
                    except ClientConnectorCertificateError:
                        # Still the first one.
                        await asyncio.sleep(0.02)


async def test_a_renewal_can_be_asked_for(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cert, key = files
    async with running(http={"tls_cert": str(cert), "tls_key": str(key)}) as server:
        assert server.server.has_certificate
        write_certificate(cert, key, "second")
        server.server.renew_certificate()
        async with asyncio.timeout(20):
            while "anew" not in caplog.text:  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
        async with trusting(cert) as http, http.get(f"{server.url}/") as response:
            assert response.status == 200


async def test_without_a_certificate_there_is_nothing_to_renew() -> None:
    async with running() as server:
        assert not server.server.has_certificate
        server.server.renew_certificate()


def test_files_that_are_wrong_at_a_renewal_change_nothing(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    cert, key = files
    certificate = Certificate(cert, key)
    # What certbot does in two steps is half done: the certificate is new, the key is not.
    write_certificate(cert, tmp_path / "elsewhere.pem", "second")
    certificate.renew_if_changed()
    certificate.renew_if_changed()
    assert caplog.text.count("the old certificate stays in use") == 1
    (tmp_path / "elsewhere.pem").rename(key)
    caplog.set_level(logging.INFO)
    certificate.renew_if_changed()
    assert "loaded the certificate" in caplog.text
    key.unlink()
    certificate.renew()
    assert "No such file" in caplog.text


@pytest.mark.parametrize(
    ("cert", "key", "fault"),
    [
        (
            "missing.pem",
            "key.pem",
            "http.tls_cert: missing.pem cannot be read: No such",
        ),
        (
            "cert.pem",
            "missing.pem",
            "http.tls_key: missing.pem cannot be read: No such",
        ),
        ("cert.pem", "cert.pem", "do not make a certificate with its key: "),
        ("key.pem", "key.pem", "do not make a certificate with its key: "),
        ("cert.pem", "other.pem", "key values mismatch"),
        ("cert.pem", "locked.pem", "the key has a passphrase"),
    ],
)
def test_files_that_are_wrong_at_the_start_are_a_sentence(
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    cert: str,
    key: str,
    fault: str,
) -> None:
    folder = files[0].parent
    monkeypatch.chdir(folder)
    write_certificate(Path("unused.pem"), Path("other.pem"))
    write_certificate(Path("unused.pem"), Path("locked.pem"), passphrase=b"x")
    with pytest.raises(ConfigError) as caught:
        Certificate(Path(cert), Path(key))
    assert fault in str(caught.value)
