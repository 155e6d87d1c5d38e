from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import tomli

from live777py.config import Config
from live777py.errors import ConfigError
from live777py.fleet import plan
from live777py.fleet.plan import Plan

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "edge.md"


def make(text: str) -> Plan:
    return plan.make(text, "my.toml", itertools.count(20_001))


def tables(text: str) -> dict[str, dict[str, Any]]:
    """The configuration of each node."""
    return {node.name: tomli.loads(node.text) for node in make(text).nodes}


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        make(text)
    return caught.value.faults


def test_a_node_without_keys_gets_one_free_port_for_both_on_loopback() -> None:
    made = make("[node.a]\n[node.b]")
    assert [(n.name, n.url, str(n.http), str(n.media)) for n in made.nodes] == [
        ("a", "http://127.0.0.1:20001", "127.0.0.1:20001", "127.0.0.1:20001"),
        ("b", "http://127.0.0.1:20002", "127.0.0.1:20002", "127.0.0.1:20002"),
    ]
    assert tomli.loads(made.nodes[0].text) == {
        "node": {"name": "a"},
        "http": {"listen": "127.0.0.1:20001"},
        "webrtc": {"listen": "127.0.0.1:20001", "addresses": ["127.0.0.1"]},
    }


def test_what_is_common_is_for_all_and_what_is_a_nodes_own_goes_over_it() -> None:
    found = tables(
        """
        [common.strategy]
        takeover = "replace"
        idle_whep = "refuse"
        [common.http]
        cors = ["https://a.example"]
        [node.a]
        [node.b.strategy]
        idle_whep = "wait"
        [node.b.http]
        cors = []
        """
    )
    assert found["a"]["strategy"] == {"takeover": "replace", "idle_whep": "refuse"}
    assert found["b"]["strategy"] == {"takeover": "replace", "idle_whep": "wait"}
    assert found["a"]["http"]["cors"] == ["https://a.example"]
    assert found["b"]["http"]["cors"] == []


def test_ports_that_are_given_stay() -> None:
    made = make(
        """
        [node.a.http]
        listen = "[::]:8080"
        [node.a.webrtc]
        listen = "0.0.0.0:9000"
        [node.b.http]
        listen = "0.0.0.0:0"
        """
    )
    a, b = made.nodes
    assert (a.url, str(a.http), str(a.media)) == (
        "http://127.0.0.1:8080",
        "[::]:8080",
        "0.0.0.0:9000",
    )
    # Whoever says where media listens says what is announced, too.
    assert "addresses" not in tomli.loads(a.text)["webrtc"]
    assert (b.url, str(b.http)) == ("http://127.0.0.1:20001", "0.0.0.0:20001")
    assert str(b.media) == "127.0.0.1:20001"


def test_a_node_with_a_certificate_has_an_https_url() -> None:
    [node] = make('[node.a.http]\ntls_cert = "a.pem"\ntls_key = "a.key"').nodes
    assert node.url == "https://127.0.0.1:20001"


def test_strings_refer_to_other_nodes_wherever_they_stand() -> None:
    found = tables(
        """
        [node.edge.stream.cam]
        sources = ["${origin.url}/whep/cam", {url = "${late.url}/whep/cam"}]
        [node.origin]
        [node.late]
        """
    )
    assert found["edge"]["stream"]["cam"]["sources"] == [
        "http://127.0.0.1:20002/whep/cam",
        {"url": "http://127.0.0.1:20003/whep/cam"},
    ]


def test_a_node_has_the_name_that_it_has_in_the_file_unless_it_has_another() -> None:
    found = tables('[node.a]\n[node.b.node]\nname = "paris"\n[node.c]\nnode = 1')
    assert [table["node"] for table in found.values()] == [
        {"name": "a"},
        {"name": "paris"},
        1,
    ]


def test_references_in_what_is_common_are_those_of_all() -> None:
    found = tables(
        '[common.log]\nlevel = "${a.url}"\n[node.a]\n[node.b.webrtc]\ngso = true'
    )
    assert found["a"]["log"] == found["b"]["log"] == {"level": "http://127.0.0.1:20001"}


def test_a_reference_can_be_escaped_and_other_dollars_are_none() -> None:
    found = tables('[node.a.log]\nlevel = "$${a.url} $a $$ {}"')
    assert found["a"]["log"] == {"level": "${a.url} $a $$ {}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = ", "is not valid TOML: "),
        ("", "node: is required"),
        ("node = 1", "node: is required"),
        ("node = {}", "node: is required"),
        ("common = 1\n[node.a]", "common: must be a table"),
        ("[http]\n[node.a]", "http: unknown table: there are [common] and [node.NAME]"),
        ("[node]\na = 1", "node.a: must be a table"),
        ('[node."a b"]', "node.a b: is no name"),
        ('[node."../a"]', "node.../a: is no name"),
        (
            '[node.a.http]\nlisten = "nowhere"',
            'node.a.http.listen: "nowhere" is not an IP address and port',
        ),
        (
            '[node.edge.edge]\norigins = ["x", "${originn.url}"]\n[node.origin]',
            "node.edge.edge.origins.1: ${originn.url} refers to no node of this file, did you",
        ),
        (
            '[node.a.log]\nlevel = "${zzz.url}"',
            "node.a.log.level: ${zzz.url} refers to no node of this file",
        ),
        (
            '[node.a.log]\nlevel = "${a.whip}"',
            "node.a.log.level: ${a.whip} is unknown: write ${a.url}",
        ),
        ('[node.a.log]\nlevel = "${}"', "node.a.log.level: ${} refers to no node"),
        (
            '[common.http]\nlisten = "127.0.0.1:8080"\n[node.a]\n[node.b]',
            "node.b.http.listen: 127.0.0.1:8080 is that of a too: leave it out",
        ),
    ],
)
def test_faults_name_node_and_key(text: str, expected: str) -> None:
    [fault] = faults(text)
    assert fault.startswith(f"my.toml: {expected}")


def test_all_faults_are_told_at_once() -> None:
    assert (
        len(faults('x = 1\n[node.a.log]\nlevel = "${b.url}"\nformat = "${c.url}"')) == 3
    )


def test_too_many_nodes_are_refused() -> None:
    [fault] = faults("\n".join(f"[node.n{number}]" for number in range(65)))
    assert fault == "my.toml: node: has 65 nodes, 64 are possible"


def test_a_section_that_is_no_table_is_left_to_its_validation() -> None:
    assert tables("[node.a]\nhttp = 1")["a"]["http"] == 1


def test_the_example_is_that_of_the_page_and_has_edges_of_its_origin() -> None:
    assert f"```toml\n{plan.EXAMPLE}```" in PAGE.read_text("utf-8")
    found = tables(plan.EXAMPLE)
    assert [table.get("edge") for table in found.values()] == [
        None,
        *[{"origins": ["http://127.0.0.1:20001"]}] * 2,
    ]


def test_what_the_page_shows_of_configurations_is_valid() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        nodes = (
            tables(block)
            if "[node." in block
            else {"": tomli.loads(block.replace("…", "t0ken"))}
        )
        for table in nodes.values():
            assert Config.model_validate(table) != Config()
