from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
from aiortc import rtcdtlstransport
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    SRTPProtectionProfile,
)
from aiortc.rtcicetransport import RTCIceTransport
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from live777py.relay.seam import SrtpKeys
from live777py.rtc import dtls
from live777py.rtc.dtls import (
    MAX_WAITING,
    MTU,
    Cause,
    Certificate,
    Dtls,
    HandshakeFailed,
    Role,
    self_signed,
)

ROLES: tuple[Role, ...] = ("client", "server")
RTCP_RR = bytes.fromhex("80c9000112345678")
WRONG = ("sha-256", ":".join(["00"] * 32))

Drop = Callable[[int, bytes], bool]


def never(_number: int, _data: bytes) -> bool:
    return False


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return Certificate.generate()


class RemoteLink:
    """The ICE transport of the remote aiortc peer: two queues, and a filter each way."""

    role = "controlled"

    def __init__(self, drop_to: Drop, drop_from: Drop) -> None:
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.deliver: Callable[[bytes], None] = lambda _data: None
        self.to_remote: list[bytes] = []
        self.from_remote: list[bytes] = []
        self._drop_to = drop_to
        self._drop_from = drop_from

    def send_to_remote(self, data: bytes) -> None:
        self.to_remote.append(data)
        if not self._drop_to(len(self.to_remote) - 1, data):
            self.inbox.put_nowait(data)

    async def _recv(self) -> bytes:
        return await self.inbox.get()

    async def _send(self, data: bytes) -> None:
        self.from_remote.append(data)
        if not self._drop_from(len(self.from_remote) - 1, data):
            self.deliver(data)


class AnyKey(RTCCertificate):
    """A remote certificate that also talks to peers with RSA keys."""

    def _create_ssl_context(
        self, srtp_profiles: list[SRTPProtectionProfile]
    ) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(
            b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"
        )
        return context


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    """A key whose certificate needs more than one datagram."""
    return rsa.generate_private_key(public_exponent=65537, key_size=4096)


class WholeFlights(RTCDtlsTransport):
    """Sends flights of any length; aiortc itself cuts them off after 1,500 bytes."""

    async def _write_ssl(self) -> None:
        assert self._ssl is not None
        with contextlib.suppress(SSL.Error):
            await self.transport._send(self._ssl.bio_read(65536))


class Pair:
    """Our side and a real aiortc transport as the other."""

    def __init__(
        self,
        ours: Dtls,
        remote: RTCDtlsTransport,
        link: RemoteLink,
        expected: RTCDtlsParameters,
    ) -> None:
        self.ours = ours
        self.remote = remote
        self.link = link
        self.ends: list[str] = []
        self.expected = expected

    async def connect(self) -> SrtpKeys:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.remote.start(self.expected))
            return await self.ours.handshake()

    async def remote_state(self, state: str) -> None:
        reached = asyncio.Event()

        def look() -> None:
            if self.remote.state == state:
                reached.set()

        self.remote.on("statechange", look)
        look()
        await reached.wait()
        self.remote.remove_listener("statechange", look)


@asynccontextmanager
async def pair(
    certificate: Certificate,
    role: Role,
    *,
    remote_certificate: RTCCertificate | None = None,
    fingerprints: list[tuple[str, str]] | None = None,
    profiles: list[SRTPProtectionProfile] | None = None,
    drop_to: Drop = never,
    drop_from: Drop = never,
) -> AsyncIterator[Pair]:
    theirs = remote_certificate or RTCCertificate.generateCertificate()
    link = RemoteLink(drop_to, drop_from)
    kind = WholeFlights if isinstance(theirs, AnyKey) else RTCDtlsTransport
    remote = kind(cast(RTCIceTransport, link), [theirs])
    remote._set_role("client" if role == "server" else "server")
    if profiles is not None:
        remote._srtp_profiles = profiles
    if fingerprints is None:
        fingerprints = [(f.algorithm, f.value) for f in theirs.getFingerprints()]
    ends: list[str] = []
    ours = Dtls(
        certificate,
        role=role,
        fingerprints=fingerprints,
        send=link.send_to_remote,
        on_closed=ends.append,
    )
    link.deliver = ours.receive
    algorithm, value = certificate.fingerprint.split(" ")
    expected = RTCDtlsParameters(fingerprints=[RTCDtlsFingerprint(algorithm, value)])
    both = Pair(ours, remote, link, expected)
    both.ends = ends
    try:
        yield both
    finally:
        await ours.aclose()
        task = remote._task
        await remote.stop()
        if task is not None:
            await asyncio.wait({task})


