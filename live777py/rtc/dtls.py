"""DTLS-SRTP with one peer: handshake, keys, SRTCP and goodbye.

This is the only module that touches private names of aiortc; they are listed in `PRIVATE_NAMES`
and a test looks at each. It reads no socket: datagrams come in through `Dtls.receive` and go out
through a function that it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import enum
import secrets
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Self, cast

from aiortc import rtcdtlstransport
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    SRTPProtectionProfile,
    State,
)
from aiortc.rtcicetransport import RTCIceTransport
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL

from live777py.relay.seam import SrtpKeys

#: What this module uses of aiortc that aiortc does not promise to keep, by its owner.
PRIVATE_NAMES: dict[str, tuple[str, ...]] = {
    "rtcdtlstransport": (
        "SRTP_AEAD_AES_128_GCM",
        "SRTP_AEAD_AES_256_GCM",
        "SRTP_AES128_CM_SHA1_80",
        "SRTP_PROFILES",
        "State",
        "certificate_digest",
        "pylibsrtp",
    ),
    "RTCCertificate": ("_cert", "_create_ssl_context", "_key"),
    "RTCDtlsTransport": (
        "_data_receiver",
        "_do_handshake",
        "_recv_next",
        "_role",
        "_rx_srtp",
        "_set_role",
        "_set_state",
        "_setup_srtp",
        "_srtp_profiles",
        "_ssl",
        "_state",
        "_task",
        "_tx_srtp",
        "_validate_peer_identity",
        "_write_ssl",
    ),
    # Of the ICE transport that it is given.
    "RTCIceTransport": ("_recv", "_send"),
}

Role = Literal["client", "server"]

#: Largest DTLS datagram that we send. It fits into every path that WebRTC media fits into.
MTU = 1200

#: Datagrams that wait for the handshake; a flight has two or three.
MAX_WAITING = 64

#: AES-128-GCM costs a third of AES-CM and less than AES-256-GCM; aiortc has AES-256-GCM first.
SRTP_PROFILES: tuple[SRTPProtectionProfile, ...] = tuple(
    profile
    for profile in (
        rtcdtlstransport.SRTP_AEAD_AES_128_GCM,
        rtcdtlstransport.SRTP_AEAD_AES_256_GCM,
        rtcdtlstransport.SRTP_AES128_CM_SHA1_80,
    )
    if profile
    in rtcdtlstransport.SRTP_PROFILES  # libsrtp may have been built without GCM
)

#: aiortc has the ECDSA ones only; servers that we call may have an RSA certificate.
CIPHERS = b":".join(
    b"ECDHE-" + key + b"-" + cipher
    for cipher in (
        b"AES128-GCM-SHA256",
        b"CHACHA20-POLY1305",
        b"AES128-SHA",
        b"AES256-SHA",
    )
    for key in (b"ECDSA", b"RSA")
)

#: What OpenSSL says of a certificate on a curve that TLS has given up, and what to do about it.
WRONG_CURVE = "wrong curve"
WRONG_CURVE_CURE = (
    "the client's certificate is on an elliptic curve that TLS no longer allows "
    "(FFmpeg with GnuTLS makes one on P-224): give FFmpeg one on P-256 by "
    "-cert_file and -key_file, or use a build with OpenSSL"
)

#: Browsers and players do not look at it, but a server may run for years.
VALIDITY = datetime.timedelta(days=3650)

_RECORD_HEADER = 13  # RFC 6347 section 4.1
_READ_BYTES = 16_384
_DTLS_1_2 = 0xFEFD

# relay/ alone imports pylibsrtp; of it, only this error is met here.
_SrtpError: type[Exception] = rtcdtlstransport.pylibsrtp.Error  # type: ignore[attr-defined]


class Cause(enum.StrEnum):
    """Why a handshake failed."""

    FINGERPRINT = "the certificate is not the one that the SDP announced"
    NO_SRTP_PROFILE = "no SRTP protection profile in common"
    PROTOCOL = "TLS error"
    TIMED_OUT = "the other side stopped answering"
    CLOSED = "closed before it was complete"


class HandshakeFailed(Exception):
    """There will be no DTLS association.

    Attributes:
        cause: which kind of failure it was.
        detail: what OpenSSL or the other side said, often empty.
    """

    def __init__(self, cause: Cause, detail: str = "") -> None:
        super().__init__(f"{cause.value}: {detail}" if detail else cause.value)
        self.cause = cause
        self.detail = detail


class Certificate(RTCCertificate):
    """The key and certificate of this process, with one TLS context for all handshakes."""

    _context: SSL.Context | None = None

    @classmethod
    def generate(cls, key: ec.EllipticCurvePrivateKey | None = None) -> Self:
        """A self-signed certificate, for a new P-256 key if there is none."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        return cls(key=key, cert=self_signed(key))

    @property
    def fingerprint(self) -> str:
        """As `a=fingerprint` carries it, SHA-256."""
        return f"sha-256 {rtcdtlstransport.certificate_digest(self._cert, 'sha-256')}"

    def _create_ssl_context(
        self, srtp_profiles: Iterable[SRTPProtectionProfile]
    ) -> SSL.Context:
        # Shared, since making one costs as much as a third of a handshake.
        if self._context is None:
            self._context = self._make_context(srtp_profiles)
        return self._context

    def _make_context(self, profiles: Iterable[SRTPProtectionProfile]) -> SSL.Context:
        context = SSL.Context(SSL.DTLS_METHOD)
        # RFC 8827 section 6.5 asks for 1.2; the record layer below knows 1.2 only.
        context.set_min_proto_version(_DTLS_1_2)
        context.set_max_proto_version(_DTLS_1_2)
        context.set_options(
            SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION
        )
        # Every handshake is a full one: the certificate is what identifies the peer.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        # Who signed it does not matter, its fingerprint does (RFC 8827 section 5).
        context.set_verify(
            SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True
        )
        context.use_certificate(self._cert)
        context.use_privatekey(self._key)
        context.set_cipher_list(CIPHERS)
        context.set_tlsext_use_srtp(b":".join(p.openssl_profile for p in profiles))
        context.set_info_callback(_note_alert)
        return context


