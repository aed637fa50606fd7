"""Fixtures of the tests of modules with spectral norm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fastwgan import _spectral_group, _spectral_hook, backends


@pytest.fixture(params=("reference", "cpu"))
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test on each backend. The operation's own tests tell the instruction sets apart."""
    with backends.use_backend(request.param):
        yield request.param


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the number of layers of every call of the operation."""
    seen: list[int] = []
    for module in (_spectral_group, _spectral_hook):
        original = module.spectral_norm

        def counted(weights: Any, *args: Any, _original: Any = original, **kwargs: Any) -> Any:
            seen.append(len(weights))
            return _original(weights, *args, **kwargs)

        monkeypatch.setattr(module, "spectral_norm", counted)
    return seen
