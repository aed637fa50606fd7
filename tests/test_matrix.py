"""What `make matrix` would install, and what it writes of each outcome."""

from __future__ import annotations

import importlib.util
import re
import sys
from types import ModuleType

import pytest

from tests.documents import ROOT, text_of

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="the script reads TOML")


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    spec = importlib.util.spec_from_file_location("matrix", ROOT / "scripts/matrix.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["matrix"] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


def test_the_oldest_are_the_floors_of_pyproject(matrix: ModuleType) -> None:
    found, beside = matrix.floors(), len(matrix.BESIDE_FLOORS)
    floors = found[:-beside]
    text = text_of("pyproject.toml")
    assert tuple(found[-beside:]) == matrix.BESIDE_FLOORS
    assert "numpy==1.26.4" in matrix.BESIDE_FLOORS
    assert len(floors) > 8
    for floor in floors:
        assert f'"{floor.replace("==", ">=")}' in text
    assert not any("pytest" in floor for floor in floors)


def test_the_floor_of_torch_is_tried(matrix: ModuleType) -> None:
    (floor,) = re.findall(r'"torch>=([\d.]+)"', text_of("pyproject.toml"))
    tried = {environment.torch for environment in matrix.environments()}
    assert min(tried, key=lambda name: [int(part) for part in name.split(".")]).startswith(floor)


def test_all_that_is_to_run_is_there(matrix: ModuleType) -> None:
    for name in (*matrix.PART, *matrix.TRAINER, matrix.ALONE):
        assert (ROOT / name).is_file(), name


def test_a_row_says_what_failed_and_what_is_missing(matrix: ModuleType) -> None:
    environment = matrix.Environment("3.13", "2.13.0", "as in constraints.txt")
    missing = matrix.Row(environment, missing="no Python 3.13 here")
    ran = matrix.Row(environment, "3.13.0", {"torch": "2.13.0", "numpy": "2.4.6"}, ["9 passed"])
    failed = matrix.Row(environment, "3.13.0", outcomes=["**failed**: 1 failed, 8 passed"])
    page = matrix.page([missing, ran, failed])
    assert (
        "| 3.13 | 2.13.0 | as in constraints.txt | not run: no Python 3.13 here |\n"
        "| 3.13.0 | 2.13.0 | as in constraints.txt: numpy 2.4.6 | 9 passed |\n"
        "| 3.13.0 | 2.13.0 | as in constraints.txt | **failed**: 1 failed, 8 passed |\n"
    ) in page