def self_signed(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> x509.Certificate:
    """A certificate for `key` that says nothing about anybody (RFC 8827 section 6.5)."""
    name = x509.Name(
        [x509.NameAttribute(x509.NameOID.COMMON_NAME, secrets.token_hex(16))]
    )
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks differ.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + VALIDITY)
        .sign(key, hashes.SHA256())
    )


class Dtls:
    """A DTLS-SRTP association with one peer.

    The owner gives it every DTLS datagram of the peer through `receive`, also before
    `handshake`, awaits `handshake` once and in the end `aclose`. Whatever arrives, `receive`
    never raises. `aclose` says goodbye (close_notify), may be called at any time and again, and
    leaves no task behind, also if it is cancelled.
    """

    def __init__(
        self,
        certificate: Certificate,
        *,
        role: Role,
        fingerprints: Iterable[tuple[str, str]],
        send: Callable[[bytes], None],
        on_closed: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare an association; nothing is sent yet.

        Args:
            certificate: ours.
            role: ours; the client speaks first.
            fingerprints: algorithm and value of what the SDP announced for the other side.
            send: sends one datagram to the peer; must neither wait nor raise.
            on_closed: called with the reason when an established association ends and it was
                not `aclose` that ended it.
        """
        self._parameters = RTCDtlsParameters(
            fingerprints=[RTCDtlsFingerprint(a, v) for a, v in fingerprints]
        )
        self._channel = _Channel(send)
        self._association = _Association(self._channel, certificate, role, self._end)
        self._on_closed = on_closed
        self._ended = asyncio.Event()
        self._reason = ""

    @property
    def dropped(self) -> int:
        """Datagrams that were given up because too many waited."""
        return self._channel.dropped

    def receive(self, data: bytes) -> None:
        """Take one datagram of the peer in."""
        self._channel.put(data)

    async def handshake(self) -> SrtpKeys:
        """Run the handshake; lost flights are sent again. The caller has the time-out.

        Raises:
            HandshakeFailed: there will be no association, and why.
        """
        if not self._parameters.fingerprints:
            raise HandshakeFailed(Cause.FINGERPRINT, "the SDP announced none")
        if self._channel.is_closed:
            raise HandshakeFailed(Cause.CLOSED)
        association = self._association
        await association.start(self._parameters)
        if association.keys is None:
            raise association.failure or HandshakeFailed(Cause.CLOSED)
        return association.keys

    async def closed(self) -> str:
        """Wait until the association has ended, by either side; returns the reason."""
        await self._ended.wait()
        return self._reason

    def protect_rtcp(self, data: bytes) -> bytes:
        """Encrypt a compound RTCP packet; `handshake` must have succeeded."""
        return self._association.protect_rtcp(data)

    def unprotect_rtcp(self, data: bytes) -> bytes | None:
        """Decrypt an SRTCP packet; None for one that is forged, repeated or too early."""
        return self._association.unprotect_rtcp(data)

    async def aclose(self) -> None:
        """Say goodbye if there is somebody to say it to, and end."""
        # Up to the wait nothing suspends, so a cancellation finds everything done.
        self._on_closed = None
        task = self._association.task
        try:
            await self._association.stop()
        finally:
            self._channel.close()
            self._end("closed by us")
        if task is not None:
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # logged by aiortc; asyncio need not complain again

    def _end(self, reason: str) -> None:
        if self._ended.is_set():
            return
        self._reason = reason
        self._ended.set()
        if self._on_closed is not None:
            self._on_closed(reason)


class _Channel:
    """What aiortc takes for an ICE transport: a bounded inbox and a way out."""

    #: Read by aiortc for statistics.
    role = "controlled"
    state = "completed"

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.send = send
        self._inbox: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self.is_closed = False
        self.dropped = 0

    def put(self, data: bytes) -> None:
        if self.is_closed:
            return
        if len(self._inbox) >= MAX_WAITING:
            # The oldest: the other side repeats what is lost, the newest is what it waits for.
            self._inbox.popleft()
            self.dropped += 1
        self._inbox.append(data)
        self._wake.set()

    def close(self) -> None:
        self.is_closed = True
        self._inbox.clear()
        self._wake.set()

    async def _recv(self) -> bytes:
        while not self._inbox:
            if self.is_closed:
                raise ConnectionError("closed")
            self._wake.clear()
            await self._wake.wait()
        return self._inbox.popleft()

    async def _send(self, data: bytes) -> None:
        self.send(data)


class _Association(RTCDtlsTransport):
    """aiortc's DTLS transport with its faults mended.

    What differs: it says why a handshake failed, hands the SRTP keys out, sends flights of any
    size as datagrams that fit the path, reads all records of a datagram, answers close_notify,
    and does not lose a cancellation that coincides with a datagram.
    """

    def __init__(
        self,
        channel: _Channel,
        certificate: Certificate,
        role: Role,
        on_end: Callable[[str], None],
    ) -> None:
        super().__init__(cast(RTCIceTransport, channel), [certificate])
        self._channel = channel
        self._srtp_profiles = list(SRTP_PROFILES)
        self._set_role(role)
        self._on_end = on_end
        self._alerts: list[str] = []
        self._reason = "the association broke"
        self.keys: SrtpKeys | None = None
        self.failure: HandshakeFailed | None = None

    @property
    def task(self) -> asyncio.Future[None] | None:
        """What reads after the handshake."""
        return self._task

    @property
    def _tls(self) -> SSL.Connection:
        # aiortc makes it in start(), before it calls anything of ours.
        return cast(SSL.Connection, self._ssl)

    def protect_rtcp(self, data: bytes) -> bytes:
        return self._tx_srtp.protect_rtcp(data)

    def unprotect_rtcp(self, data: bytes) -> bytes | None:
        if self.keys is None:
            return None
        try:
            return self._rx_srtp.unprotect_rtcp(data)
        except (_SrtpError, ValueError):  # forged or repeated; longer than a datagram
            return None

    async def _do_handshake(self) -> None:
        self._tls.set_app_data(self._alerts)
        self._tls.set_ciphertext_mtu(MTU)
        try:
            while not self.encrypted:
                try:
                    self._tls.do_handshake()
                except SSL.WantReadError:
                    self._flush()
                    await self._recv_next()
                else:
                    self.encrypted = True
            self._flush()
        except SSL.ZeroReturnError:
            self._fail(Cause.CLOSED, "by the other side")
        except SSL.Error as error:
            self._flush()  # the alert that says why
            self._fail(Cause.PROTOCOL, self._describe(error))
        except ConnectionError:
            self._fail(Cause.CLOSED)

    def _validate_peer_identity(self, remoteParameters: RTCDtlsParameters) -> None:  # noqa: N803
        try:
            super()._validate_peer_identity(remoteParameters)
        except ValueError as error:
            # OpenSSL parses certificates less strictly than cryptography does.
            self._fail(Cause.FINGERPRINT, str(error))
        if self._state is State.FAILED:
            self._refuse(Cause.FINGERPRINT)

    def _setup_srtp(self) -> None:
        super()._setup_srtp()
        if self._state is State.FAILED:
            self._refuse(Cause.NO_SRTP_PROFILE)
            return
        name = self._tls.get_selected_srtp_profile()
        profile = next(p for p in self._srtp_profiles if p.openssl_profile == name)
        # RFC 5764 section 4.2: keys of client and server, then their salts.
        material = self._tls.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (profile.key_length + profile.salt_length)
        )
        ours, theirs = (0, 1) if self._role == "client" else (1, 0)
        self.keys = SrtpKeys(
            profile=profile.libsrtp_profile,
            receive=profile.get_key_and_salt(material, theirs),
            send=profile.get_key_and_salt(material, ours),
        )

    async def _recv_next(self) -> None:
        # asyncio.timeout and not wait_for, as aiortc has it: up to Python 3.11 that returns the
        # datagram and forgets the cancellation when both come in the same turn.
        try:
            async with asyncio.timeout(self._tls.DTLSv1_get_timeout()):
                data = await self._channel._recv()
        except TimeoutError:
            try:
                self._tls.DTLSv1_handle_timeout()
            except SSL.Error:
                self._fail(Cause.TIMED_OUT)
                raise ConnectionError("timed out") from None
            self._flush()
            return
        if not data or not 20 <= data[0] <= 63:  # RFC 7983 section 7
            return
        self._tls.bio_write(data)
        if self.encrypted:
            await self._read_records()

    async def _read_records(self) -> None:
        """Take in what came after the handshake: data, a repeated flight, the end."""
        try:
            while True:
                message = self._tls.recv(_READ_BYTES)
                if self._data_receiver is not None:
                    await self._data_receiver._handle_data(message)
        except SSL.WantReadError:
            self._flush()
        except SSL.ZeroReturnError:
            self._reason = "close_notify received"
            self._say_goodbye()
            raise ConnectionError(self._reason) from None
        except SSL.Error as error:
            self._flush()
            self._reason = f"{Cause.PROTOCOL.value}: {self._describe(error)}"
            raise ConnectionError(self._reason) from error

    async def _write_ssl(self) -> None:
        # aiortc sends the first 1,500 bytes of a flight as one datagram and leaves the rest,
        # which then starts in the middle of a record, to the next occasion.
        self._flush()

    def _flush(self) -> None:
        for datagram in _datagrams(self._take_output()):
            self._channel.send(datagram)

    def _take_output(self) -> bytes:
        chunks = []
        try:
            while True:
                chunks.append(self._tls.bio_read(_READ_BYTES))
        except SSL.Error:
            return b"".join(chunks)

    def _say_goodbye(self) -> None:
        with contextlib.suppress(SSL.Error):
            self._tls.shutdown()
        self._flush()

    def _refuse(self, cause: Cause) -> None:
        """Fail after TLS itself succeeded: the other side has to be told."""
        self._fail(cause)
        self._say_goodbye()

    def _fail(self, cause: Cause, detail: str = "") -> None:
        # The first cause is the reason, what follows are its consequences.
        if self.failure is None:
            self.failure = HandshakeFailed(cause, detail)
        self._set_state(State.FAILED)

    def _set_state(self, state: State) -> None:
        super()._set_state(state)
        if state is State.CLOSED:
            self._on_end(self._reason)

    def _describe(self, error: SSL.Error) -> str:
        reasons: list[str] = []
        if error.args and isinstance(error.args[0], list):
            reasons = [reason for _, _, reason in error.args[0]]
        if WRONG_CURVE in reasons:
            return WRONG_CURVE_CURE
        return ", ".join(self._alerts or reasons) or str(error)


def _note_alert(connection: SSL.Connection, where: int, code: int) -> None:
    """Remember an alert; OpenSSL calls this at every step of every handshake."""
    if not where & SSL.SSL_CB_ALERT:
        return
    alerts = connection.get_app_data()
    description = code & 0xFF
    if alerts is None or description == 0 or len(alerts) >= 4:
        return
    try:
        name = ssl.AlertDescription(description).name.removeprefix("ALERT_DESCRIPTION_")
    except ValueError:
        name = f"alert {description}"
    verb = "received" if where & SSL.SSL_CB_READ else "sent"
    alerts.append(f"{verb} {name.lower()}")


def _datagrams(output: bytes) -> Iterator[bytes]:
    """Cut a flight into datagrams of whole records, none above the MTU."""
    start = end = 0
    while end < len(output):
        size = _RECORD_HEADER + int.from_bytes(output[end + 11 : end + 13])
        if end > start and end + size - start > MTU:
            yield output[start:end]
            start = end
        end += size
    if end > start:
        yield output[start:end]
