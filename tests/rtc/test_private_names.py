"""A new minor version of aiortc must fail here, and say where, not in a handshake."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import aiortc
import pytest
from aiortc import rtcdtlstransport
from aiortc.rtcdtlstransport import (
    RTCCertificate,
    RTCDtlsTransport,
    SRTPProtectionProfile,
    State,
)

from live777py.rtc import dtls

SOURCE = Path(dtls.__file__).parent

OWNERS = {
    "rtcdtlstransport": rtcdtlstransport,
    "RTCCertificate": RTCCertificate,
    "RTCDtlsTransport": RTCDtlsTransport,
}

SIGNATURES = {
    "RTCCertificate._create_ssl_context": ["srtp_profiles"],
    "RTCDtlsTransport._do_handshake": [],
    "RTCDtlsTransport._recv_next": [],
    "RTCDtlsTransport._set_role": ["role"],
    "RTCDtlsTransport._set_state": ["state"],
    "RTCDtlsTransport._setup_srtp": [],
    "RTCDtlsTransport._validate_peer_identity": ["remoteParameters"],
    "RTCDtlsTransport._write_ssl": [],
}

COROUTINES = {
    "RTCDtlsTransport._do_handshake",
    "RTCDtlsTransport._recv_next",
    "RTCDtlsTransport._write_ssl",
}


def test_aiortc_is_of_the_minor_version_that_was_read() -> None:
    assert aiortc.__version__.startswith("1.16.")


@pytest.mark.parametrize(
    "name", [f"{o}.{n}" for o, names in dtls.PRIVATE_NAMES.items() for n in names]
)
def test_each_private_name_is_what_it_was(name: str) -> None:
    owner, _, attribute = name.partition(".")
    if owner == "RTCDtlsTransport":
        ice = dtls._Channel(lambda _data: None)
        transport = dtls._Association(
            ice, dtls.Certificate.generate(), "client", lambda _reason: None
        )
        assert hasattr(transport, attribute)
    elif owner == "RTCCertificate":
        assert hasattr(dtls.Certificate.generate(), attribute)
    elif owner == "RTCIceTransport":
        # What matters of these is that a DTLS transport calls them so.
        call = {
            "_recv": "self.transport._recv()",
            "_send": "self.transport._send(data)",
        }
        assert call[attribute] in inspect.getsource(RTCDtlsTransport)
    else:
        assert hasattr(OWNERS[owner], attribute)
    if name in SIGNATURES:
        function = getattr(OWNERS[owner], attribute)
        assert list(inspect.signature(function).parameters)[1:] == SIGNATURES[name]
        assert inspect.iscoroutinefunction(function) == (name in COROUTINES)


def test_the_attributes_of_a_new_transport_are_of_the_kinds_that_we_set() -> None:
    ice = dtls._Channel(lambda _data: None)
    transport = RTCDtlsTransport(
        ice,  # type: ignore[arg-type]
        [RTCCertificate.generateCertificate()],
    )
    assert transport._state is State.NEW
    assert transport._role == "auto"
    assert transport._task is None
    assert transport._ssl is None
    assert transport._data_receiver is None
    assert transport._srtp_profiles is rtcdtlstransport.SRTP_PROFILES
    assert [state.name for state in State] == [
        "NEW",
        "CONNECTING",
        "CONNECTED",
        "CLOSED",
        "FAILED",
    ]


def test_srtp_profiles_have_keys_and_salts_of_known_length() -> None:
    profile = SRTPProtectionProfile(1, b"x", key_length=2, salt_length=1)
    assert profile.get_key_and_salt(b"AABBab", 0) == b"AAa"
    assert profile.get_key_and_salt(b"AABBab", 1) == b"BBb"


def test_our_overrides_are_called_by_what_they_override() -> None:
    """`start` is aiortc's, and calls these in this order."""
    source = inspect.getsource(RTCDtlsTransport.start)
    steps = [
        "_create_ssl_context",
        "self._do_handshake()",
        "self._validate_peer_identity(remoteParameters)",
        "self._setup_srtp()",
        "asyncio.ensure_future(self.__run())",
    ]
    positions = [source.index(step) for step in steps]
    assert positions == sorted(positions)
    run = inspect.getsource(RTCDtlsTransport)
    assert "await self._recv_next()" in run[run.index("async def __run") :]


def test_only_the_dtls_module_touches_private_names_of_aiortc() -> None:
    for path in SOURCE.glob("*.py"):
        text = path.read_text()
        if path.name != "dtls.py":
            assert not re.search(r"^(from|import) aiortc\b", text, re.MULTILINE), path
