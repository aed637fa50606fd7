"""Power iteration against singular values: the rate of theory, and matrices that are hard."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from fastwgan.ops.spectral_norm import spectral_norm

FLOATS = (torch.float32, torch.float64)


def _orthogonal(size: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0]


def _with_singular_values(values: list[float], rows: int, columns: int) -> tuple[Tensor, ...]:
    """A matrix, and its singular vectors of the given values as columns."""
    left, right = _orthogonal(rows)[:, : len(values)], _orthogonal(columns)[:, : len(values)]
    return left @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ right.T, left, right


def _unit(size: int, dtype: torch.dtype) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(size, dtype=torch.float64), dim=0).to(dtype)


def _iterate(weight: Tensor, steps: int, **more: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalised weight, sigma, u and v from a random start."""
    u, v = _unit(weight.shape[0], weight.dtype), _unit(weight.shape[1], weight.dtype)
    normalised, sigma = spectral_norm(
        [weight], [u], [v], dims=[0], n_power_iterations=steps, **more
    )
    return normalised[0], sigma[0], u, v


@pytest.mark.parametrize("ratio", [0.5, 0.9])
@pytest.mark.parametrize("first", ["u", "v"])
def test_each_iteration_gains_what_theory_says(backend: str, first: str, ratio: float) -> None:
    """With all but one singular value equal, the tangent of the angle shrinks by ratio² each time.

    The angle is between the first vector and the last half-step's; sigma is sqrt of a Rayleigh
    quotient, hence short of the largest value by the square of the angle: ratio^(4k).
    """
    sizes = {"u": 11, "v": 17}
    weight, left, right = _with_singular_values([1.0, *[ratio] * 10], sizes["u"], sizes["v"])
    first_vectors = {"u": left[:, 0], "v": right[:, 0]}
    last = "v" if first == "u" else "u"
    steps = 12
    vectors = {
        "u": left @ torch.full((11,), 11**-0.5, dtype=torch.float64),
        "v": right @ torch.full((11,), 11**-0.5, dtype=torch.float64),
    }
    tangent = math.sqrt(10)  # of the start, in the vector that is stepped last
    for step in range(1, steps + 1):
        _, sigma = spectral_norm(
            [weight], [vectors["u"]], [vectors["v"]], dims=[0], first=first, eps=0.0
        )
        tangent *= ratio**2
        along = torch.dot(vectors[last], first_vectors[last])
        across = (vectors[last] - along * first_vectors[last]).norm()
        torch.testing.assert_close((across / along).item(), tangent, rtol=1e-9, atol=1e-14)
        # sigma = |W x|, x the vector stepped before the last, at 1 / ratio times its tangent.
        square = (tangent / ratio) ** 2
        expected = math.sqrt((1 + ratio**2 * square) / (1 + square))
        torch.testing.assert_close(sigma.item(), expected, rtol=1e-13, atol=0)
        assert 1 - sigma.item() <= (1 - ratio**2) / 2 * 10 * ratio ** (4 * step - 2) + 1e-15


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("condition", [1e4, 1e12])
def test_ill_conditioned_matrices(backend: str, dtype: torch.dtype, condition: float) -> None:
    """Small singular values cost sigma nothing: its error is relative to the largest."""
    values = [condition ** (-k / 9) for k in range(10)]
    weight, *_ = _with_singular_values(values, 10, 14)
    hilbert = torch.tensor([[1 / (i + j + 1) for j in range(12)] for i in range(12)])
    for matrix in (weight, hilbert.double()):
        normalised, sigma, u, v = _iterate(matrix.to(dtype), 60)
        largest = torch.linalg.svdvals(matrix.to(dtype).double())[0]
        bound = 8 * torch.finfo(dtype).eps
        torch.testing.assert_close(sigma.double(), largest, rtol=bound, atol=0)
        torch.testing.assert_close(
            torch.linalg.svdvals(normalised.double())[0].item(), 1.0, rtol=bound, atol=0
        )
        residual = (matrix.to(dtype).double() @ v.double() / largest - u.double()).norm()
        assert residual <= bound


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("first", ["u", "v"])
def test_rank_one_needs_one_iteration(backend: str, dtype: torch.dtype, first: str) -> None:
    left, right = _unit(9, torch.float64), _unit(13, torch.float64)
    weight = (3.0 * torch.outer(left, right)).to(dtype)
    normalised, sigma, u, v = _iterate(weight, 1, first=first)
    bound = 16 * torch.finfo(dtype).eps
    torch.testing.assert_close(sigma.item(), 3.0, rtol=bound, atol=0)
    torch.testing.assert_close(abs(u.double() @ left).item(), 1.0, rtol=bound, atol=0)
    torch.testing.assert_close(abs(v.double() @ right).item(), 1.0, rtol=bound, atol=0)
    assert (normalised.double() - torch.outer(left, right)).norm() <= bound


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("first", ["u", "v"])
@pytest.mark.parametrize("shape", [(1, 23), (23, 1), (1, 1)])
def test_one_row_or_column(
    backend: str, dtype: torch.dtype, first: str, shape: tuple[int, int]
) -> None:
    """sigma is the norm, after one iteration and from any start but one across it."""
    weight = torch.randn(shape, dtype=torch.float64).to(dtype)
    normalised, sigma, u, v = _iterate(weight, 1, first=first)
    norm = weight.double().norm()
    bound = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(sigma.double(), norm, rtol=bound, atol=0)
    torch.testing.assert_close(
        torch.outer(u, v).double(), weight.double() / norm, rtol=2 * bound, atol=bound
    )
    torch.testing.assert_close(normalised.double().norm().item(), 1.0, rtol=bound, atol=0)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("first", ["u", "v"])
