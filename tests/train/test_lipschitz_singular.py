from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fastwgan.train import lipschitz_singular
from fastwgan.train.lipschitz_singular import (
    by_power_iteration,
    by_svd,
    largest_singular_value,
)
from tests.train.lipschitz_cases import Critic, dense, norm, normal, read

CONVOLUTIONS = {
    "plain": (nn.Conv2d(2, 3, 3), (2, 6, 7)),
    "padded": (nn.Conv2d(2, 3, 3, padding=1), (2, 6, 7)),
    "strided": (nn.Conv2d(2, 4, 4, stride=2, padding=1), (2, 8, 6)),
    "stride not met by the size": (nn.Conv2d(2, 4, 3, stride=2), (2, 8, 6)),
    "dilated": (nn.Conv2d(2, 3, 3, dilation=2, padding=2), (2, 7, 6)),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 5, 5)),
    "same": (nn.Conv2d(1, 2, (3, 5), padding="same"), (1, 5, 6)),
    "circular": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 6, 5)),
    "reflected": (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 6, 5)),
    "replicated": (nn.Conv2d(2, 3, 5, padding=2, padding_mode="replicate"), (2, 6, 5)),
    "one dimension": (nn.Conv1d(3, 4, 3, padding=1), (3, 9)),
    "three dimensions": (nn.Conv3d(1, 2, 2, padding=1), (1, 3, 4, 3)),
    "transposed": (nn.ConvTranspose2d(3, 2, 3, stride=2, output_padding=1), (3, 3, 4)),
    "transposed, grouped": (nn.ConvTranspose1d(4, 4, 3, groups=2), (4, 5)),
}


def matrix_of(layer: nn.Module) -> Tensor:
    """What spectral norm divides by the norm of."""
    weight = layer.weight.detach()
    assert isinstance(weight, Tensor)
    transposed = isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d))
    return (weight.transpose(0, 1) if transposed else weight).flatten(1)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_norm_of_a_convolution_is_that_of_its_dense_matrix(name: str) -> None:
    layer, shape = CONVOLUTIONS[name]
    layer = layer.double()
    nn.init.normal_(layer.weight)
    ((found,), bound) = read(Critic(layer), normal(2, *shape))
    expected = norm(dense(layer, shape))
    assert found.norm == pytest.approx(expected, rel=1e-10)
    assert found.sigma == pytest.approx(norm(matrix_of(layer)), rel=1e-12)
    assert found.sigma_power == pytest.approx(found.sigma, rel=1e-10)
    assert abs(expected / found.sigma - 1) > 0.01, "a case that can't tell the two apart"
    assert found.norm_residual is not None
    assert found.norm_residual < 1e-6
    assert (found.weight, found.input) == (tuple(layer.weight.shape), shape)
    outputs = layer(normal(1, *shape)).numel()
    assert bound.value == pytest.approx(expected * outputs**0.5, rel=1e-10)


@pytest.mark.parametrize("shape", [(1, 1), (7, 7), (9, 4), (4, 9), (1, 12), (12, 1)])
def test_of_a_matrix_both_ways_agree(shape: tuple[int, int]) -> None:
    matrix = normal(*shape)
    expected = float(torch.linalg.svdvals(matrix)[0])
    found = by_power_iteration(matrix, torch.Generator().manual_seed(0))
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert found.residual < 1e-6
    assert by_svd(matrix) == pytest.approx(expected, rel=1e-12)


def test_singular_values_that_lie_close_together_are_told_apart() -> None:
    values = 1 - torch.arange(200, dtype=torch.float64) / 1e5
    left, _ = torch.linalg.qr(normal(200, 200))
    right, _ = torch.linalg.qr(normal(200, 200, seed=1))
    matrix = left @ values.diag() @ right
    found = by_power_iteration(matrix, torch.Generator().manual_seed(0))
    assert found.value == pytest.approx(1, rel=1e-9)


def test_a_map_that_is_zero_has_norm_zero() -> None:
    found = by_power_iteration(torch.zeros(5, 4), torch.Generator().manual_seed(0))
    assert (found.value, found.residual) == (0, 0)


def test_the_residual_says_how_far_the_iteration_is(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = normal(60, 60)
    expected = float(torch.linalg.svdvals(matrix)[0])
    residuals = []
    for steps in (8, 16, 50):
        monkeypatch.setattr(lipschitz_singular, "_STEPS", steps)
        monkeypatch.setattr(lipschitz_singular, "_RESTARTS", 1)
        found = largest_singular_value(matrix.mv, matrix.T.mv, normal(60, seed=1))
        left = matrix.T @ (matrix @ _vector(matrix, steps)) / found.value
        actual = left / found.value - _vector(matrix, steps)
        assert found.residual == pytest.approx(float(actual.norm()), rel=1e-6, abs=1e-7)
        assert found.value <= expected * (1 + 1e-12)
        residuals.append(found.residual)
    assert residuals[0] > 1e-3 > 1e-5 > residuals[2]
    assert residuals == sorted(residuals, reverse=True)


def _vector(matrix: Tensor, steps: int) -> Tensor:
    found, _ = lipschitz_singular._best_of_basis(
        matrix.mv, matrix.T.mv, normal(matrix.shape[1], seed=1), steps, 1e-7
    )
    return found


def test_a_basis_too_large_to_keep_is_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = normal(60, 60)
    monkeypatch.setattr(lipschitz_singular, "_BASIS", 60 * 20)
    monkeypatch.setattr(lipschitz_singular, "_RESTARTS", 30)
    found = by_power_iteration(matrix, torch.Generator().manual_seed(0))
    assert found.residual < 1e-7
    assert found.value == pytest.approx(norm(matrix), rel=1e-12)


def test_a_matrix_too_large_for_its_decomposition_has_power_iteration_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    critic = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1)).double()
    expected = [norm(critic[0].weight), norm(critic[2].weight)]
    monkeypatch.setattr(lipschitz_singular, "_SVD_WORK", 100)
    layers, bound = read(critic, normal(2, 6))
    assert [layer.sigma for layer in layers] == [None, pytest.approx(expected[1])]
    assert [layer.sigma_power for layer in layers] == pytest.approx(expected, rel=1e-12)
    assert [layer.norm for layer in layers] == pytest.approx(expected, rel=1e-12)
    assert bound.value == pytest.approx(expected[0] * expected[1], rel=1e-12)


def test_a_norm_that_has_not_converged_bounds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lipschitz_singular, "_STEPS", 8)
    monkeypatch.setattr(lipschitz_singular, "_RESTARTS", 1)
    layer = nn.Conv2d(3, 4, 3, padding=1).double()
    ((found,), bound) = read(Critic(layer), normal(2, 3, 12, 12))
    expected = norm(dense(layer, (3, 12, 12)))
    assert found.norm_residual is not None
    assert found.norm_residual > 1e-3
    assert 0.5 * expected < found.norm < expected
    assert found.note.startswith("at least")
    assert bound.value is None
    assert "converged" in bound.note


def test_large_products_are_found_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, shape = CONVOLUTIONS["padded"]
    layer = layer.double()
    monkeypatch.setattr(lipschitz_singular, "_PRECISE_WORK", 0)
    ((found,), _) = read(Critic(layer), normal(2, *shape))
    expected = norm(dense(layer, shape))
    assert found.norm == pytest.approx(expected, rel=1e-5)
    assert found.norm != pytest.approx(expected, rel=1e-13), "float64 after all"
