"""GPU tests run where they are asked for: `pytest -m gpu`, on a machine that has one."""

from __future__ import annotations

import pytest
import torch

from fastwgan import backends


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what is marked gpu where torch finds none."""
    if torch.cuda.is_available():
        return
    reason = pytest.mark.skip(reason="needs a GPU: torch.cuda.is_available() is False")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(reason)


@pytest.fixture(params=backends.GPU_NAMES)
def gpu_backend(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    """Runs the test on each backend for GPUs that can run here."""
    name: str = request.param
    reason = backends.why_unavailable(name)
    if reason is not None:
        pytest.skip(f"{name}: {reason}")
    with backends.use_backend(name):
        yield name
