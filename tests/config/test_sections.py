"""What the tables hold, and what does not go together in one."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from live777py.config import Auth, Config, Http, RemoteServer, load
from live777py.notation import Listen
from tests.config.faults import faults


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config().http.listen = Listen("::1", 1)


def test_parts_can_be_configured_in_code() -> None:
    assert Http(listen=Listen("127.0.0.1", 0)).listen.port == 0


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