@pytest.mark.parametrize("role", ROLES)
async def test_both_sides_hold_the_same_keys(
    certificate: Certificate, role: Role
) -> None:
    async with pair(certificate, role) as both:
        await both.connect()
        sealed = both.ours.protect_rtcp(RTCP_RR)
        assert both.remote._rx_srtp.unprotect_rtcp(sealed) == RTCP_RR
        assert (
            both.ours.unprotect_rtcp(both.remote._tx_srtp.protect_rtcp(RTCP_RR))
            == RTCP_RR
        )


@pytest.mark.parametrize("role", ROLES)
async def test_the_media_keys_are_those_of_the_other_side(
    certificate: Certificate, role: Role
) -> None:
    profile = rtcdtlstransport.SRTP_AEAD_AES_128_GCM
    async with pair(certificate, role, profiles=[profile]) as both:
        keys = await both.connect()
        ssl = both.remote._ssl
        assert ssl is not None
        material = ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", 56)
        client = profile.get_key_and_salt(material, 0)
        server = profile.get_key_and_salt(material, 1)
        assert keys.profile == profile.libsrtp_profile
        assert (keys.send, keys.receive) == (
            (client, server) if role == "client" else (server, client)
        )


@pytest.mark.parametrize(
    ("role", "offered", "chosen"),
    [
        # The server of the handshake chooses; a client can only offer.
        ("server", ["256", "128", "cm"], "128"),
        ("server", ["cm", "256"], "256"),
        ("server", ["cm"], "cm"),
        ("client", ["cm"], "cm"),
    ],
)
async def test_the_cheapest_common_srtp_profile_is_chosen(
    certificate: Certificate, role: Role, offered: list[str], chosen: str
) -> None:
    names = {
        "128": rtcdtlstransport.SRTP_AEAD_AES_128_GCM,
        "256": rtcdtlstransport.SRTP_AEAD_AES_256_GCM,
        "cm": rtcdtlstransport.SRTP_AES128_CM_SHA1_80,
    }
    profiles = [names[name] for name in offered]
    async with pair(certificate, role, profiles=profiles) as both:
        keys = await both.connect()
        profile = names[chosen]
        assert keys.profile == profile.libsrtp_profile
        assert len(keys.send) == profile.key_length + profile.salt_length
        assert repr(keys.send) not in repr(keys)


