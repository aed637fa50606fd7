"""Derivatives of interpolation and penalty, and the two ways a call can take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.overrides import TorchFunctionMode

from fastwgan import backends
from fastwgan.ops.gradient_penalty import interpolate, norm_penalty
from fastwgan.ops.gradient_penalty.autograd import run_interpolate, run_norm_penalty
from tests.compare import assert_gradients_match, assert_matches
from tests.guarded import assert_same_bits
from tests.ops.gradient_penalty_cases import HALVES, KINDS, WIDE, gradients, samples, wide

NORM = "gradient_penalty_norm"


class Passing(TorchFunctionMode):
    """Does nothing, which is enough to send every call through the library."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


def _library_norm(gradient: Tensor, kind: str, target: float, weight: float) -> Tensor:
    with Passing():
        return norm_penalty(gradient, kind, target, weight)[0]


def _direct_norm(gradient: Tensor, kind: str, target: float, weight: float) -> Tensor:
    return norm_penalty(gradient, kind, target, weight)[0]


def _library_mix(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    with Passing():
        return interpolate(real, fake, alpha)


def _plain(gradient: Tensor, kind: str, target: float, weight: float) -> Tensor:
    norms = gradient.double().norm(dim=1)
    excess = {
        "r1": norms,
        "r2": norms,
        "wgan-lp": (norms - target).clamp(min=0),
    }.get(kind, norms - target)
    return weight * excess.square().mean()


@pytest.mark.parametrize("way", [_direct_norm, _library_norm], ids=["direct", "library"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_of_the_penalty(backend: str, way: Any, kind: str) -> None:
    gradient = gradients(4, 5, torch.float64).requires_grad_()

    def penalty(g: Tensor) -> Tensor:
        return way(g, kind, 1.0, 10.0)  # type: ignore[no-any-return]

    assert gradcheck(penalty, (gradient,))
    assert gradgradcheck(penalty, (gradient,))
    # Every cotangent of the scalar, its second derivative's included, is a function of g too.
    assert gradgradcheck(lambda g: penalty(g).square(), (gradient,))


@pytest.mark.parametrize("way", [interpolate, _library_mix], ids=["direct", "library"])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_gradcheck_of_the_interpolates(backend: str, way: Any, groups: int) -> None:
    real, fake = (t.requires_grad_() for t in samples((4, 3, 2), torch.float64))
    alpha = torch.rand(groups, dtype=torch.float64)
    assert gradcheck(lambda r, f: way(r, f, alpha), (real, fake))
    assert gradgradcheck(lambda r, f: way(r, f, alpha), (real, fake))
    other = torch.randn(4, 3, 2, dtype=torch.float64)  # of its own memory: gradcheck moves inputs
    assert gradcheck(lambda r: way(r, other, alpha), (real,))
    assert gradcheck(lambda f: way(other, f, alpha), (fake,))


@pytest.mark.parametrize("way", [_direct_norm, _library_norm], ids=["direct", "library"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_derivatives_to_the_third_order(
    backend: str, dtype: torch.dtype, kind: str, way: Any
) -> None:
    directions = [torch.randn(5, 33, dtype=torch.float64) for _ in range(2)]

    def orders(f: Callable[..., Tensor], leaf: Tensor) -> list[Tensor]:
        """First, second and third derivatives, each along a fixed direction."""
        (first,) = grad(f(leaf, kind, 1.0, 10.0).square(), leaf, create_graph=True)
        (second,) = grad((first * directions[0].to(leaf.dtype)).sum(), leaf, create_graph=True)
        (third,) = grad((second * directions[1].to(leaf.dtype)).sum(), leaf)
        return [first, second, third]

    values = gradients(5, 33, dtype)
    expected = orders(_plain, values.double().requires_grad_())
    actual = orders(way, values.clone().requires_grad_())
    for index, (got, want) in enumerate(zip(actual, expected, strict=True)):
        order = min(index + 1, 2)
        assert_gradients_match(
            [got], [want], op=NORM, order=order, context=f"derivative {index + 1}"
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", [_direct_norm, _library_norm], ids=["direct", "library"])
def test_all_derivatives_at_a_zero_norm_are_finite(backend: str, kind: str, way: Any) -> None:
    gradient = gradients(3, 7, torch.float64)
    gradient[1] = 0
    gradient.requires_grad_()
    (first,) = grad(way(gradient, kind, 1.0, 10.0), gradient, create_graph=True)
    assert bool((first[1] == 0).all())
    (second,) = grad(first.sum(), gradient, create_graph=True)
    assert bool(second.isfinite().all())
    share = 10.0 / 3
    expected = 2 * share if kind in ("r1", "r2") else 0.0  # |g|² is smooth there, |g| is not
    assert_matches(second[1], torch.full((7,), expected, dtype=torch.float64), op=NORM, order=2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_gradients_of_half_precision(dtype: torch.dtype, kind: str) -> None:
    gradient = gradients(5, 33, dtype).requires_grad_()
    penalty, norms = norm_penalty(gradient, kind, 1.0, 10.0)
    assert penalty.dtype is norms.dtype is torch.float32
    (actual,) = grad(penalty, gradient)
    leaf = gradient.detach().double().requires_grad_()
    (expected,) = grad(_plain(leaf, kind, 1.0, 10.0), leaf)
    assert actual.dtype is dtype
    assert_gradients_match([actual], [expected], op=NORM, order=1)


def test_norms_carry_no_gradient_on_either_way(backend: str) -> None:
    gradient = gradients(3, 5, torch.float32).requires_grad_()
    assert not norm_penalty(gradient, "wgan-gp", 1.0, 10.0)[1].requires_grad
    with Passing():
        assert not norm_penalty(gradient, "wgan-gp", 1.0, 10.0)[1].requires_grad


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_direct_path_equals_library_path(backend: str, dtype: torch.dtype, kind: str) -> None:
    leaf = gradients(5, 97, dtype).requires_grad_()
    results = []
    for way in (_direct_norm, _library_norm):
        penalty = way(leaf, kind, 1.0, 10.0)
        (first,) = grad(penalty, leaf)
        results.append((penalty, first))
    assert_same_bits(results[1][0], results[0][0])
    assert_matches(results[1][1], results[0][1].double(), op=NORM, order=1)
    real, fake = samples((4, 97), dtype)
    alpha = torch.rand(4, dtype=dtype)
    assert_same_bits(_library_mix(real, fake, alpha), interpolate(real, fake, alpha))


# Without the compiler's part, which is the same for every layout and takes a second each.
QUICK = ("test_schema", "test_autograd_registration", "test_faketensor")


@pytest.mark.parametrize("dtype", WIDE, ids=str)
@pytest.mark.parametrize("kind", ["wgan-gp", "r1"])
def test_opcheck_of_the_norm(dtype: torch.dtype, kind: str) -> None:
    operation = torch.ops.fastwgan.gradient_penalty_norm
    for gradient in (gradients(7, 5, dtype).t().contiguous().t(), gradients(5, 14, dtype)[:, ::2]):
        torch.library.opcheck(
            operation, (gradient.requires_grad_(), kind, 1.0, 10.0), test_utils=QUICK
        )
    if dtype is torch.float32:
        gradient = gradients(5, 7, dtype).requires_grad_()
        torch.library.opcheck(operation, (gradient, kind, 1.0, 10.0))


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_opcheck_of_the_interpolates(name: str) -> None:
    operation = torch.ops.fastwgan.gradient_penalty_interpolate
    real, fake = samples((4, 3, 5, 2), torch.float32)
    last = torch.channels_last
    pairs = [
        (real.to(memory_format=last), fake.to(memory_format=last)),
        (real.to(memory_format=last), fake),
        (real, fake.to(memory_format=last)),
        (real.transpose(1, 3), fake.transpose(1, 3)),
        (real[:, ::2], fake[:, ::2]),
    ]
    alpha = torch.rand(2)
    with backends.use_backend(name):
        for one, two in pairs:
            arguments = (one.clone().requires_grad_(), two, alpha)
            torch.library.opcheck(operation, arguments, test_utils=QUICK)
        torch.library.opcheck(operation, (real.clone().requires_grad_(), fake, alpha))
        wide = (real.double().requires_grad_(), fake.double(), alpha.double())
        torch.library.opcheck(operation, wide, test_utils=QUICK)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_opcheck_of_half_precision(dtype: torch.dtype) -> None:
    gradient = gradients(5, 7, dtype).requires_grad_()
    torch.library.opcheck(
        torch.ops.fastwgan.gradient_penalty_norm, (gradient, "r1", 0.0, 10.0), test_utils=QUICK
    )
    real, fake = samples((4, 7), dtype)
    torch.library.opcheck(
        torch.ops.fastwgan.gradient_penalty_interpolate,
        (real, fake, torch.rand(4)),
        test_utils=QUICK,
    )


def test_fake_tensors_have_the_shapes_and_strides_of_real_ones(backend: str) -> None:
    real, fake = samples((4, 3, 5, 2), torch.float32)
    gradient = gradients(3, 7, torch.float32)
    for one, two in (
        (real, fake),
        (real.transpose(1, 2), fake.transpose(1, 2)),
        (real.transpose(0, 1), fake.transpose(0, 1)),
        (real.to(memory_format=torch.channels_last), fake),
    ):
        alpha = torch.rand(one.shape[0])
        truth = run_interpolate(one, two, alpha)
        with FakeTensorMode() as mode:
            shown = interpolate(*(mode.from_tensor(t) for t in (one, two, alpha)))
        assert (shown.shape, shown.stride()) == (truth.shape, truth.stride())
    with FakeTensorMode() as mode:
        shown_norm = norm_penalty(mode.from_tensor(gradient), "r1", 0.0, 1.0)
    for shown, truth in zip(
        shown_norm, run_norm_penalty(gradient, "r1", 0.0, 1.0)[:2], strict=True
    ):
        assert (shown.shape, shown.dtype) == (truth.shape, wide(gradient.dtype))
