"""Derivatives of the operation of every order, and which of its inputs and outputs take part."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fastwgan.ops.spectral_norm import reference, spectral_norm
from tests.compare import assert_gradients_match
from tests.ops.spectral_norm_cases import Group, make_group

SMALL = (((3, 4), 0), ((2, 3, 2), 1), ((5,), 0), ((1, 3), 0))


def _function_of_weights(group: Group, first: str = "v") -> Callable[..., tuple[Tensor, ...]]:
    """(sigma, *normalised) with u and v held, as autograd holds them."""

    def normalise(*weights: Tensor) -> tuple[Tensor, ...]:
        normalised, sigma = spectral_norm(
            list(weights),
            [each.clone() for each in group.u],
            [each.clone() for each in group.v],
            dims=group.dims,
            n_power_iterations=0,
            first=first,
        )
        return (sigma, *normalised)

    return normalise


@pytest.mark.parametrize("first", ["u", "v"])
def test_gradcheck_and_gradgradcheck(backend: str, first: str) -> None:
    group = make_group(SMALL, torch.float64)
    weights = [weight.requires_grad_() for weight in group.weights]
    function = _function_of_weights(group, first)
    assert torch.autograd.gradcheck(function, weights)
    assert torch.autograd.gradgradcheck(function, weights)


def test_third_order(backend: str) -> None:
    group = make_group([((2, 3), 0)], torch.float64)
    weight = group.weights[0].requires_grad_()
    function = _function_of_weights(group)

    def gradient(weight: Tensor) -> Tensor:
        sigma, normalised = function(weight)
        loss = normalised.pow(3).sum() + sigma.sin().sum()
        return torch.autograd.grad(loss, weight, create_graph=True)[0]

    assert torch.autograd.gradgradcheck(gradient, [weight])


def _critic(layers: list[Tensor], x: Tensor) -> Tensor:
    for weight in layers[:-1]:
        x = torch.tanh(F.linear(x, weight))
    return F.linear(x, layers[-1])


def test_gradgradcheck_in_a_critic_with_gradient_penalty(backend: str) -> None:
    group = make_group([((4, 3), 0), ((5, 4), 0), ((1, 5), 0)], torch.float64)
    function = _function_of_weights(group)
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)

    def penalty(*weights: Tensor) -> Tensor:
        scores = _critic(list(function(*weights)[1:]), x)
        (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
        return (gradient.norm(dim=1) - 1).square().mean()

    weights = [weight.requires_grad_() for weight in group.weights]
    assert torch.autograd.gradcheck(penalty, weights)
    assert torch.autograd.gradgradcheck(penalty, weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_double_backward_equals_autograd_through_the_definition(
    backend: str, dtype: torch.dtype
) -> None:
    group = make_group([((17, 33), 0), ((9, 8, 3, 3), 1), ((65, 7), 0)], dtype)
    wide = group.to(torch.float64)
    mixes = [torch.randn_like(weight) for weight in wide.weights]

    def second(weights: list[Tensor], normalised: list[Tensor], sigma: Tensor) -> list[Tensor]:
        loss = sigma.square().sum()
        for weight, mix in zip(normalised, mixes, strict=True):
            loss = loss + (weight.square() * mix.to(weight.dtype)).sum()
        first = torch.autograd.grad(loss, weights, create_graph=True)
        total = sum(
            (each.square() * m.to(each.dtype)).sum() for each, m in zip(first, mixes, strict=True)
        )
        return list(torch.autograd.grad(total, weights))

    weights = [weight.requires_grad_() for weight in group.weights]
    wide_weights = [weight.requires_grad_() for weight in wide.weights]
    actual = second(weights, *spectral_norm(weights, group.u, group.v, dims=group.dims))
    expected = second(
        wide_weights,
        *reference.forward(wide_weights, wide.u, wide.v, wide.dims, 1, 1e-12, "v")[:2],
    )
    assert_gradients_match(actual, expected, op="spectral_norm", order=2)


def _three(dtype: torch.dtype = torch.float64) -> Group:
    return make_group([((3, 4), 0), ((5, 2, 2), 1), ((6, 6), 0)], dtype)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("used", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("with_sigma", [False, True])
def test_outputs_that_are_not_used(
    backend: str, used: tuple[int, ...], with_sigma: bool, create_graph: bool
) -> None:
    group, wide = _three(), None
    wide = group.copy()
    loss_weights = [torch.randn_like(weight) for weight in group.weights]

    def gradients(weights: list[Tensor], normalised: list[Tensor], sigma: Tensor) -> list[Tensor]:
        loss = sum((normalised[index] * loss_weights[index]).sum() for index in used)
        if with_sigma:
            loss = loss + sigma[1] ** 2
        return torch.autograd.grad(loss, weights, create_graph=create_graph, allow_unused=True)

    weights = [weight.requires_grad_() for weight in group.weights]
    actual = gradients(weights, *spectral_norm(weights, group.u, group.v, dims=group.dims))
    wide_weights = [weight.requires_grad_() for weight in wide.weights]
    expected = gradients(
        wide_weights,
        *reference.forward(wide_weights, wide.u, wide.v, wide.dims, 1, 1e-12, "v")[:2],
    )
    if not with_sigma:
        assert [each is None for each in actual] == [index not in used for index in range(3)]
    present = [index for index in range(3) if expected[index] is not None]
    assert_gradients_match(
        [actual[index] for index in present],
        [expected[index] for index in present],
        op="spectral_norm",
        order=1,
    )


@pytest.mark.parametrize("frozen", [(0,), (1, 2), (0, 1, 2)])
def test_frozen_weights_get_no_gradient(backend: str, frozen: tuple[int, ...]) -> None:
    group = _three()
    whole = [weight.clone().requires_grad_() for weight in group.weights]
    again = group.copy()
    expected, _ = spectral_norm(whole, again.u, again.v, dims=again.dims)
    sum(each.pow(3).sum() for each in expected).backward()
    for index, weight in enumerate(group.weights):
        weight.requires_grad_(index not in frozen)
    normalised, _ = spectral_norm(group.weights, group.u, group.v, dims=group.dims)
    loss = sum(each.pow(3).sum() for each in normalised)
    assert loss.requires_grad == (len(frozen) < 3)
    if loss.requires_grad:
        loss.backward()
    for index, weight in enumerate(group.weights):
        if index in frozen:
            assert weight.grad is None
        else:
            assert_gradients_match([weight.grad], [whole[index].grad], op="spectral_norm", order=1)


def test_two_forwards_then_one_backward(backend: str) -> None:
    """D(real), D(fake), backward: each forward's gradient is that of its own u and v."""
    group = _three()
    weights = [weight.requires_grad_() for weight in group.weights]
    mixes = [[torch.randn_like(weight) for weight in weights] for _ in range(2)]
    expected = [torch.zeros_like(weight) for weight in weights]
    wide = group.copy()
    for mix in mixes:
        leaves = [weight.detach().clone().requires_grad_() for weight in weights]
        outputs = reference.forward(leaves, wide.u, wide.v, wide.dims, 1, 1e-12, "v")[0]
        for total, part in zip(expected, torch.autograd.grad(outputs, leaves, mix), strict=True):
            total += part
    outputs = []
    for _ in mixes:
        outputs += spectral_norm(weights, group.u, group.v, dims=group.dims)[0]
    actual = torch.autograd.grad(outputs, weights, [each for mix in mixes for each in mix])
    assert_gradients_match(actual, expected, op="spectral_norm", order=1)


