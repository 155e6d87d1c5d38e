"""The compose file and what belongs to it fit together, as far as that shows without Docker."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from live777py.config import Config, load

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "config" / "compose"
DOCKERFILE = (FOLDER / "Dockerfile").read_text("utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(
    (FOLDER / "compose.yaml").read_text("utf-8")
)["services"]

NODES = pytest.mark.parametrize("name", SERVICES)


def filled(text: str, **variables: str) -> str:
    """Text in which `${NAME:-default}` stands for a variable, or for its default."""
    return re.sub(
        r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1], found[2]), text
    )


def config(name: str, **variables: str) -> Config:
    """What a node is given: the file that is mounted, and its variables."""
    service = SERVICES[name]
    [mount] = service["volumes"]
    source, inside, mode = mount.split(":")
    assert mode == "ro"
    assert service["command"] == ["-c", inside]
    environment = {
        key: filled(value, **variables) for key, value in service["environment"].items()
    }
    return load(FOLDER / source, environment)


def ports(name: str) -> list[tuple[int, int, str]]:
    """Published ports: outside, inside, protocol."""
    found = []
    for entry in SERVICES[name]["ports"]:
        numbers, protocol = entry.split("/")
        outside, inside = map(int, numbers.split(":"))
        found.append((outside, inside, protocol))
    return found


def test_there_are_an_origin_and_two_edges() -> None:
    assert list(SERVICES) == ["origin", "edge-1", "edge-2"]


@NODES
def test_every_nodes_configuration_is_valid_and_says_who_it_is(name: str) -> None:
    assert config(name).node.name == name


@NODES
@pytest.mark.parametrize("address", ["127.0.0.1", "203.0.113.7"])
def test_peers_are_told_the_port_that_is_published(name: str, address: str) -> None:
    given = config(name, PUBLIC_IP=address)
    [(outside, inside, _), media] = ports(name)
    assert inside == given.http.listen.port
    assert media == (outside, given.webrtc.listen.port, "udp")
    assert [str(ip) for ip in given.webrtc.public_ips] == [f"{address}:{outside}"]


def test_no_port_is_published_twice() -> None:
    published = [entry[::2] for name in SERVICES for entry in ports(name)]
    assert len(set(published)) == len(published)


@NODES
def test_edges_pull_from_services_of_the_file(name: str) -> None:
    origins = config(name).edge.origins
    assert bool(origins) is (name != "origin")
    for origin in origins:
        url = urlsplit(origin.url)
        assert url.scheme == "http"
        assert url.hostname == "origin"
        assert url.port == config("origin").http.listen.port


@NODES
def test_all_run_the_one_image_with_no_more_rights_than_they_need(name: str) -> None:
    service = SERVICES[name]
    build = service["build"]
    assert (FOLDER / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == FOLDER / "Dockerfile"
    assert service["image"] == "live777py"
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def instructions() -> Iterator[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments."""
    text = re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


def test_what_the_image_is_made_of_is_there_and_not_ignored() -> None:
    kept = {
        line[1:]
        for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = set()
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            copied.update(shlex.split(rest)[:-1])
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_runs_a_locked_warm_server_that_is_not_root() -> None:
    found = list(instructions())
    words = [word for word, _ in found]
    runs = [rest for word, rest in found if word == "RUN"]
    assert any("--require-hashes" in run for run in runs)
    assert all(
        rest.startswith("python:3.12-slim") for word, rest in found if word == "FROM"
    )
    assert ("USER", "live777") in found
    # As the user who runs it, into the cache that the user may write.
    warm = found.index(("RUN", "python -m live777py.relay.warm"))
    assert words.index("USER") < warm
    assert ("EXPOSE", "7777/tcp 7777/udp") in found
    assert ("ENTRYPOINT", '["live777py"]') in found
    assert f"{Config().http.listen.port}/readyz" in DOCKERFILE
