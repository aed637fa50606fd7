"""The ways a call can take besides the direct one: library, compiler, transforms, autocast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fastwgan.ops.spectral_norm import spectral_norm, vector_dtype
from tests.compare import assert_gradients_match, assert_matches
from tests.ops.spectral_norm_cases import Group, layer_by_layer, make_group, strides_that_matter

LAYERS = (((5, 7), 0), ((6, 3, 2, 2), 1), ((33, 17), 0))
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


class _FunctionMode(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class _Spy(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class _Subclass(Tensor):
    pass


def _values_and_derivatives(group: Group) -> list[Tensor]:
    """Outputs, u and v, gradients and gradients of gradients."""
    weights = [weight.requires_grad_() for weight in group.weights]
    normalised, sigma = spectral_norm(weights, group.u, group.v, dims=group.dims)
    loss = sigma.square().sum() + sum(each.float().pow(3).sum() for each in normalised)
    first = torch.autograd.grad(loss, weights, create_graph=True)
    second = torch.autograd.grad(sum(each.float().square().sum() for each in first), weights)
    results = [*normalised, sigma, *group.u, *group.v, *first, *second]
    return [each.detach().as_subclass(Tensor) for each in results]


@contextmanager
def _subclassed(group: Group) -> Iterator[Group]:
    weights = [weight.as_subclass(_Subclass) for weight in group.weights]
    yield Group(weights, group.u, group.v, group.dims)


@contextmanager
def _in_mode(mode: Any, group: Group) -> Iterator[Group]:
    with mode:
        yield group


@pytest.mark.parametrize("way", ["function-mode", "dispatch-mode", "subclass"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_library_path_equals_direct_path(backend: str, dtype: torch.dtype, way: str) -> None:
    group = make_group(LAYERS, dtype)
    group.weights[1] = group.weights[1].to(memory_format=torch.channels_last)
    direct = _values_and_derivatives(group.copy())
    other = group.copy()
    spy = _Spy()
    modes = {"function-mode": _FunctionMode(), "dispatch-mode": spy}
    entered = _in_mode(modes[way], other) if way in modes else _subclassed(other)
    with entered as given:
        through_library = _values_and_derivatives(given)
    for one, two in zip(through_library, direct, strict=True):
        assert torch.equal(one, two)
        assert strides_that_matter(one) == strides_that_matter(two)
    if way == "dispatch-mode":
        assert "fastwgan.spectral_norm.default" in spy.seen
        assert "fastwgan.spectral_norm_backward.default" in spy.seen


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("n_power_iterations", [0, 2])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_opcheck_forward(
    backend: str, dtype: torch.dtype, n_power_iterations: int, requires_grad: bool
) -> None:
    group = make_group(LAYERS, dtype)
    group.weights[1] = group.weights[1].to(memory_format=torch.channels_last)
    weights = [weight.requires_grad_(requires_grad) for weight in group.weights]
    arguments = (weights, group.u, group.v, group.dims, n_power_iterations, 1e-12, "v")
    torch.library.opcheck(torch.ops.fastwgan.spectral_norm, arguments)


@pytest.mark.parametrize("with_sigma", [False, True])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_opcheck_backward(backend: str, requires_grad: bool, with_sigma: bool) -> None:
    group = make_group(LAYERS, torch.float64)
    normalised, sigma, vectors = torch.ops.fastwgan.spectral_norm(
        group.weights, group.u, group.v, group.dims, 1, 1e-12, "v"
    )
    grads = [torch.randn_like(weight) for weight in normalised]
    grad_sigma = torch.randn_like(sigma) if with_sigma else None
    for tensor in (*grads, *normalised, sigma, *([grad_sigma] if with_sigma else [])):
        tensor.requires_grad_(requires_grad)
    arguments = (grads, normalised, sigma, vectors, group.dims, grad_sigma)
    torch.library.opcheck(torch.ops.fastwgan.spectral_norm_backward, arguments)


def test_library_operation_leaves_its_arguments(backend: str) -> None:
    group = make_group(LAYERS, torch.float32)
    before = group.copy()
    torch.ops.fastwgan.spectral_norm(group.weights, group.u, group.v, group.dims, 1, 1e-12, "v")
    for after, old in zip((*group.u, *group.v), (*before.u, *before.v), strict=True):
        assert torch.equal(after, old)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fake_and_meta_tensors_have_the_right_shapes(dtype: torch.dtype) -> None:
    group = make_group(LAYERS, dtype)
    normalised, sigma = spectral_norm(group.weights, group.u, group.v, dims=group.dims)
    with FakeTensorMode() as mode:
        fakes = [[mode.from_tensor(each) for each in part] for part in group[:3]]
        fake_normalised, fake_sigma = spectral_norm(*fakes, dims=group.dims)
    metas = [[each.to("meta") for each in part] for part in group[:3]]
    meta_normalised, meta_sigma = spectral_norm(*metas, dims=group.dims)
    for shaped, shaped_sigma in ((fake_normalised, fake_sigma), (meta_normalised, meta_sigma)):
        for one, two in zip([*shaped, shaped_sigma], [*normalised, sigma], strict=True):
            assert (one.shape, one.dtype, one.stride()) == (two.shape, two.dtype, two.stride())


def _loss(weights: list[Tensor], u: list[Tensor], v: list[Tensor], dims: list[int]) -> Tensor:
    normalised, sigma = spectral_norm(weights, u, v, dims=dims)
    return sigma.sum() + sum(each.pow(3).sum() for each in normalised)


def test_func_transforms(backend: str) -> None:
    group = make_group(LAYERS, torch.float64)
    eager = group.copy()
    gradients = torch.func.grad(_loss)(group.weights, group.u, group.v, group.dims)
    weights = [weight.requires_grad_() for weight in eager.weights]
    expected = torch.autograd.grad(_loss(weights, eager.u, eager.v, eager.dims), weights)
    assert_gradients_match(gradients, expected, op="spectral_norm", order=1)
    for one, two in zip((*group.u, *group.v), (*eager.u, *eager.v), strict=True):
        assert_matches(one, two, op="spectral_norm", order=0)


# torch's own forward mode scripts its formulas when first used.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_func_hessian_and_forward_mode(backend: str) -> None:
    group = make_group([((2, 3), 0)], torch.float64)

    def loss(weight: Tensor) -> Tensor:
        normalised, sigma = spectral_norm(
            [weight], group.u, group.v, dims=[0], n_power_iterations=0
        )
        return sigma.sin().sum() + normalised[0].pow(3).sum()

    weight = group.weights[0]
    expected = torch.autograd.functional.hessian(loss, weight)
    torch.testing.assert_close(torch.func.hessian(loss)(weight), expected)
    gradient = torch.autograd.functional.jacobian(loss, weight)
    tangent = torch.randn_like(weight)
    _, derivative = torch.func.jvp(loss, (weight,), (tangent,))
    torch.testing.assert_close(derivative, (gradient * tangent).sum())


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("autocast", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_changes_nothing(
    backend: str, autocast: torch.dtype, dtype: torch.dtype, direct: bool
) -> None:
    group = make_group(LAYERS, dtype)
    expected = _values_and_derivatives(group.copy())
    spy = _Spy()
    with torch.autocast("cpu", dtype=autocast):
        if direct:
            actual = _values_and_derivatives(group)
        else:
            with spy:
                actual = _values_and_derivatives(group)
    for one, two in zip(actual, expected, strict=True):
        assert one.dtype is two.dtype
        assert torch.equal(one, two)
    assert all(vector.dtype is vector_dtype(group.weights[0]) for vector in (*group.u, *group.v))


@pytest.mark.parametrize("first", ["u", "v"])
def test_complex_weights_follow_the_torch_form_of_the_same_order(backend: str, first: str) -> None:
    weight = torch.randn(4, 3, dtype=torch.complex64, requires_grad=True)
    u, v = torch.randn(4, dtype=torch.complex64), torch.randn(3, dtype=torch.complex64)
    u, v = u / u.norm(), v / v.norm()
    own_u, own_v = u.clone(), v.clone()
    normalised, sigma = spectral_norm([weight], [own_u], [own_v], dims=[0], first=first)
    with torch.no_grad():
        if first == "u":
            u = torch.nn.functional.normalize(weight @ v, dim=0)
            v = torch.nn.functional.normalize(weight.mH @ u, dim=0)
        else:
            v = torch.nn.functional.normalize(weight.T @ u, dim=0)
            u = torch.nn.functional.normalize(weight @ v, dim=0)
    dot = torch.vdot if first == "u" else torch.dot
    expected = dot(u, weight @ v)
    for one, two in (
        (own_u, u),
        (own_v, v),
        (sigma[0], expected),
        (normalised[0], weight / expected),
    ):
        assert_matches(one, two, op="spectral_norm", order=0)
    (actual,) = torch.autograd.grad(normalised[0].abs().sum(), weight)
    (wanted,) = torch.autograd.grad((weight / expected).abs().sum(), weight)
    assert_gradients_match([actual], [wanted], op="spectral_norm", order=1)


def _twice(weights: list[Tensor], u: list[Tensor], v: list[Tensor], dims: list[int]) -> Tensor:
    return _loss(weights, u, v, dims) - 2 * _loss(weights, u, v, dims)


@pytest.mark.parametrize("function", [_loss, _twice])
def test_compiles_in_one_graph(backend: str, function: Callable[..., Tensor]) -> None:
    group = make_group(LAYERS, torch.float64)
    eager = group.copy()
    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    weights = [weight.requires_grad_() for weight in group.weights]
    eager_weights = [weight.requires_grad_() for weight in eager.weights]
    for _ in range(2):
        loss = compiled(weights, group.u, group.v, group.dims)
        eager_loss = function(eager_weights, eager.u, eager.v, eager.dims)
        assert_matches(loss, eager_loss, op="spectral_norm", order=0)
        actual = torch.autograd.grad(loss, weights)
        expected = torch.autograd.grad(eager_loss, eager_weights)
        assert_gradients_match(actual, expected, op="spectral_norm", order=1)
        for one, two in zip((*group.u, *group.v), (*eager.u, *eager.v), strict=True):
            assert_matches(one, two, op="spectral_norm", order=0)
    sigmas = layer_by_layer(group.weights, group.dims, group.u, group.v)
    assert all(sigma.item() > 0 for sigma in sigmas)