def test_the_optimizer_may_step_before_the_backward(backend: str) -> None:
    group = _three()
    weights = [weight.requires_grad_() for weight in group.weights]
    normalised, _ = spectral_norm(weights, group.u, group.v, dims=group.dims)
    loss = sum(each.sum() for each in normalised)
    expected = torch.autograd.grad(loss, weights, retain_graph=True)
    with torch.no_grad():
        for tensor in (*weights, *group.u, *group.v):
            tensor.zero_()
    actual = torch.autograd.grad(loss, weights)
    for one, two in zip(actual, expected, strict=True):
        assert torch.equal(one, two)


def test_misuse_of_u_is_reported(backend: str) -> None:
    """Whoever saved u for a backward of their own hears that it has moved."""
    group = _three()
    scale = torch.ones(3, dtype=torch.float64, requires_grad=True)
    product = (scale * group.u[0]).sum()
    spectral_norm(group.weights, group.u, group.v, dims=group.dims)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def test_a_normalised_weight_changed_in_place_is_reported(backend: str) -> None:
    group = _three()
    weights = [weight.requires_grad_() for weight in group.weights]
    normalised, _ = spectral_norm(weights, group.u, group.v, dims=group.dims)
    loss = normalised[0].square().sum()
    normalised[0].detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("kind", ["expanded", "transposed", "sparse", "negated"])
