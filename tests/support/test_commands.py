from __future__ import annotations

from pathlib import Path

from tests.support import commands


def test_commands_are_found_joined_and_taken_apart(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Type `tool this` or:\n\n    tool -a \\\n      'b c' \\\n      d\n\n"
        "```sh\ntool e ! f\ntool … g\nother h\n```\n"
    )
    assert commands.shown(str(page), "tool") == [["-a", "b c", "d"], ["e", "!", "f"]]


def test_a_value_stands_behind_its_option() -> None:
    assert commands.after("-f", ["-a", "-f", "whip"]) == "whip"