class TestLoss:
    """OpenSSL's first retransmission comes after one second."""

    @pytest.mark.parametrize("role", ROLES)
    async def test_each_flight_of_either_side_may_be_lost(
        self, certificate: Certificate, role: Role
    ) -> None:
        async def lose(number: int, *, ours: bool) -> None:
            def drop(n: int, _data: bytes) -> bool:
                return n == number

            to, back = (drop, never) if ours else (never, drop)
            async with pair(certificate, role, drop_to=to, drop_from=back) as both:
                await both.connect()
                await both.remote_state("connected")
                sent = both.link.to_remote if ours else both.link.from_remote
                assert len(sent) > number + 1, "sent again"

        # All at once: OpenSSL waits a second before it sends again.
        async with asyncio.TaskGroup() as group:
            for number in (0, 1):
                group.create_task(lose(number, ours=True))
                group.create_task(lose(number, ours=False))

    async def test_each_flight_may_be_lost_twice(
        self, certificate: Certificate
    ) -> None:
        async def lose(*numbers: int) -> None:
            def drop(n: int, _data: bytes) -> bool:
                return n in numbers

            async with pair(certificate, "server", drop_to=drop) as both:
                await both.connect()
                await both.remote_state("connected")

        async with asyncio.TaskGroup() as group:
            group.create_task(lose(0, 1))
            group.create_task(lose(1, 2))

    async def test_duplicated_and_reordered_datagrams_do_no_harm(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "server") as both:
            receive = both.ours.receive

            def twice(data: bytes) -> None:
                receive(data)
                receive(data[: len(data) // 2])
                receive(data)

            both.link.deliver = twice
            await both.connect()
            await both.remote_state("connected")


@pytest.mark.parametrize("role", ROLES)
async def test_a_peer_with_an_rsa_certificate_connects(
    certificate: Certificate, rsa_key: rsa.RSAPrivateKey, role: Role
) -> None:
    theirs = AnyKey(key=rsa_key, cert=self_signed(rsa_key))  # type: ignore[arg-type]
    async with pair(certificate, role, remote_certificate=theirs) as both:
        await both.connect()
        await both.remote_state("connected")


@pytest.mark.parametrize("role", ROLES)
async def test_a_flight_longer_than_a_datagram_leaves_in_several(
    rsa_key: rsa.RSAPrivateKey, role: Role
) -> None:
    ours = Certificate(key=rsa_key, cert=self_signed(rsa_key))  # type: ignore[arg-type]
    theirs = AnyKey.generateCertificate()
    async with pair(ours, role, remote_certificate=theirs) as both:
        await both.connect()
        await both.remote_state("connected")
        sizes = [len(data) for data in both.link.to_remote]
        assert max(sizes) <= MTU
        assert sum(sizes) > MTU


class TestFailure:
    async def fail(self, both: Pair) -> HandshakeFailed:
        async with asyncio.TaskGroup() as group:
            start = group.create_task(both.remote.start(both.expected))
            with pytest.raises(HandshakeFailed) as caught:
                await both.ours.handshake()
            await asyncio.sleep(0)
            start.cancel()
        return caught.value

    @pytest.mark.parametrize("role", ROLES)
    async def test_a_certificate_other_than_announced_is_refused(
        self, certificate: Certificate, role: Role
    ) -> None:
        async with pair(certificate, role, fingerprints=[WRONG]) as both:
            failure = await self.fail(both)
            assert failure.cause is Cause.FINGERPRINT

    async def test_a_fingerprint_of_an_unknown_algorithm_is_refused(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "server", fingerprints=[("md5", "00")]) as both:
            failure = await self.fail(both)
            assert failure.cause is Cause.FINGERPRINT

    async def test_no_fingerprint_at_all_is_refused(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "server", fingerprints=[]) as both:
            with pytest.raises(HandshakeFailed, match="announced none"):
                await both.ours.handshake()

    async def test_a_peer_without_a_common_srtp_profile_is_refused(
        self, certificate: Certificate
    ) -> None:
        odd = SRTPProtectionProfile(
            libsrtp_profile=2,
            openssl_profile=b"SRTP_AES128_CM_SHA1_32",
            key_length=16,
            salt_length=14,
        )
        async with pair(certificate, "server", profiles=[odd]) as both:
            failure = await self.fail(both)
            assert failure.cause is Cause.NO_SRTP_PROFILE

    async def test_the_other_side_is_told_when_it_is_refused(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "server", fingerprints=[WRONG]) as both:
            async with asyncio.TaskGroup() as group:
                group.create_task(both.remote.start(both.expected))
                with pytest.raises(HandshakeFailed):
                    await both.ours.handshake()
            await both.remote_state("closed")

    @pytest.mark.parametrize("role", ROLES)
    async def test_a_peer_without_a_common_cipher_is_told_and_named(
        self, certificate: Certificate, role: Role
    ) -> None:
        class Odd(RTCCertificate):
            def _create_ssl_context(
                self, srtp_profiles: list[SRTPProtectionProfile]
            ) -> SSL.Context:
                context = super()._create_ssl_context(srtp_profiles)
                context.set_cipher_list(b"ECDHE-ECDSA-AES256-GCM-SHA384")
                return context

        theirs = Odd.generateCertificate()
        async with pair(certificate, role, remote_certificate=theirs) as both:
            failure = await self.fail(both)
            assert failure.cause is Cause.PROTOCOL
            assert "handshake_failure" in failure.detail
            await both.remote_state("failed")

    async def test_closing_ends_a_handshake_that_is_under_way(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "client") as both:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(self.fail_alone(both))
                await asyncio.sleep(0)
                await both.ours.aclose()
            assert running.result().cause is Cause.CLOSED

    async def fail_alone(self, both: Pair) -> HandshakeFailed:
        with pytest.raises(HandshakeFailed) as caught:
            await both.ours.handshake()
        return caught.value

    async def test_a_closed_association_does_not_begin(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "server") as both:
            await both.ours.aclose()
            both.ours.receive(b"\x16")
            assert (await self.fail_alone(both)).cause is Cause.CLOSED

    async def test_the_time_out_of_the_caller_is_obeyed(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "client") as both:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await both.ours.handshake()

    async def test_a_cancellation_that_meets_a_datagram_is_not_lost(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "server") as both:
            async with asyncio.TaskGroup() as group:
                running = group.create_task(both.ours.handshake())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                both.ours.receive(b"\x16" + bytes(20))
                running.cancel()
            assert running.cancelled()

    async def test_a_silent_peer_is_given_up_in_the_end(
        self, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def expired(_connection: SSL.Connection) -> bool:
            raise SSL.Error([("SSL routines", "", "read timeout expired")])

        monkeypatch.setattr(SSL.Connection, "DTLSv1_get_timeout", lambda _: 0)
        monkeypatch.setattr(SSL.Connection, "DTLSv1_handle_timeout", expired)
        async with pair(certificate, "client") as both:
            assert (await self.fail_alone(both)).cause is Cause.TIMED_OUT


class TestGoodbye:
    @pytest.mark.parametrize("role", ROLES)
    async def test_close_notify_reaches_the_other_side(
        self, certificate: Certificate, role: Role
    ) -> None:
        async with pair(certificate, role) as both:
            await both.connect()
            await both.remote_state("connected")
            await both.ours.aclose()
            await both.remote_state("closed")
            assert await both.ours.closed() == "closed by us"
            assert both.ends == []

    @pytest.mark.parametrize("role", ROLES)
    async def test_close_notify_of_the_other_side_ends_it_at_once(
        self, certificate: Certificate, role: Role
    ) -> None:
        async with pair(certificate, role) as both:
            await both.connect()
            await both.remote_state("connected")
            sent = len(both.link.to_remote)
            await both.remote.stop()
            assert await both.ours.closed() == "close_notify received"
            assert both.ends == ["close_notify received"]
            assert len(both.link.to_remote) == sent + 1, "answered (RFC 5246, 7.2.1)"

    async def test_close_notify_behind_data_in_one_datagram_is_seen(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "server") as both:
            await both.connect()
            await both.remote_state("connected")
            held: list[bytes] = []
            both.link.deliver = held.append
            await both.remote._send_data(b"not SCTP")
            await both.remote.stop()
            both.ours.receive(b"".join(held))
            assert await both.ours.closed() == "close_notify received"

    async def test_closing_twice_says_goodbye_once(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "server") as both:
            await both.connect()
            await both.ours.aclose()
            sent = len(both.link.to_remote)
            await both.ours.aclose()
            assert len(both.link.to_remote) == sent

    async def test_a_cancelled_close_has_said_goodbye_and_leaves_no_task(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "server") as both:
            await both.connect()
            await both.remote_state("connected")
            before = asyncio.all_tasks()
            async with asyncio.TaskGroup() as group:
                closing = group.create_task(both.ours.aclose())
                await asyncio.sleep(0)
                closing.cancel()
            await both.remote_state("closed")
            assert len(asyncio.all_tasks()) < len(before)

    async def test_a_fatal_alert_of_the_other_side_ends_it(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "server") as both:
            await both.connect()
            ssl = both.ours._association._tls

            def broken(*_args: object) -> bytes:
                raise SSL.Error([("SSL routines", "", "tlsv1 alert internal error")])

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(type(ssl), "recv", broken)
                both.ours.receive(b"\x17" + bytes(30))
                assert "internal error" in await both.ours.closed()


class TestStrangeInput:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\x16",
            b"\x80" + bytes(50),
            b"\x16\xfe\xfd" + bytes(8) + b"\xff\xff" + b"x" * 40,
            b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28",
            b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x01\x00",
            b"\x17\xfe\xfd" + bytes(8) + b"\x00\x04abcd",
        ],
        ids=[
            "empty", "short", "rtp", "truncated", "alert", "close_notify", "data",
        ],
    )  # fmt: skip
    async def test_forged_datagrams_do_not_end_an_association(
        self, certificate: Certificate, data: bytes
    ) -> None:
        async with pair(certificate, "server") as both:
            await both.connect()
            await both.remote_state("connected")
            both.ours.receive(data)
            for _ in range(5):
                await asyncio.sleep(0)
            assert both.ends == []
            await both.remote.stop()
            assert await both.ours.closed() == "close_notify received"

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(st.binary(max_size=200), max_size=5), st.sampled_from(ROLES))
    def test_garbage_before_the_handshake_never_raises(
        self, certificate: Certificate, garbage: list[bytes], role: Role
    ) -> None:
        async def scenario() -> None:
            dtls = Dtls(
                certificate, role=role, fingerprints=[WRONG], send=lambda _data: None
            )
            for data in garbage:
                dtls.receive(b"\x16\xfe\xfd" + data)
                dtls.receive(data)
            with contextlib.suppress(TimeoutError, HandshakeFailed):
                async with asyncio.timeout(0.001):
                    await dtls.handshake()
            await dtls.aclose()

        asyncio.run(scenario())

    async def test_srtcp_that_is_forged_repeated_or_early_is_dropped(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "server") as both:
            assert both.ours.unprotect_rtcp(bytes(40)) is None
            await both.connect()
            await both.remote_state("connected")
            sealed = both.remote._tx_srtp.protect_rtcp(RTCP_RR)
            assert both.ours.unprotect_rtcp(sealed) == RTCP_RR
            assert both.ours.unprotect_rtcp(sealed) is None
            for data in (b"", b"\x80", bytes(12), sealed[:-1], sealed[:-1] + b"x"):
                assert both.ours.unprotect_rtcp(data) is None
            assert both.ours.unprotect_rtcp(bytes(5000)) is None

    async def test_a_flood_before_the_handshake_is_bounded(
        self, certificate: Certificate
    ) -> None:
        async with pair(certificate, "server") as both:
            for _ in range(MAX_WAITING + 10):
                both.ours.receive(b"\x16" + bytes(20))
            assert both.ours.dropped == 10
            await both.connect()