def test_any_layout_of_the_incoming_gradient(backend: str, kind: str) -> None:
    group = make_group([((6, 4), 0)], torch.float64)
    weight = group.weights[0].requires_grad_()
    normalised, _ = spectral_norm([weight], group.u, group.v, dims=[0])
    made = {
        "expanded": torch.randn(1, 4, dtype=torch.float64).expand(6, 4),
        "transposed": torch.randn(4, 6, dtype=torch.float64).t(),
        "sparse": torch.eye(6, dtype=torch.float64)[:, :4].contiguous().to_sparse(),
        "negated": torch._neg_view(torch.randn(6, 4, dtype=torch.float64)),
    }[kind]
    dense = made.to_dense() if kind == "sparse" else made.resolve_neg().contiguous()
    (expected,) = torch.autograd.grad(normalised, weight, dense, retain_graph=True)
    # A gradient handed to autograd.grad is made dense; one that an operation returns is not.
    (actual,) = torch.autograd.grad(_Hands.apply(normalised[0], made), weight)
    torch.testing.assert_close(actual, expected, rtol=1e-14, atol=1e-15)


class _Hands(torch.autograd.Function):
    """Its input's gradient is the tensor it was made with."""

    @staticmethod
    def forward(ctx: object, tensor: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient  # type: ignore[attr-defined]
        return tensor.sum()

    @staticmethod
    def backward(ctx: object, _: Tensor) -> tuple[Tensor, None]:
        return ctx.gradient, None  # type: ignore[attr-defined]


def test_batched_gradients(backend: str) -> None:
    group = make_group([((3, 4), 0), ((2, 3), 0)], torch.float64)
    weights = [weight.requires_grad_() for weight in group.weights]
    normalised, _ = spectral_norm(weights, group.u, group.v, dims=group.dims)
    output = normalised[0].flatten()[:5] * normalised[1].sum()
    batched = torch.autograd.grad(
        output, weights, torch.eye(5).double(), is_grads_batched=True, retain_graph=True
    )
    for row in range(5):
        single = torch.autograd.grad(output[row], weights, retain_graph=True)
        for many, one in zip(batched, single, strict=True):
            torch.testing.assert_close(many[row], one)


def test_nothing_is_recorded_without_grad(backend: str) -> None:
    group = _three()
    weights = [weight.requires_grad_() for weight in group.weights]
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            normalised, sigma = spectral_norm(weights, group.u, group.v, dims=group.dims)
        assert not any(each.requires_grad for each in (*normalised, sigma))
    normalised, _ = spectral_norm(weights, group.u, group.v, dims=group.dims)
    sum(each.sum() for each in normalised).backward()
    assert all(weight.grad is not None for weight in weights)
