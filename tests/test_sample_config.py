"""The sample configuration and the reference page say what the models say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import tomli

from live777py.config import Config, IceServer, Section, Webhook, load

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "config" / "live777.toml"
GENERATOR = ROOT / "docs" / "reference" / "configuration.py"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("configuration", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_sample_is_valid_and_changes_nothing() -> None:
    assert load(SAMPLE, {}) == Config()


def test_the_sample_names_every_key_and_no_other() -> None:
    data = tomli.loads(SAMPLE.read_text("utf-8"))
    assert data.keys() == Config.model_fields.keys()
    for name, field in Config.model_fields.items():
        if isinstance(field.default, Section):
            assert data[name].keys() == type(field.default).model_fields.keys()


def test_every_key_of_the_sample_has_one_line_of_comment() -> None:
    lines = SAMPLE.read_text("utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"(# )?[a-z_]+ = ", line):
            assert lines[number - 1].startswith("# "), line
            assert not lines[number - 2].startswith("# #"), line


@pytest.mark.parametrize(
    ("name", "section"), [("ice_servers", IceServer), ("webhook", Webhook)]
)
def test_the_tables_of_the_sample_work_when_their_comment_is_taken_off(
    name: str, section: type[Section], tmp_path: Path
) -> None:
    text = SAMPLE.read_text("utf-8")
    _, _, example = text.partition(f"# [[{name}]]\n")
    example, _, _ = example.partition("\n\n")
    file = tmp_path / "live777.toml"
    file.write_text(f"[[{name}]]\n" + re.sub("^# ", "", example, flags=re.M) + "\n")
    [table] = getattr(load(file, {}), name)
    assert table.model_fields_set == section.model_fields.keys()


def test_the_sample_and_the_page_are_as_generated(generator: ModuleType) -> None:
    for path, text in generator.files().items():
        assert path.read_text("utf-8") == text, "run `make docs`"


def test_every_key_is_documented() -> None:
    for field in Config.model_fields.values():
        if isinstance(field.default, Section):
            for name, inner in type(field.default).model_fields.items():
                assert inner.description, name
                assert "\n" not in inner.description, name
