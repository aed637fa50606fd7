"""Near the ends of the range, nothing over- or underflows on the way to a result within it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from fastwgan.backends import use_backend
from fastwgan.ops.gradient_penalty.autograd import run_norm_penalty
from fastwgan.ops.rmsprop import rmsprop_
from fastwgan.ops.spectral_norm import spectral_norm
from tests.compare import assert_matches
from tests.numerics.ulps import exact, truth_of, ulps
from tests.ops.spectral_norm_cases import Group, Layers, make_group

FLOATS = (torch.float32, torch.float64)
SMALL: Layers = (((13, 37), 0), ((37, 13), 1), ((5, 3, 3, 3), 0))
SHARED: Layers = (((301, 260), 0),)  # by all threads
RESULTS = ("normalised", "u", "v", "sigma", "gradient")
# Powers of two: results are those of the unscaled weight, but for the order of sums.
EXPONENTS = {torch.float32: (-112, -80, 64, 112), torch.float64: (-990, -600, 520, 1000)}


def _normalised(group: Group, scale: float, first: str) -> tuple[list[Tensor], ...]:
    """Normalised weights, u, v, sigma / scale, the gradient of <normalised, weights as given>."""
    own = group.copy()
    weights = [(weight * scale).requires_grad_() for weight in own.weights]
    normalised, sigma = spectral_norm(
        weights, own.u, own.v, dims=own.dims, n_power_iterations=2, eps=0.0, first=first
    )
    gradients = torch.autograd.grad(normalised, weights, [weight.detach() for weight in weights])
    return [w.detach() for w in normalised], own.u, own.v, [sigma.detach() / scale], list(gradients)


def _check_scaled(layers: Layers, dtype: torch.dtype, first: str, exponents: Sequence[int]) -> None:
    group = make_group(layers, dtype)
    expected = _normalised(group.to(torch.float64), 1.0, first)
    for exponent in exponents:
        found = _normalised(group, 2.0**exponent, first)
        for name, actual, wanted in zip(RESULTS, found, expected, strict=True):
            for a, b in zip(actual, wanted, strict=True):
                context = f"{name} at 2^{exponent}"
                order = int(name == "gradient")
                assert_matches(a, b, op="spectral_norm", order=order, context=context)


@pytest.mark.parametrize("first", ["u", "v"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_spectral_norm_of_scaled_weights(backend: str, dtype: torch.dtype, first: str) -> None:
    _check_scaled(SMALL, dtype, first, EXPONENTS[dtype])


def test_spectral_norm_of_scaled_weights_by_a_team() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with use_backend("cpu"):
            _check_scaled(SHARED, torch.float64, "v", (-600, 520))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("dtype", "exponent"),
    [
        *((torch.float32, exponent) for exponent in (-140, -130, 0, 126)),
        *((torch.float64, exponent) for exponent in (-1030, 0, 1022)),
    ],
    ids=str,
)
def test_sigma_whose_inverse_is_no_normal_number(
    backend: str, dtype: torch.dtype, exponent: int, sign: float
) -> None:
    """Powers of four in a diagonal matrix: all is exact, and zeros of a gradient stay zeros."""
    unit = 2.0**exponent
    weight = torch.tensor([[1.0, 0.0], [0.0, 0.25]], dtype=torch.float64)
    cotangent = torch.tensor([[0.5, 0.0], [2.0, 0.0]], dtype=torch.float64)
    given = (weight * unit).to(dtype).requires_grad_()
    u = torch.tensor([sign, 0.0], dtype=dtype)
    v = torch.tensor([1.0, 0.0], dtype=dtype)
    normalised, sigma = spectral_norm([given], [u], [v], dims=[0], n_power_iterations=0)
    (gradient,) = torch.autograd.grad(normalised, given, (cotangent * unit).to(dtype))
    assert sigma.item() == sign * unit
    assert torch.equal(normalised[0].double(), sign * weight)
    # sigma = sign W[0, 0], so that W[0, 0] / sigma has no derivative and the others' is 1 / sigma.
    assert torch.equal(gradient.double(), sign * cotangent * torch.tensor([[0.0, 1.0], [1.0, 1.0]]))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_normalised_weights_up_to_the_largest_number(backend: str, dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    for share in torch.linspace(0.1, 1.0, 37, dtype=torch.float64).tolist():
        weight = torch.full((1, 1), share * largest, dtype=dtype)
        one = [torch.ones(1, dtype=dtype)], [torch.ones(1, dtype=dtype)]
        normalised, sigma = spectral_norm([weight], *one, dims=[0])
        assert sigma.item() == weight.item()
        assert ulps(normalised[0], truth_of(dtype, exact(torch.ones(1)))) <= 2


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("magnitude", [1e-30, 1e30])
def test_penalty_of_gradients_whose_squares_float32_lacks(
    backend: str, dtype: torch.dtype, magnitude: float
) -> None:
    gradient = torch.full((2, 5), magnitude, dtype=dtype)
    gradient[1, 1:] = 0.0
    penalty, norms, cotangent = run_norm_penalty(gradient, "wgan-gp", 1.0, 10.0)
    expected = magnitude * torch.tensor([math.sqrt(5), 1.0], dtype=torch.float64)
    torch.testing.assert_close(norms.double(), expected, rtol=1e-6, atol=0)
    assert torch.count_nonzero(cotangent) == 6
    assert cotangent.isfinite().all()
    if magnitude < 1:
        assert penalty.item() == 10.0
    else:  # above float32's range, in float64's
        assert penalty.isinf() == (dtype is torch.float32)


@pytest.mark.parametrize("kind", ["wgan-gp", "dragan"])
@pytest.mark.parametrize(
    ("dtype", "exponent"), [(torch.float32, -135), (torch.float64, -1035)], ids=str
)
def test_cotangent_at_a_norm_whose_inverse_is_out_of_range(
    backend: str, dtype: torch.dtype, exponent: int, kind: str
) -> None:
    """The slope is -2 there; the unit vector that it multiplies is (0.6, 0.8)."""
    gradient = torch.tensor([[3.0, 4.0], [4.0, -3.0]], dtype=torch.float64) * 2.0**exponent
    _, norms, cotangent = run_norm_penalty(gradient.to(dtype), kind, 1.0, 10.0)
    assert norms.double().tolist() == [5 * 2.0**exponent] * 2
    expected = -10.0 * torch.tensor([[0.6, 0.8], [0.8, -0.6]], dtype=torch.float64)
    torch.testing.assert_close(cotangent.double(), expected, rtol=1e-6, atol=0)


def test_float32_norms_by_kernels_are_rounded_once(backend: str) -> None:
    """Accumulated in double: the law of the C++ kernels."""
    if backend in ("reference", "triton"):
        pytest.skip("their sums are float32")
    gradient = torch.rand(7, 4099, dtype=torch.float32) + 0.5
    _, norms, _ = run_norm_penalty(gradient, "wgan-gp", 1.0, 10.0)
    truth = [math.sqrt(math.fsum(x * x for x in row)) for row in gradient.double().tolist()]
    assert (
        ulps(norms, truth_of(torch.float32, exact(torch.tensor(truth, dtype=torch.float64))))
        <= 0.5001
    )


@pytest.mark.parametrize("magnitude", [1e-30, 1e-20, 1e30, math.inf, math.nan])
def test_rmsprop_leaves_the_range_where_torch_does(backend: str, magnitude: float) -> None:
    """A square above the range makes the average infinite: the parameter stands still for good."""
    numbers: dict[str, Any] = {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.0}
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    parameter.grad = torch.tensor([magnitude, 1.0, -magnitude])
    ours, square = parameter.detach().clone(), torch.zeros(3)
    peer = torch.optim.RMSprop([parameter], foreach=False, **numbers)
    for _ in range(3):
        peer.step()
        rmsprop_(
            [ours], [parameter.grad], [square], [], [],
            momentum=0.0, maximize=False, weight_clip=None, **numbers,
        )  # fmt: skip
    torch.testing.assert_close(ours, parameter.detach(), rtol=1e-6, atol=0, equal_nan=True)
    theirs = peer.state[parameter]["square_avg"]
    torch.testing.assert_close(square, theirs, rtol=1e-6, atol=0, equal_nan=True)
    assert square.isinf().any() == (magnitude in (1e30, math.inf))
