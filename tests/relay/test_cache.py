from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from live777py.relay import cache


def test_the_directory_is_named_for_the_state_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cache.fingerprint({})
    assert cache.fingerprint({}) == before
    assert cache.fingerprint({"NUMBA_BOUNDSCHECK": "1"}) != before
    package = tmp_path / "relay"
    shutil.copytree(cache._PACKAGE, package)
    shutil.copytree(cache._PACKAGE.parent / "protocol", tmp_path / "protocol")
    monkeypatch.setattr(cache, "_PACKAGE", package)
    assert cache.fingerprint({}) == before
    with (package / "wire.py").open("a") as file:
        file.write("# changed\n")
    assert cache.fingerprint({}) != before


def test_the_parent_is_chosen_by_the_environment(tmp_path: Path) -> None:
    name = cache.fingerprint({})
    chosen = cache.directory({"LIVE777_CACHE": str(tmp_path / "a"), "HOME": "/x"})
    assert chosen == tmp_path / "a" / name
    assert chosen.is_dir()
    xdg = cache.directory({"XDG_CACHE_HOME": str(tmp_path / "b"), "HOME": "/x"})
    assert xdg == tmp_path / "b" / "live777py" / name
    home = cache.directory({"HOME": str(tmp_path / "c")})
    assert home == tmp_path / "c" / ".cache" / "live777py" / name


def test_where_nothing_can_be_written_there_is_no_cache(tmp_path: Path) -> None:
    assert cache.directory({}) is None
    (tmp_path / "file").write_text("")
    assert cache.directory({"LIVE777_CACHE": str(tmp_path / "file")}) is None
