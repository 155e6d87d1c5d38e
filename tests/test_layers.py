"""Imports point one way, tasks have owners, and every source file has its test file."""

from __future__ import annotations

import ast
import functools
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli

ROOT = Path(__file__).parents[1]
PACKAGE = "live777py"
SOURCES = sorted((ROOT / PACKAGE).rglob("*.py"))

#: From the bottom up. A part imports from lower ranks and from itself, from nothing else.
RANKS = (
    {"__init__", "errors", "notation"},
    {"aio", "protocol", "config", "descriptors", "log", "metrics", "tls"},
    {"relay", "core"},
    {"clients", "tokens"},
    {"api", "rtc", "media", "store"},
    # The load test, the conformance checks and the fleet are programs of their own: beside the
    # server, of which they know nothing.
    {"server", "loadtest", "conformance", "fleet", "minting"},
    {"cli"},
    {"__main__"},
)
RANK = {part: number for number, parts in enumerate(RANKS) for part in parts}

#: Who alone may import a library: what it does to us stays behind one border.
BORDERS = {
    # The conformance checks need every header in their own hand.
    "aiohttp": {"api", "clients", "conformance", "server"},
    "aioice": {"rtc"},
    "aiortc": {"rtc"},
    "av": {"media"},
    "jwt": {"clients", "tokens"},
    "numba": {"relay"},
    "prometheus_client": {"api"},
    "pydantic": {"api", "config"},
    "pylibsrtp": {"relay"},
    "rich": {"conformance", "loadtest"},
}

#: Names under which distributions are imported, where the two differ.
DISTRIBUTIONS = {
    "OpenSSL": "pyopenssl",
    "jwt": "pyjwt",
    "prometheus_client": "prometheus-client",
}

#: What starts a task that nobody owns.
TASK_MAKERS = {"create_task", "ensure_future", "gather", "run_coroutine_threadsafe"}

#: Source files without a test file of their own, and why.
UNTESTED = {
    "__main__.py": "three lines, run by tests/test_cli.py",
    "errors.py": "messages; each is asserted where it is raised",
    "relay/seam.py": "values; its one method hides keys in a repr",
}

#: Folders of tests that mirror nothing.
OTHER_TESTS = {"data", "e2e", "support"}

#: Test files that test the project, or a library below it, rather than one module.
PROJECT_TESTS = {
    "test_compose.py",
    "test_fuzz.py",
    "test_layers.py",
    "test_own_server.py",
    "test_private_names.py",
    "test_sample_config.py",
}


def name_of(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """The part of the package that a module belongs to; the package itself is __init__."""
    return [*module.split("."), "__init__"][1]


MODULES = {name_of(path): path for path in SOURCES}


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a file imports, wherever in it."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            source = ".".join(filter(None, [package_of(path, node.level), node.module]))
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield node.lineno, inner if inner in MODULES else source


def package_of(path: Path, level: int) -> str:
    """What the dots of a relative import stand for; empty where there are none."""
    if level == 0:
        return ""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-level])


def third_party(paths: list[Path]) -> set[str]:
    """Top-level names of the libraries that files import."""
    names = {name.partition(".")[0] for path in paths for _, name in imports(path)}
    ours = {PACKAGE, "tests", "bench"}
    return names - sys.stdlib_module_names - ours


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    data = tomli.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    table: dict[str, Any] = data["project"]
    return table


def requirement_name(requirement: str) -> str:
    match = re.match(r"[\w-]+", requirement)
    assert match is not None
    return match[0].lower()


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    part = part_of(module)
    assert part in RANK, f"give {part} a rank"
    for line, name in imports(MODULES[module]):
        if name.partition(".")[0] != PACKAGE:
            continue
        other = part_of(name)
        assert other == part or RANK[other] < RANK[part], f"line {line}: imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_libraries_stay_behind_their_borders(module: str) -> None:
    for line, name in imports(MODULES[module]):
        allowed = BORDERS.get(name.partition(".")[0])
        assert allowed is None or part_of(module) in allowed, f"line {line}: {name}"


