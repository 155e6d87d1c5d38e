"""What kinds of values take, and the words for what they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from live777py.config import load
from tests.config.faults import faults


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
    ("text", "fault"),
    [
        ('[http]\ncors = "*"', "http.cors: must be a list"),
        ('[http]\ncors = ["a.example"]', "http.cors.0: is not an origin"),
        ('[http]\ncors = ["https://a/"]', "http.cors.0: is not an origin"),
        ('[http]\ncors = ["https://*.a"]', "http.cors.0: is not an origin"),
        ("stream = 3", "stream: must be a table"),
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
