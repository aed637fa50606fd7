"""Values of the operation, on every backend and instruction set."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastwgan.ops.spectral_norm import spectral_norm, vector_dtype
from tests.compare import assert_gradients_match, assert_matches
from tests.guarded import DTYPES, LAYOUTS, place
from tests.ops.spectral_norm_cases import (
    EMPTY,
    ODD,
    Group,
    layer_by_layer,
    make_group,
    strides_that_matter,
    truth,
)

# Large enough for the kernels to wake a second thread.
LARGE = (((301, 67, 3, 3), 0), ((1, 4099), 0), ((33, 129, 4, 4), 1))


def _check_against_truth(group: Group, *, n_power_iterations: int, first: str) -> None:
    dtype = group.weights[0].dtype
    cotangents = [torch.randn(w.shape, dtype=torch.float64).to(dtype) for w in group.weights]
    sigma_cotangent = torch.randn(len(cotangents), dtype=torch.float64).to(
        vector_dtype(group.weights[0])
    )
    expected = truth(
        group, cotangents, sigma_cotangent, n_power_iterations=n_power_iterations, first=first
    )
    weights = [weight.detach().requires_grad_() for weight in group.weights]
    normalised, sigma = spectral_norm(
        weights,
        group.u,
        group.v,
        dims=group.dims,
        n_power_iterations=n_power_iterations,
        first=first,
    )
    assert_matches(sigma, expected.sigma, op="spectral_norm", order=0, context="sigma")
    assert sigma.dtype is vector_dtype(weights[0])
    for index, weight in enumerate(weights):
        context = f"layer {index}, {tuple(weight.shape)}"
        for name, actual, wanted in (
            ("normalised", normalised[index], expected.normalised[index]),
            ("u", group.u[index], expected.u[index]),
            ("v", group.v[index], expected.v[index]),
        ):
            assert_matches(
                actual, wanted, op="spectral_norm", order=0, context=f"{name}, {context}"
            )
        assert normalised[index].dtype is dtype
        assert strides_that_matter(normalised[index]) == strides_that_matter(weight / 2)
    gradients = torch.autograd.grad([*normalised, sigma], weights, [*cotangents, sigma_cotangent])
    for index, (actual, wanted) in enumerate(zip(gradients, expected.gradients, strict=True)):
        if weights[index].numel():
            context = f"layer {index}, {tuple(weights[index].shape)}"
            assert_gradients_match([actual], [wanted], op="spectral_norm", order=1, context=context)
        assert actual.dtype is dtype


@pytest.mark.parametrize("first", ["u", "v"])
@pytest.mark.parametrize("n_power_iterations", [0, 1, 3])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equals_the_definition(
    backend: str, dtype: torch.dtype, n_power_iterations: int, first: str
) -> None:
    group = make_group((*ODD, *EMPTY), dtype)
    _check_against_truth(group, n_power_iterations=n_power_iterations, first=first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_large_weights_on_any_number_of_threads(
    backend: str, threads: int, dtype: torch.dtype
) -> None:
    _check_against_truth(make_group(LARGE, dtype), n_power_iterations=2, first="v")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_group_that_no_cache_holds(backend: str, dtype: torch.dtype) -> None:
    # The kernel writes 8 MiB of normalised weights and more past the caches.
    layers = (*ODD, ((1031, 2049), 0), ((129, 65, 3, 3), 1))
    _check_against_truth(make_group(layers, dtype), n_power_iterations=1, first="v")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_memory_layout_and_nothing_else_written(
    backend: str, dtype: torch.dtype, layout: str
) -> None:
    packed = make_group(ODD, dtype)
    weights = [place(weight, layout) for weight in packed.weights]
    vector_layout = layout if layout in ("misaligned", "gaps") else "contiguous"
    u = [place(vector, vector_layout) for vector in packed.u]
    v = [place(vector, vector_layout) for vector in packed.v]
    group = Group(
        [each.view for each in weights],
        [each.view for each in u],
        [each.view for each in v],
        packed.dims,
    )
    _check_against_truth(group, n_power_iterations=1, first="v")
    for each in weights:
        each.assert_untouched()
    for each in (*u, *v):
        each.assert_untouched_outside()


def test_outputs_are_written_whole(backend: str) -> None:
    group = make_group(ODD, torch.float32)
    for _ in range(3):  # memory that the outputs are likely to be given holds NaN
        poison = [torch.full_like(w, torch.nan) for w in group.weights for _ in range(3)]
        del poison
        _check_against_truth(group.copy(), n_power_iterations=1, first="v")


@given(
    shape=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    data=st.data(),
    n_power_iterations=st.integers(0, 3),
    first=st.sampled_from(["u", "v"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**16),
)
def test_any_shape(
    backend: str,
    shape: list[int],
    data: st.DataObject,
    n_power_iterations: int,
    first: str,
    dtype: torch.dtype,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    dim = data.draw(st.integers(0, len(shape) - 1))
    group = make_group([(tuple(shape), dim), ((3, 4), 0)], dtype)
    _check_against_truth(group, n_power_iterations=n_power_iterations, first=first)


@given(
    exponent=st.integers(-12, 12),
    rank=st.integers(1, 3),
    shift=st.floats(-2, 2),
    seed=st.integers(0, 2**16),
)
def test_any_values(backend: str, exponent: int, rank: int, shift: float, seed: int) -> None:
    torch.manual_seed(seed)
    group = make_group([((9, 13), 0), ((5, 7), 1)], torch.float32)
    low_rank = torch.randn(9, rank) @ torch.randn(rank, 13) + shift
    group.weights[0].copy_(low_rank * 10.0**exponent)
    _check_against_truth(group, n_power_iterations=2, first="v")


@pytest.mark.parametrize("first", ["u", "v"])
def test_sigma_converges_to_the_largest_singular_value(backend: str, first: str) -> None:
    layers = (((9, 13), 0), ((5, 4, 3, 2), 0), ((5, 4, 3, 2), 1), ((5, 4, 3), 2))
    group = make_group(layers, torch.float64)
    steps = _iterations_to_converge(group)
    for _ in range(2):
        normalised, sigma = spectral_norm(
            group.weights, group.u, group.v, dims=group.dims, n_power_iterations=steps, first=first
        )
    for index, (weight, dim) in enumerate(zip(group.weights, group.dims, strict=True)):
        rows = torch.stack([row.flatten() for row in weight.unbind(dim)])
        largest = torch.linalg.matrix_norm(rows, 2)
        torch.testing.assert_close(sigma[index], largest, rtol=1e-10, atol=0)
        torch.testing.assert_close(normalised[index], weight / largest, rtol=1e-10, atol=1e-13)
    parts = layer_by_layer(group.weights, group.dims, group.u, group.v)
    torch.testing.assert_close(torch.stack(parts), sigma, rtol=1e-12, atol=0)


def _iterations_to_converge(group: Group) -> int:
    """Enough for 1e-16 in u and v from any start: an iteration divides by (largest / second)²."""
    ratios = []
    for weight, dim in zip(group.weights, group.dims, strict=True):
        rows = torch.stack([row.flatten() for row in weight.unbind(dim)])
        largest, second = torch.linalg.svdvals(rows)[:2].tolist()
        ratios.append(largest / second)
    return math.ceil(math.log(1e16) / (2 * math.log(min(ratios)))) + 10


def test_without_iterations_u_and_v_stay(backend: str) -> None:
    group = make_group(ODD, torch.float64)
    before = group.copy()
    versions = [vector._version for vector in (*group.u, *group.v)]
    _, sigma = spectral_norm(group.weights, group.u, group.v, dims=group.dims, n_power_iterations=0)
    for vector, old in zip((*group.u, *group.v), (*before.u, *before.v), strict=True):
        assert torch.equal(vector, old)
    assert [vector._version for vector in (*group.u, *group.v)] == versions
    expected = torch.stack(layer_by_layer(before.weights, before.dims, before.u, before.v))
    assert_matches(sigma, expected, op="spectral_norm", order=0)


def test_a_group_equals_its_layers_one_by_one(backend: str) -> None:
    group, alone = make_group(ODD, torch.float32), None
    alone = group.copy()
    normalised, sigma = spectral_norm(group.weights, group.u, group.v, dims=group.dims)
    for index, dim in enumerate(group.dims):
        single, single_sigma = spectral_norm(
            [alone.weights[index]], [alone.u[index]], [alone.v[index]], dims=[dim]
        )
        for actual, expected in (
            (normalised[index], single[0].double()),
            (sigma[index : index + 1], single_sigma.double()),
            (group.u[index], alone.u[index].double()),
            (group.v[index], alone.v[index].double()),
        ):
            assert_matches(actual, expected, op="spectral_norm", order=0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("first", ["u", "v"])
@pytest.mark.parametrize("n_power_iterations", [0, 2])
def test_zero_weight_gives_zeros_and_keeps_u_and_v(
    backend: str, dtype: torch.dtype, n_power_iterations: int, first: str
) -> None:
    group = make_group([((5, 7), 0), ((4, 3, 2), 1)], dtype)
    group.weights[0].zero_()
    before = group.copy()
    weights = [weight.requires_grad_() for weight in group.weights]
    normalised, sigma = spectral_norm(
        weights,
        group.u,
        group.v,
        dims=group.dims,
        n_power_iterations=n_power_iterations,
        first=first,
    )
    assert sigma[0].item() == 0.0
    assert torch.count_nonzero(normalised[0]) == 0
    assert torch.equal(group.u[0], before.u[0])
    assert torch.equal(group.v[0], before.v[0])
    gradients = torch.autograd.grad(sum(each.float().sum() for each in normalised), weights)
    assert torch.count_nonzero(gradients[0]) == 0
    assert not gradients[0].isnan().any()
    assert torch.count_nonzero(gradients[1]) == gradients[1].numel()


@pytest.mark.parametrize("first", ["u", "v"])
def test_u_and_v_recover_after_a_zero_weight(backend: str, first: str) -> None:
    group = make_group([((5, 7), 0)], torch.float64)
    values = group.weights[0].clone()
    group.weights[0].zero_()
    call = {"dims": group.dims, "n_power_iterations": 500, "first": first}
    spectral_norm(group.weights, group.u, group.v, **call)
    group.weights[0].copy_(values)
    _, sigma = spectral_norm(group.weights, group.u, group.v, **call)
    torch.testing.assert_close(sigma[0], torch.linalg.matrix_norm(values, 2))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("n_power_iterations", [0, 1])
def test_nan_and_inf_reach_their_own_layer_only(
    backend: str, value: float, n_power_iterations: int
) -> None:
    group = make_group([((9, 17), 0), ((9, 17), 0), ((33, 3), 0)], torch.float32)
    group.weights[1][4, 11] = value
    normalised, sigma = spectral_norm(
        group.weights, group.u, group.v, dims=group.dims, n_power_iterations=n_power_iterations
    )
    assert not sigma[1].isfinite()
    assert normalised[1][4, 11].isnan()
    for index in (0, 2):
        assert sigma[index].isfinite()
        assert normalised[index].isfinite().all()


def test_eps_bounds_the_divisor_from_below(backend: str) -> None:
    group = make_group([((5, 7), 0)], torch.float64)
    before = group.copy()
    spectral_norm(group.weights, group.u, group.v, dims=[0], eps=1e3)
    v = before.weights[0].T @ before.u[0] / 1e3
    torch.testing.assert_close(group.v[0], v)
    torch.testing.assert_close(group.u[0], before.weights[0] @ v / 1e3)
    expected = group.u[0] @ before.weights[0] @ group.v[0]
    _, sigma = spectral_norm(
        group.weights, group.u, group.v, dims=[0], n_power_iterations=0, eps=1e3
    )
    torch.testing.assert_close(sigma[0], expected)


def test_sigma_is_the_product_with_u_and_v_even_where_eps_divides(backend: str) -> None:
    group = make_group([((5, 7), 0)], torch.float64)
    for first in ("u", "v"):
        _, sigma = spectral_norm(group.weights, group.u, group.v, dims=[0], eps=1e3, first=first)
        expected = group.u[0] @ group.weights[0] @ group.v[0]
        torch.testing.assert_close(sigma[0], expected)


def test_weights_with_a_lazy_sign_are_read_right(backend: str) -> None:
    group = make_group([((5, 7), 0)], torch.float32)
    expected, _ = spectral_norm(
        [-group.weights[0]], [group.u[0].clone()], [group.v[0].clone()], dims=[0]
    )
    negated = torch._neg_view(group.weights[0])
    assert negated.is_neg()
    actual, _ = spectral_norm([negated], group.u, group.v, dims=[0])
    assert torch.equal(actual[0], expected[0])


def test_same_call_gives_same_bits(backend: str) -> None:
    group = make_group((*ODD, *LARGE), torch.float32)
    results = []
    for _ in range(2):
        again = group.copy()
        normalised, sigma = spectral_norm(again.weights, again.u, again.v, dims=again.dims)
        results.append([*normalised, sigma, *again.u, *again.v])
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)
