from __future__ import annotations

import resource

import pytest

from live777py.aio.descriptors import raise_limit


@pytest.mark.parametrize("is_refused", [False, True])
def test_the_limit_is_what_the_system_allows(
    is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = [64, 4096]

    def change(_number: int, wanted: tuple[int, int]) -> None:
        if is_refused:
            raise ValueError("not allowed")
        limits[:] = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", change)
    raise_limit()
    assert limits == [64 if is_refused else 4096, 4096]