@pytest.mark.parametrize("module", MODULES)
def test_only_aio_creates_tasks(module: str) -> None:
    if part_of(module) == "aio":
        return
    for node in ast.walk(tree_of(MODULES[module])):
        match node:
            case ast.ImportFrom(module="asyncio"):
                taken = {alias.name for alias in node.names} & TASK_MAKERS
                assert not taken, f"line {node.lineno}: imports {taken}"
            # A method of asyncio or of a loop; a TaskGroup's create_task is an owner.
            case ast.Attribute(value=ast.Name(id="asyncio" | "loop" | "_loop")):
                assert node.attr not in TASK_MAKERS, f"line {node.lineno}"
            case ast.Attribute(value=ast.Call() | ast.Attribute(attr="loop" | "_loop")):
                assert node.attr not in TASK_MAKERS, f"line {node.lineno}"
            case _:
                pass


@pytest.mark.timeout(120)
def test_every_module_can_be_imported_alone() -> None:
    # Libraries are loaded once; each module of ours is then the first in a fork of its own,
    # so that a circular import shows whichever end one begins at.
    script = """
import gc, importlib, os, sys
libraries, modules = (argument.split() for argument in sys.argv[1:])
for library in libraries:
    importlib.import_module(library)
gc.disable()  # children end before there is any garbage
failed = False
for module in modules:
    child = os.fork()
    if child == 0:
        importlib.import_module(module)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed = True
        print("cannot be imported alone:", module, file=sys.stderr)
sys.exit(failed)
"""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            " ".join(sorted(third_party(SOURCES))),
            " ".join(name for name in MODULES if not name.endswith("__main__")),
        ],
        cwd=ROOT,
        # What is compiled imports nothing more, and takes most of the time.
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_source_file_has_a_test_file(path: Path) -> None:
    inside = path.relative_to(ROOT / PACKAGE)
    if inside.as_posix() in UNTESTED or not has_code(path):
        return
    test = ROOT / "tests" / inside.with_name(f"test_{inside.name}")
    assert test.exists(), f"write {test.relative_to(ROOT)}"


def has_code(path: Path) -> bool:
    """Whether a file does something; constants, plain values and protocols do not."""
    functions = (
        node
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return any(
        not (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
        )
        for function in functions
        for statement in function.body
    )


def test_every_test_file_has_a_source_file() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        inside = path.relative_to(ROOT / "tests")
        if inside.parts[0] in OTHER_TESTS or inside.name in PROJECT_TESTS:
            continue
        source = inside.with_name(inside.name.removeprefix("test_"))
        assert (ROOT / PACKAGE / source).exists(), f"{inside} tests nothing"


def test_the_lists_of_exceptions_name_what_exists() -> None:
    for inside in UNTESTED:
        assert (ROOT / PACKAGE / inside).exists(), inside
        name = f"test_{Path(inside).name}"
        assert not (ROOT / "tests" / inside).with_name(name).exists(), inside


def test_what_is_imported_is_declared(project: dict[str, Any]) -> None:
    declared = {requirement_name(line) for line in project["dependencies"]}
    needed = {DISTRIBUTIONS.get(name, name).lower() for name in third_party(SOURCES)}
    assert needed <= declared


def test_every_dependency_is_explained(project: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "design" / "dependencies.md").read_text("utf-8")
    rows = set(re.findall(r"^\| `([\w-]+)`", page, re.MULTILINE))
    extras = project["optional-dependencies"].values()
    lines = itertools.chain(project["dependencies"], *extras)
    assert rows == {requirement_name(line) for line in lines}


def test_the_locks_hold_hashes_and_no_address() -> None:
    locks = list((ROOT / "requirements").glob("*.txt"))
    assert {lock.stem for lock in locks} == {"runtime", "dev"}
    for lock in locks:
        text = lock.read_text("utf-8")
        assert "://" not in text
        assert not re.search(r"^\s*-(?!-hash=)", text, re.MULTILINE), "an option"
        pins = re.findall(r"^[\w.-]+==", text, re.MULTILINE)
        hashed = re.findall(r"^[\w.-]+==.*\\\n {4}--hash=sha256:", text, re.MULTILINE)
        assert len(pins) == len(hashed) > 0
