"""A file, over it the environment, one line for every fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from live777py.config import Config, IceServer, Webhook, load
from live777py.notation import Announced, Listen
from tests.config.faults import faults


def test_without_a_file_everything_is_at_its_default() -> None:
    config = load(None, {})
    assert config == Config()
    assert config.http.listen == config.webrtc.listen == Listen("::", 7777)
    assert config.webrtc.connect_timeout == 15
    assert config.webrtc.receive_buffer == 4 * 1024 * 1024
    assert config.ice_servers == ()


def test_a_file_overrides_the_defaults(file: Path) -> None:
    file.write_text(
        """
        [http]
        listen = "127.0.0.1:8080"
        [webrtc]
        addresses = ["127.0.0.1", "[::1]:7778"]
        public_ips = ["cam.example.org"]
        connect_timeout = "500ms"
        receive_buffer = "64KiB"
        gso = false
        [[ice_servers]]
        urls = ["stun:stun.example.org", "turn:turn.example.org?transport=udp"]
        username = "user"
        credential = "s3cret"
        """
    )
    config = load(file, {})
    assert config.http.listen == Listen("127.0.0.1", 8080)
    assert config.webrtc.addresses == (Announced("127.0.0.1"), Announced("::1", 7778))
    assert config.webrtc.public_ips == (Announced("cam.example.org"),)
    assert config.webrtc.connect_timeout == 0.5
    assert config.webrtc.receive_buffer == 65536
    assert config.webrtc.gso is False
    [server] = config.ice_servers
    assert server.credential.get_secret_value() == "s3cret"
    assert config.strategy == Config().strategy


def test_a_file_with_a_byte_order_mark_is_read(file: Path) -> None:
    file.write_bytes(b'\xef\xbb\xbf[log]\nlevel = "debug"\n')
    assert load(file, {}).log.level == "debug"


def test_the_environment_overrides_the_file(file: Path) -> None:
    file.write_text('[http]\nlisten = "127.0.0.1:1"\n[webrtc]\naddresses = ["::1"]\n')
    environ = {
        "LIVE777_HTTP__LISTEN": "127.0.0.1:8080",
        "LIVE777_WEBRTC__ADDRESSES": "127.0.0.1, ::1",
        "LIVE777_WEBRTC__THREADS": "0",
        "LIVE777_WEBRTC__IDLE_TIMEOUT": "2",
        "LIVE777_WEBRTC__SEND_BUFFER": "1MiB",
        "LIVE777_STRATEGY__AUTO_CREATE_WHIP": "false",
        "LIVE777_STRATEGY__AUTO_CREATE_WHEP": "1",
        "LIVE777_LOG__LEVEL": "WARNING",
        "LIVE777_CACHE": "/var/cache/live777py",
        "PATH": "/bin",
    }
    config = load(file, environ)
    assert config.http.listen == Listen("127.0.0.1", 8080)
    assert config.webrtc.addresses == (Announced("127.0.0.1"), Announced("::1"))
    assert config.webrtc.threads == 0
    assert config.webrtc.idle_timeout == 2
    assert config.webrtc.send_buffer == 1024**2
    assert config.strategy.auto_create_whip is False
    assert config.strategy.auto_create_whep is True
    assert config.log.level == "warning"


def test_an_empty_variable_empties_a_list(file: Path) -> None:
    file.write_text('[webrtc]\naddresses = ["::1"]\n')
    assert load(file, {"LIVE777_WEBRTC__ADDRESSES": ""}).webrtc.addresses == ()


def test_ice_servers_come_from_one_variable_in_toml() -> None:
    config = load(None, {"LIVE777_ICE_SERVERS": '[{urls = ["stun:a"]}]'})
    assert config.ice_servers == (IceServer(urls=("stun:a",)),)


def test_every_fault_of_a_file_is_one_line(file: Path) -> None:
    file.write_text(
        """
        verbose = true
        [http]
        listen = "localhost"
        [webrtc]
        adresses = ["127.0.0.1"]
        addresses = ["0.0.0.0", "127.0.0.1"]
        connect_timeout = "-1s"
        idle_timeout = 0
        max_sessions = true
        receive_buffer = "2GiB"
        gso = "yes"
        [strategy]
        each_stream_max_sub = -1
        [log]
        level = "loud"
        format = "xml"
        """
    )
    assert sorted(faults(file, {})) == [
        (
            'live777.toml: http.listen: "localhost" is not an IP address and port: '
            'write "[::]:7777", "0.0.0.0:7777" or "127.0.0.1:7777"'
        ),
        'live777.toml: log.format: must be "text" or "json"',
        'live777.toml: log.level: must be "debug", "info", "warning" or "error"',
        ("live777.toml: strategy.each_stream_max_sub: must be at least 0"),
        "live777.toml: verbose: unknown key",
        (
            "live777.toml: webrtc.addresses.0: "
            "0.0.0.0 stands for all addresses: name one that peers reach"
        ),
        "live777.toml: webrtc.adresses: unknown key, did you mean addresses?",
        (
            'live777.toml: webrtc.connect_timeout: "-1s" is not a duration: '
            'write "15s", "500ms", "2m" or seconds'
        ),
        "live777.toml: webrtc.gso: must be true or false",
        "live777.toml: webrtc.idle_timeout: must be more than 0",
        "live777.toml: webrtc.max_sessions: must be a whole number",
        "live777.toml: webrtc.receive_buffer: must be at most 1073741824",
    ]


def test_every_fault_of_the_environment_is_one_line() -> None:
    environ = {
        "LIVE777_HTTP__LISTN": "127.0.0.1:1",
        "LIVE777_NOTHING": "1",
        "LIVE777_STRATEGY__AUTO_CREATE_WHIP": "maybe",
        "LIVE777_WEBRTC__ADDRESSES": "127.0.0.1,::",
        "LIVE777_WEBRTC__THREADS": "many",
    }
    assert sorted(faults(None, environ)) == [
        "LIVE777_HTTP__LISTN: unknown key, did you mean LIVE777_HTTP__LISTEN?",
        "LIVE777_NOTHING: unknown key",
        "LIVE777_STRATEGY__AUTO_CREATE_WHIP: must be true or false",
        (
            "LIVE777_WEBRTC__ADDRESSES.1: "
            ":: stands for all addresses: name one that peers reach"
        ),
        "LIVE777_WEBRTC__THREADS: must be a whole number",
    ]


def test_a_value_in_place_of_a_table_is_named(file: Path) -> None:
    file.write_text("http = 7777\n")
    environ = {"LIVE777_HTTP__LISTEN": "127.0.0.1:1"}
    assert faults(file, environ) == ["live777.toml: http: must be a table"]


def test_a_file_that_is_not_toml_is_named_with_the_place(file: Path) -> None:
    file.write_text("[http]\nlisten\n")
    [fault] = faults(file, {})
    assert fault.startswith("live777.toml: is not valid TOML: ")
    assert "line 2" in fault


def test_a_file_that_is_not_text_is_named(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    assert faults(file, {}) == ["live777.toml: is not UTF-8 text"]


def test_a_file_that_cannot_be_read_is_named(file: Path) -> None:
    [missing] = faults(file, {})
    assert missing == "live777.toml: cannot be read: No such file or directory"
    [directory] = faults(file.parent, {})
    assert directory.endswith("cannot be read: Is a directory")


def test_secrets_are_never_shown(file: Path) -> None:
    server = '[{urls = ["turn:a"], username = "user", credential = "s3cret"}]'
    config = load(None, {"LIVE777_ICE_SERVERS": server})
    assert "s3cret" not in repr(config) + str(config.ice_servers[0])
    for wrong in (
        server.replace('"s3cret"', "['s3cret']"),
        server.replace("}]", ""),
        server.replace("username", "usename"),
    ):
        [*found] = faults(None, {"LIVE777_ICE_SERVERS": wrong})
        assert found
        assert "s3cret" not in "".join(found)


@pytest.mark.parametrize(
    ("text", "origins"),
    [("true", ("*",)), ("false", ()), ("", ()), ("http://a,http://b", None)],
)
def test_cors_as_a_variable(text: str, origins: tuple[str, ...] | None) -> None:
    found = load(None, {"LIVE777_HTTP__CORS": text}).http.cors
    assert found == (("http://a", "http://b") if origins is None else origins)


def test_webhooks_come_from_a_file_or_one_variable(file: Path) -> None:
    file.write_text(
        """
        [[webhook]]
        url = "https://hooks.example.org/a?key=b"
        secret = "s3cret"
        events = ["publishUp", "reforwardDown"]
        retry_for = "1h"
        [[webhook]]
        url = "http://[::1]:8080"
        [admission]
        url = "http://127.0.0.1:8081/admit"
        on_error = "admit"
        """
    )
    config = load(file, {})
    first, second = config.webhook
    assert first.secret.get_secret_value() == "s3cret"
    assert first.events == ("publishUp", "reforwardDown")
    assert first.retry_for == 3600
    assert second.events == ()
    assert config.admission.on_error == "admit"
    for secret in ("s3cret", "key=b", "/admit"):
        assert secret not in repr(config)
    variables = {
        "LIVE777_WEBHOOK": '[{url = "http://localhost/"}]',
        "LIVE777_ADMISSION__URL": "",
    }
    config = load(file, variables)
    assert config.webhook == (Webhook(url="http://localhost/"),)
    assert config.admission.url == ""


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("http://a:7777", ["http://a:7777"]),
        ("http://a, http://b", ["http://a", "http://b"]),
        ('["http://a", {url = "http://b", token = "t"}]', ["http://a", "http://b"]),
        ("", []),
    ],
)
def test_origins_come_from_one_variable(text: str, urls: list[str]) -> None:
    origins = load(None, {"LIVE777_EDGE__ORIGINS": text}).edge.origins
    assert [origin.url for origin in origins] == urls
