"""A run over two processes equals that of one, to rounding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fastwgan.train import Processes, checkpoint, plots
from tests.train import processes_recipe as recipe
from tests.train.ranks import Ranks
from tests.train.settings import assert_same_state, leaves, untimed

# Sums over halves round otherwise than over the whole, by 1e-16 of them; nine steps let that grow.
TOLERANCE = 1e-10


@pytest.fixture(scope="module")
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def _undrawn() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr(plots, "draw", lambda *arguments: None)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes have trained."""
    folder = tmp_path_factory.mktemp("two")
    with Ranks(folder, recipe.train_all, folder) as ranks:
        for ended in ranks.end():
            assert ended.status == 0, ended.errors
    return folder


@pytest.fixture(scope="module")
def results(two: Path) -> list[dict[str, Any]]:
    return [torch.load(two / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, _double: None, _undrawn: None) -> dict[str, Path]:
    """What one process has trained."""
    folder = tmp_path_factory.mktemp("one")
    for name in recipe.RUNS:
        recipe.begin(name, folder / name, Processes()).go()
    return {name: folder / name for name in recipe.RUNS}


def _assert_equal_to_rounding(actual: object, expected: object) -> None:
    found, wanted = dict(leaves(actual)), dict(leaves(expected))
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if isinstance(value, Tensor) and value.is_floating_point():
            torch.testing.assert_close(found[name], value, rtol=TOLERANCE, atol=TOLERANCE)
        elif isinstance(value, Tensor):
            assert torch.equal(found[name], value), name
        elif isinstance(value, float):
            assert found[name] == pytest.approx(value, rel=TOLERANCE, abs=TOLERANCE), name
        else:
            assert found[name] == value, name


def _assert_equal_runs(actual: Path, expected: Path) -> None:
    ours, theirs = (checkpoint.load(path / "checkpoint.pt") for path in (actual, expected))
    assert ours["step"] == theirs["step"] == recipe.CONFIG["steps"]
    assert ours["config"] == theirs["config"]
    _assert_equal_to_rounding(ours["trainer"], theirs["trainer"])
    _assert_equal_to_rounding(untimed(actual), untimed(expected))


@pytest.mark.parametrize("name", recipe.RUNS)
def test_two_processes_equal_one_to_rounding(two: Path, one: dict[str, Path], name: str) -> None:
    _assert_equal_runs(two / name, one[name])


@pytest.mark.parametrize("name", recipe.RUNS)
def test_both_processes_end_with_the_same_bits(results: list[dict[str, Any]], name: str) -> None:
    first, second = (result["states"][name] for result in results)
    assert_same_state(first, second)
    spectral = [key for key in first["critic"] if key.endswith("_u")]
    assert bool(spectral) == ("sn" in name)


def test_a_state_that_differs_is_aligned(results: list[dict[str, Any]]) -> None:
    first, second = (result["aligned"] for result in results)
    assert_same_state(second, first)
    before = results[0]["states"][list(recipe.RUNS)[-1]]
    assert_same_state(first, [before[part] for part in recipe.PARTS])


def test_a_run_goes_on_under_any_number_of_processes(two: Path, one: dict[str, Path]) -> None:
    _assert_equal_runs(two / "parts", one[recipe.RESUMED])


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("name", recipe.BATCHES)
def test_a_synced_batch_norm_is_that_of_the_whole_batch(
    results: list[dict[str, Any]], name: str
) -> None:
    expected = recipe.normalised(name, Processes())
    halves = [result["layers"][name] for result in results]
    assert halves[0].keys() == halves[1].keys() == expected.keys()
    for key, whole in expected.items():
        first, second = (half[key] for half in halves)
        if key.startswith(("running", "num_batches", "weight", "bias")) and "grad" not in key:
            assert torch.equal(first, second), key
            joined = first
        elif key in ("weight gradient", "bias gradient"):
            joined = first + second  # each has its own rows' share
        else:
            joined = torch.cat((first, second))
        torch.testing.assert_close(joined, whole, rtol=1e-11, atol=1e-12)
