"""Every result of every operation within the units in the last place that are promised."""

from __future__ import annotations

import math

import pytest
import torch

from fastwgan.ops.bias_activation import differentiate
from tests.numerics.operations import ALL, CASES, HALVES, OPERATIONS
from tests.numerics.tables import measured_in_a_process
from tests.numerics.ulps import MP, truth_of, ulps
from tests.tolerances import ROUNDED_ONCE, ULPS


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
def test_errors_in_units_in_the_last_place(backend: str, name: str, dtype: torch.dtype) -> None:
    operation = OPERATIONS[name]
    if not operation.runs(backend, dtype):
        pytest.skip(f"{backend} has no kernel of {name} for {dtype}")
    worst = operation.measure(dtype)
    promised = {result: ULPS[name, result, dtype].value for result in worst}
    broken = {result: error for result, error in worst.items() if not error <= promised[result]}
    assert not broken, f"{broken} of {promised}"


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_steps_of_halves_by_kernels_are_rounded_once(backend: str, dtype: torch.dtype) -> None:
    """Computed in float32: no state is rounded before the step that it is read for."""
    if backend == "reference":
        pytest.skip("torch rounds each of its operations, which ULPS leaves room for")
    worst = OPERATIONS["rmsprop"].measure(dtype)
    assert max(worst.values()) <= ROUNDED_ONCE.value, worst


def test_sums_of_many_equal_rows(backend: str) -> None:
    """The worst that rounding does: half a unit each time, always to the same side.

    A sum row after row would lose more than a thousand units here.
    """
    rows, block = 100_000, 256
    outputs, cotangents = torch.ones(rows, 3), torch.full((rows, 3), 0.1)
    gradient = differentiate(cotangents, outputs, torch.empty_like(outputs), 0.2, rows)
    assert gradient is not None
    truth = truth_of(torch.float32, [rows * MP.mpf(cotangents[0, 0].item())] * 3)
    assert ulps(gradient, truth) <= (block + rows / block) / 2


@pytest.mark.nightly
def test_errors_of_the_triton_kernels_interpreted() -> None:
    pytest.importorskip("triton", reason="the extra `triton` is not installed")
    for key, error in measured_in_a_process("triton").items():
        name, result, dtype = key.split("/")
        assert error <= ULPS[name, result, getattr(torch, dtype)].value, key


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_units_are_counted_right(dtype: torch.dtype) -> None:
    """Among normal and subnormal numbers and at the range's end."""
    info = torch.finfo(dtype)
    least = info.smallest_normal * info.eps
    for number, unit in (
        (1.5, info.eps),
        (0.75, info.eps / 2),
        (1.5 * info.smallest_normal, least),
        (info.smallest_normal / 2, least),
        (least, least),
        (info.max, info.max * info.eps / (2 - info.eps)),
    ):
        for error in (0.0, 0.25, 1.0, 3.0):
            truth = truth_of(dtype, [MP.mpf(number) - MP.mpf(unit) * error])
            assert ulps(torch.tensor([number], dtype=dtype), truth) == error, number


def test_special_values_are_counted_right() -> None:
    nan, infinite = torch.tensor([math.nan]), torch.tensor([math.inf])
    one = truth_of(torch.float32, [MP.mpf(1)])
    above = truth_of(torch.float32, [MP.mpf("1e39")])
    assert (
        ulps(nan, one) == ulps(torch.tensor([1.0]), truth_of(torch.float32, [MP.nan])) == math.inf
    )
    assert ulps(nan, truth_of(torch.float32, [MP.nan])) == 0
    assert ulps(infinite, above) == 0
    assert ulps(-infinite, above) > 1e6
    assert ulps(torch.tensor([torch.finfo(torch.float32).max]), above) == 1
    assert ulps(torch.tensor([1 + 3 * 2.0**-23]), one) == 3
    assert ulps(torch.tensor([2.0**-149]), truth_of(torch.float32, [MP.mpf(0)])) == 1
    assert ulps(torch.tensor([3.0]), truth_of(torch.float32, [MP.mpf(1)], [MP.mpf(4)])) == 2**22
