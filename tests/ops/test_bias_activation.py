"""Bias and LeakyReLU, and their derivative with the bias's gradient, on every backend."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.ops.bias_activation import activate_, as_matrix, differentiate
from tests.compare import assert_matches
from tests.guarded import SIZES, place

FLOATS = (torch.float32, torch.float64)
SHAPES = [(rows, columns) for rows in (0, 1, 3) for columns in SIZES] + [
    (257, 33),  # above one block of the sums
    (3000, 70),  # above the size at which a second thread wakes
]


def _random(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, 1e-40, -1e-40], dtype=dtype)
    every = values.view(-1)[::5]  # so that vectors and what is behind the last of a row have them
    every.copy_(special[torch.arange(len(every)) % len(special)])
    return values


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.5])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_forward(backend: str, dtype: torch.dtype, biased: bool, slope: float) -> None:
    for shape in SHAPES:
        values = _random(shape, dtype, 1)
        bias = torch.linspace(-1, 1, shape[1], dtype=dtype) if biased else None
        placed = place(values, "misaligned")
        activate_(placed.view, bias, slope)
        wide = values.double() if bias is None else values.double() + bias.double()
        expected = F.relu(wide) if slope == 0 else F.leaky_relu(wide, slope)
        assert_matches(placed.view, expected, op="bias_activation", order=0, context=str(shape))
        placed.assert_untouched_outside()


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.5])
@pytest.mark.parametrize("target", ["elsewhere", "cotangents", "outputs"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_derivative_and_sums(backend: str, dtype: torch.dtype, target: str, slope: float) -> None:
    for shape in SHAPES:
        outputs = _random(shape, dtype, 2)
        cotangents = torch.randn(shape, dtype=torch.float64).to(dtype)
        factors = torch.full(shape, slope, dtype=torch.float64).masked_fill_(outputs > 0, 1.0)
        expected = factors * cotangents.double()
        for summed in {None, 0, shape[0] // 2, shape[0]}:
            d, y = place(cotangents, "misaligned"), place(outputs, "contiguous")
            own = place(torch.full(shape, torch.nan, dtype=dtype), "contiguous")
            result = {"elsewhere": own, "cotangents": d, "outputs": y}[target]
            sums = differentiate(d.view, y.view, result.view, slope, summed)
            op: dict[str, Any] = {"op": "bias_activation", "context": f"{shape} {summed}"}
            assert_matches(result.view, expected, order=1, **op)
            if summed is None:
                assert sums is None
            else:
                assert_matches(sums, expected[:summed].sum(0), order=2, **op)
            for placed in (d, y, own):
                placed.assert_untouched_outside()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_nan_stays(backend: str, dtype: torch.dtype) -> None:
    values = torch.zeros(5, 33, dtype=dtype)
    values[2, 7] = values[4, 32] = torch.nan
    for slope in (0.0, 0.2):
        outputs = values.clone()
        activate_(outputs, None, slope)
        assert torch.equal(outputs.isnan(), values.isnan())
    cotangents = torch.ones_like(values)
    sums = differentiate(values, cotangents, values.clone(), 0.2, 5)
    assert sums is not None
    assert sums.isnan().nonzero().flatten().tolist() == [7, 32]


def test_threads_do_not_show_in_the_results() -> None:
    outputs, cotangents = torch.randn(2, 5000, 40).unbind(0)
    expected = torch.where(outputs > 0, 1.0, 0.2) * cotangents.double()
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        result = torch.empty_like(outputs)
        found.append((result, differentiate(cotangents, outputs, result, 0.2, 4000)))
    torch.set_num_threads(before)
    assert torch.equal(found[0][0], found[1][0])
    assert found[1][1] is not None
    assert found[2][1] is not None
    assert torch.equal(found[1][1], found[2][1])
    for _, sums in found:
        assert_matches(sums, expected[:4000].sum(0), op="bias_activation", order=2)


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ((4, 3), torch.contiguous_format, (4, 3)),
        ((4, 5, 3), torch.contiguous_format, (20, 3)),
        ((4, 3, 5, 2), torch.channels_last, (40, 3)),
        ((4, 3, 5, 2), torch.contiguous_format, None),
        ((4, 3, 1, 1), torch.contiguous_format, (4, 3)),
        ((4, 3, 2, 5, 2), torch.channels_last_3d, (80, 3)),
        ((4,), torch.contiguous_format, None),
    ],
)
def test_as_matrix(shape: tuple[int, ...], layout: Any, expected: tuple[int, ...] | None) -> None:
    tensor = torch.randn(shape).contiguous(memory_format=layout)
    matrix = as_matrix(tensor)
    assert (None if matrix is None else tuple(matrix.shape)) == expected
    if matrix is not None:
        assert matrix.data_ptr() == tensor.data_ptr()
        channels = tensor.movedim(1, -1) if tensor.dim() > 3 else tensor
        assert torch.equal(matrix.flatten(), channels.flatten())


def test_arguments_are_named() -> None:
    good = torch.zeros(3, 4)
    with pytest.raises(ValueError, match=r"values had shape .* contiguous matrix"):
        activate_(torch.zeros(4, 3).t(), None, 0.2)
    with pytest.raises(ValueError, match="bias was"):
        activate_(good, torch.zeros(3), 0.2)
    with pytest.raises(ValueError, match=r"slope was -0\.1; it must not be negative"):
        activate_(good, None, -0.1)
    with pytest.raises(ValueError, match="outputs was"):
        differentiate(good, torch.zeros(3, 5), good, 0.2)
    with pytest.raises(ValueError, match="results was"):
        differentiate(good, good, good.double(), 0.2)
    with pytest.raises(ValueError, match="summed_rows was 4; it must be at most the 3 rows"):
        differentiate(good, good, good, 0.2, 4)