@pytest.mark.slow
async def test_two_hundred_handshakes_leave_no_task(
    certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    before = asyncio.all_tasks()
    theirs = RTCCertificate.generateCertificate()
    with caplog.at_level(logging.WARNING):
        for number in range(200):
            role = ROLES[number % 2]
            async with pair(certificate, role, remote_certificate=theirs) as both:
                await both.connect()
                if number % 3:
                    await both.remote_state("connected")
                    await both.remote.stop()
                    await both.ours.closed()
    assert asyncio.all_tasks() == before
    gc.collect()
    assert caplog.records == []


def test_the_certificate_is_p256_and_outlives_the_process() -> None:
    certificate = Certificate.generate()
    algorithm, _, value = certificate.fingerprint.partition(" ")
    assert algorithm == "sha-256"
    assert len(value.split(":")) == 32
    lifetime = (
        certificate._cert.not_valid_after_utc - certificate._cert.not_valid_before_utc
    )
    assert lifetime.days > 3000


async def test_a_certificate_on_a_curve_of_the_past_is_explained() -> None:
    class Refused(SSL.Error):
        """As OpenSSL raises it."""

    association = dtls._Association(
        dtls._Channel(lambda _: None),
        dtls.Certificate.generate(),
        "client",
        lambda _: None,
    )
    error = Refused([("SSL routines", "", "wrong curve")])
    assert "-cert_file" in association._describe(error)
    assert association._describe(Refused([("", "", "other")])) == "other"
