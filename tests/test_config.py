"""The configuration: a file, over it the environment, one line for every fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from live777py.config import (
    Announced,
    Auth,
    Config,
    Http,
    IceServer,
    Listen,
    RemoteServer,
    Webhook,
    load,
)
from live777py.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "live777.toml"


def faults(path: Path | None, environ: dict[str, str]) -> list[str]:
    """The faults of a configuration, without the directory of the file."""
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
    prefix = "" if path is None else f"{path.parent}/"
    return [fault.removeprefix(prefix) for fault in caught.value.faults]


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


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("", "ice_servers.0.urls: is required"),
        ("urls = []", "ice_servers.0.urls: must not be empty"),
        ('urls = "stun:a"', "ice_servers.0.urls: must be a list"),
        ("urls = [5]", "ice_servers.0.urls.0: must be a string"),
        (
            'urls = ["http://a"]',
            (
                "ice_servers.0.urls.0: is not an ICE URL such as "
                '"stun:stun.example.org:3478"'
            ),
        ),
        (
            'urls = ["turn:a"]\nusername = "user"',
            "ice_servers.0: a TURN server needs username and credential",
        ),
        (
            'urls = ["stun:a"]\nuser = "user"',
            "ice_servers.0.user: unknown key, did you mean username?",
        ),
    ],
)
def test_a_wrong_ice_server_is_named(file: Path, table: str, fault: str) -> None:
    file.write_text(f"[[ice_servers]]\n{table}\n")
    assert faults(file, {}) == [f"live777.toml: {fault}"]


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


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().http.listen = Listen("::1", 1)


def test_parts_can_be_configured_in_code() -> None:
    assert Http(listen=Listen("127.0.0.1", 0)).listen.port == 0


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("true", ("*",)),
        ("false", ()),
        ("[]", ()),
        ('["*"]', ("*",)),
        (
            '["https://A.example", "http://b:80", "https://c:443", "http://d:3000"]',
            ("https://a.example", "http://b", "https://c", "http://d:3000"),
        ),
        ('["null", "app://-"]', ("null", "app://-")),
    ],
)
def test_cors_is_a_list_of_origins_or_live777s_boolean(
    file: Path, text: str, origins: tuple[str, ...]
) -> None:
    file.write_text(f"[http]\ncors = {text}\n")
    assert load(file, {}).http.cors == origins


@pytest.mark.parametrize(
    ("text", "origins"),
    [("true", ("*",)), ("false", ()), ("", ()), ("http://a,http://b", None)],
)
def test_cors_as_a_variable(text: str, origins: tuple[str, ...] | None) -> None:
    found = load(None, {"LIVE777_HTTP__CORS": text}).http.cors
    assert found == (("http://a", "http://b") if origins is None else origins)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[http]\ncors = "*"', "http.cors: must be a list"),
        ('[http]\ncors = ["a.example"]', "http.cors.0: is not an origin"),
        ('[http]\ncors = ["https://a/"]', "http.cors.0: is not an origin"),
        ('[http]\ncors = ["https://*.a"]', "http.cors.0: is not an origin"),
        ('[http]\ntrusted_proxies = ["x"]', 'http.trusted_proxies.0: "x" is not an IP'),
        ('[http]\ntrusted_proxies = "::1"', "http.trusted_proxies: must be a list"),
        ("[http]\nrate_limit = -1", "http.rate_limit: must be at least 0"),
        ('[http]\ntls_cert = "a"', "http: tls_key is missing"),
        ('[http]\ntls_key = "a"', "http: tls_cert is missing"),
        ('[auth]\ntokens = [""]', "auth.tokens.0: must be printable ASCII"),
        ('[auth]\ntokens = ["a b"]', "auth.tokens.0: must be printable ASCII"),
        ('[auth]\ntokens = "s3cret"', "auth.tokens: must be a list"),
        ('[auth]\nsecret = " "', "auth.secret: must have no white space"),
        ('[auth]\nsecret = "Bearer s3cret"', "auth.secret: must have no white space"),
        ('[auth]\njwks_url = "ftp://s3cret"', "auth.jwks_url: is not an http://"),
        ('[auth]\njwks_url = "https://u:s3cret@a/"', "auth.jwks_url: is not"),
        (
            '[auth]\njwks_url = "https://a"\njwks_file = "b"',
            "auth: jwks_url and jwks_file exclude one another",
        ),
    ],
)
def test_what_is_wrong_about_access_is_said_without_secrets(
    file: Path, text: str, fault: str
) -> None:
    file.write_text(text)
    [found] = faults(file, {})
    assert found.startswith(f"live777.toml: {fault}")
    assert "s3cret" not in found


def test_any_way_to_show_who_one_is_closes_the_server() -> None:
    assert Auth().is_open
    assert Auth(audience="a", issuer="b").is_open
    for closed in (
        Auth(tokens=(SecretStr("a"),)),
        Auth(secret=SecretStr("a")),
        Auth(jwks_url="https://a"),
        Auth(jwks_file="a"),
    ):
        assert not closed.is_open


def test_tokens_and_the_secret_are_not_shown() -> None:
    environ = {"LIVE777_AUTH__TOKENS": "s3cret, b", "LIVE777_AUTH__SECRET": "s3cret"}
    config = load(None, environ)
    assert [token.get_secret_value() for token in config.auth.tokens] == ["s3cret", "b"]
    assert "s3cret" not in repr(config)
    assert "s3cret" not in config.model_dump_json()


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
    "url",
    [
        "",
        "hooks.example.org",
        "ftp://hooks.example.org/",
        "https://user:s3cret@hooks.example.org/",
        "http://hooks.example.org:port/",
        "http://hooks.example.org:99999/",
        "http://hooks.example.org:0/",
        "http://[::1/",
        "http:///path",
        "http://:80/",
        "http://hooks.example.org/a b",
    ],
)
def test_a_webhook_without_a_usable_url_is_a_fault(url: str) -> None:
    sentence = "is not an http:// or https:// URL without credentials"
    assert faults(None, {"LIVE777_WEBHOOK": f'[{{url = "{url}"}}]'}) == [
        f"LIVE777_WEBHOOK.0.url: {sentence}"
    ]
    if url:
        assert faults(None, {"LIVE777_ADMISSION__URL": url}) == [
            f"LIVE777_ADMISSION__URL: {sentence}"
        ]


def test_a_webhook_for_unknown_events_is_a_fault(file: Path) -> None:
    file.write_text(
        """
        [[webhook]]
        events = ["publishup"]
        """
    )
    url, events = faults(file, {})
    assert url == "live777.toml: webhook.0.url: is required"
    assert events.startswith(
        'live777.toml: webhook.0.events.0: must be "streamUp", "streamDown", '
    )


def test_the_webhook_table_of_live777_is_a_fault(file: Path) -> None:
    file.write_text('[webhook]\nwebhooks = ["http://localhost/"]\n')
    assert faults(file, {}) == ["live777.toml: webhook: must be a list"]


def test_servers_are_tables_or_urls_alone(file: Path) -> None:
    file.write_text(
        """
        [stream.cam]
        sources = ["whep://s3cret@a/whep/cam", {url = "https://b/cam?k=s3cret", token = "s3cret"}]
        targets = [{url = "http://c/whip/cam"}]
        on_demand = true
        on_demand_close_after = "1m"
        [stream.mic]
        [edge]
        origins = ["http://origin:7777", "https://o/{stream}/whep"]
        """
    )
    config = load(file, {})
    cam, mic = config.stream["cam"], config.stream["mic"]
    assert [s.url for s in cam.sources] == [
        "whep://s3cret@a/whep/cam",
        "https://b/cam?k=s3cret",
    ]
    assert cam.sources[1].token.get_secret_value() == "s3cret"
    assert cam.targets == (RemoteServer(url="http://c/whip/cam"),)
    assert (cam.on_demand, cam.on_demand_close_after) == (True, 60)
    assert (mic.sources, mic.targets, mic.on_demand) == ((), (), False)
    assert [o.url for o in config.edge.origins] == [
        "http://origin:7777",
        "https://o/{stream}/whep",
    ]
    assert config.edge.close_after == 10
    assert "s3cret" not in repr(config)


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


def test_servers_that_cannot_be_used_are_faults_that_tell_no_secret(file: Path) -> None:
    file.write_text(
        """
        [stream.cam]
        sources = ["ftp://s3cret@a/x", {url = "http://u:s3cret@a/x"}, {token = "s3cret"}]
        targets = [{url = "http://a/x", token = "s3cret\\n"}, 7]
        [stream.mic]
        on_demand = true
        [edge]
        origins = "http://a"
        """
    )
    found = faults(file, {})
    sources = "stream.cam.sources"
    schemes = "whep://, whip://, wheps://, whips://, http://, https://"
    assert found == [
        "live777.toml: edge.origins: must be a list",
        f"live777.toml: {sources}.0.url: the URL has to begin with {schemes} and have a host",
        f"live777.toml: {sources}.1.url: the URL has a password: put a token before the @",
        "live777.toml: stream.cam.sources.2.url: is required",
        "live777.toml: stream.cam.targets.1: must be a table",
        "live777.toml: stream.mic: on_demand needs sources: there is nothing to be pulled",
    ]
    assert "s3cret" not in str(found)
    file.write_text('[edge]\norigins = [{url = "http://a", token = "s3cret\\u0001"}]\n')
    assert faults(file, {}) == [
        "live777.toml: edge.origins.0: the token has characters that no header may have"
    ]
