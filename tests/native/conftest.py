"""The compiler of the native checks, one for all their tests."""

from __future__ import annotations

import pytest

from tests.native.toolchain import Toolchain


@pytest.fixture(scope="session")
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    return Toolchain(tmp_path_factory.mktemp("native"))