@pytest.mark.parametrize("repeated", [2, 9])
def test_repeated_largest_singular_values(
    backend: str, dtype: torch.dtype, first: str, repeated: int
) -> None:
    """u and v settle on some pair of the space; sigma and the pair belong to the largest value."""
    weight, *_ = _with_singular_values([2.0] * repeated + [1.0] * (9 - repeated), 9, 15)
    _, sigma, u, v = _iterate(weight.to(dtype), 40, first=first)
    bound = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(sigma.item(), 2.0, rtol=bound, atol=0)
    assert (weight @ v.double() - 2 * u.double()).norm() <= 2 * bound
    assert (weight.T @ u.double() - 2 * v.double()).norm() <= 2 * bound


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("first", ["u", "v"])
def test_start_across_the_first_vector(backend: str, dtype: torch.dtype, first: str) -> None:
    """The iteration stays where it is, exactly, on the value that belongs to its start."""
    weight = torch.diag(torch.tensor([4.0, 2.0, 1.0], dtype=dtype))
    u, v = (torch.tensor([0.0, 1.0, 0.0], dtype=dtype) for _ in range(2))
    _, sigma = spectral_norm([weight], [u], [v], dims=[0], n_power_iterations=3, first=first)
    assert sigma.item() == 2.0
    assert u.tolist() == v.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_zero_rows_and_columns_change_nothing(backend: str, dtype: torch.dtype) -> None:
    weight = torch.randn(6, 7, dtype=torch.float64)
    weight[[0, 4]] = 0
    weight[:, [2, 6]] = 0
    normalised, sigma, u, v = _iterate(weight.to(dtype), 100)
    bound = 8 * torch.finfo(dtype).eps
    largest = torch.linalg.svdvals(weight.to(dtype).double())[0]
    torch.testing.assert_close(sigma.double(), largest, rtol=bound, atol=0)
    assert u[[0, 4]].tolist() == [0.0, 0.0]
    assert v[[2, 6]].tolist() == [0.0, 0.0]
    assert torch.count_nonzero(normalised) == 4 * 5
