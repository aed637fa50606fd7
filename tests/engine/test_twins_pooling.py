from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.overrides import TorchFunctionMode

from fastwgan.engine.twins import TWINS, Twins
from tests.compare import assert_gradients_match, assert_matches
from tests.engine.twin_cases import Operation, assert_twin, assert_used, count_penalty

NODE = "PiecewiseLinearBackward"

POOLINGS: dict[str, tuple[int, Operation]] = {
    "avg1": (1, lambda x: F.avg_pool1d(x, 2)),
    "avg1 torch": (1, lambda x: torch.avg_pool1d(x, 3, 2, 1)),
    "avg1 tuple": (1, lambda x: F.avg_pool1d(x, (3,), (2,), (1,), True, False)),
    "avg1 module": (1, nn.AvgPool1d(2)),
    "avg2": (2, lambda x: F.avg_pool2d(x, 2)),
    "avg2 mixed": (2, lambda x: F.avg_pool2d(x, (2, 3), (1, 2), (1, 0))),
    "avg2 keywords": (2, lambda x: F.avg_pool2d(x, kernel_size=3, padding=1, stride=2)),
    "avg2 ceil": (2, lambda x: F.avg_pool2d(x, 3, 2, 1, True)),
    "avg2 without padding": (2, lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    "avg2 divisor": (2, lambda x: F.avg_pool2d(x, 2, divisor_override=3)),
    "avg2 overlapping": (2, lambda x: F.avg_pool2d(x, 3, 1)),
    "avg2 module": (2, nn.AvgPool2d(2, ceil_mode=True)),
    "avg3": (3, lambda x: F.avg_pool3d(x, 2)),
    "avg3 all": (3, lambda x: F.avg_pool3d(x, (2, 3, 2), 2, (1, 1, 0), True, False, 5)),
    "avg3 module": (3, nn.AvgPool3d(2)),
    "max1": (1, lambda x: F.max_pool1d(x, 2)),
    "max1 torch": (1, lambda x: torch.max_pool1d(x, 3, 2, 1)),
    "max1 module": (1, nn.MaxPool1d(3, 2, dilation=2)),
    "max2": (2, lambda x: F.max_pool2d(x, 2)),
    "max2 overlapping": (2, lambda x: F.max_pool2d(x, 3, 1, 1)),
    "max2 dilated": (2, lambda x: F.max_pool2d(x, (2, 3), 1, (1, 1), (2, 1))),
    "max2 ceil": (2, lambda x: F.max_pool2d(x, 2, ceil_mode=True)),
    "max2 torch": (2, lambda x: torch.max_pool2d(x, 2)),
    "max2 module": (2, nn.MaxPool2d(3, 2, 1)),
    "max3": (3, lambda x: F.max_pool3d(x, 2)),
    "max3 torch": (3, lambda x: torch.max_pool3d(x, 2, padding=1)),
    "max3 module": (3, nn.MaxPool3d(2, 1, dilation=2)),
    "adaptive avg1": (1, lambda x: F.adaptive_avg_pool1d(x, 3)),
    "adaptive avg1 module": (1, nn.AdaptiveAvgPool1d(4)),
    "adaptive avg2": (2, lambda x: F.adaptive_avg_pool2d(x, (3, 2))),
    "adaptive avg2 None": (2, lambda x: F.adaptive_avg_pool2d(x, (None, 2))),
    "adaptive avg2 module": (2, nn.AdaptiveAvgPool2d((5, None))),
    "adaptive avg3": (3, lambda x: F.adaptive_avg_pool3d(x, 2)),
    "adaptive avg3 module": (3, nn.AdaptiveAvgPool3d((1, 2, 3))),
    "adaptive max1": (1, lambda x: F.adaptive_max_pool1d(x, 3)),
    "adaptive max2": (2, lambda x: F.adaptive_max_pool2d(x, (3, 2))),
    "adaptive max2 None": (2, lambda x: F.adaptive_max_pool2d(x, (None, 2))),
    "adaptive max2 module": (2, nn.AdaptiveMaxPool2d(1)),
    "adaptive max3": (3, lambda x: F.adaptive_max_pool3d(x, 2)),
    "adaptive max3 module": (3, nn.AdaptiveMaxPool3d(3)),
}
EXTENTS = (7, 6, 5)


def _x(dims: int, *, distinct: bool = True) -> Tensor:
    shape = (2, 3, *EXTENTS[:dims])
    count = 6
    for extent in EXTENTS[:dims]:
        count *= extent
    if distinct:  # far apart, so that no finite difference changes a maximum
        values = torch.randperm(count).double().reshape(shape) / 10 - count / 20
    else:
        values = torch.randint(0, 3, shape).double()  # ties everywhere
    return values.requires_grad_()


@pytest.mark.parametrize("name", POOLINGS)
def test_twin_is_the_operation(name: str) -> None:
    dims, operation = POOLINGS[name]
    assert_twin(operation, [_x(dims)], NODE)
    assert_twin(operation, [_x(dims, distinct=False) * 1.0], NODE)
    assert_twin(operation, [_x(dims).detach().transpose(0, 1).requires_grad_()], NODE)


@pytest.mark.parametrize("name", POOLINGS)
def test_channels_last(name: str) -> None:
    dims, operation = POOLINGS[name]
    if dims == 1:
        return
    form = torch.channels_last if dims == 2 else torch.channels_last_3d
    x = _x(dims).detach().to(memory_format=form).requires_grad_()
    with Twins():
        twin = operation(x)
    assert twin.stride() == operation(x).stride()
    assert_twin(operation, [x], NODE)


@pytest.mark.parametrize("name", POOLINGS)
def test_gradcheck(name: str) -> None:
    dims, operation = POOLINGS[name]
    x = (_x(dims).detach()[:1, :1] / 10).requires_grad_()
    with Twins():
        assert gradcheck(operation, (x,))
        assert gradgradcheck(operation, (x,))


@pytest.mark.parametrize("name", POOLINGS)
def test_no_path_leads_from_the_gradient_back_to_the_input(name: str) -> None:
    dims, operation = POOLINGS[name]
    x = _x(dims)
    with Twins():
        y = operation(x)
    cotangent = torch.randn_like(y).requires_grad_()
    (g,) = torch.autograd.grad(y, x, cotangent, create_graph=True)
    (by_x,) = torch.autograd.grad(g.square().sum(), x, retain_graph=True, allow_unused=True)
    assert by_x is None


@pytest.mark.parametrize("name", POOLINGS)
def test_nan_and_infinities(name: str) -> None:
    dims, operation = POOLINGS[name]
    x = _x(dims).detach()
    x.view(-1)[3], x.view(-1)[40], x.view(-1)[-1] = float("nan"), float("-inf"), float("inf")
    x[1, 1] = float("-inf")
    plain, twin = (x.clone().requires_grad_() for _ in range(2))
    expected = operation(plain)
    with Twins():
        actual = operation(twin)
    assert torch.equal(actual.isnan(), expected.isnan())
    assert torch.equal(actual.nan_to_num(), expected.nan_to_num())
    actual.sum().backward()
    expected.sum().backward()
    assert twin.grad is not None
    assert plain.grad is not None
    assert torch.equal(twin.grad, plain.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("name", POOLINGS)
def test_other_dtypes_and_autocast(name: str, dtype: torch.dtype, autocast: bool) -> None:
    dims, operation = POOLINGS[name]
    if operation_lacks(operation, dims, dtype, autocast):
        with Twins(), pytest.raises(NotImplementedError):
            operation(_fixed(dims).to(dtype).requires_grad_())
        return
    results = []
    for mode in (False, True):
        x = _fixed(dims).to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            if mode:
                with Twins():
                    y = operation(x)
            else:
                y = operation(x)
        results.append((y, *torch.autograd.grad(y.float().square().sum(), x)))
    for plain, twin in zip(*results, strict=True):
        assert twin.dtype is plain.dtype
        assert_matches(twin, plain.double(), op="twins", order=1)


def operation_lacks(operation: Operation, dims: int, dtype: torch.dtype, autocast: bool) -> bool:
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            operation(_fixed(dims).to(dtype))
    except NotImplementedError:
        return True
    return False


def _fixed(dims: int) -> Tensor:
    torch.manual_seed(1)
    return _x(dims).detach()


FALLING_THROUGH: dict[str, tuple[int, Operation]] = {
    "global average needs none": (2, lambda x: F.adaptive_avg_pool2d(x, 1)),
    "unbatched average": (2, lambda x: F.avg_pool2d(x[0], 2)),
    "unbatched maximum": (2, lambda x: F.max_pool2d(x[0], 2)),
    "unbatched adaptive": (2, lambda x: F.adaptive_avg_pool2d(x[0], 2)),
    "unbatched adaptive maximum": (2, lambda x: F.adaptive_max_pool2d(x[0], 2)),
    "unbatched 1d": (1, lambda x: F.max_pool1d(x[0], 2)),
    "with indices": (2, lambda x: F.max_pool2d(x, 2, return_indices=True)[0]),
    "adaptive with indices": (2, lambda x: F.adaptive_max_pool2d(x, 2, return_indices=True)[0]),
    "vmap": (2, lambda x: torch.func.vmap(lambda t: F.avg_pool2d(t, 2))(x)),
    "vmap of a batch": (3, lambda x: torch.func.vmap(lambda t: F.avg_pool2d(t, 2))(x)),
    "lp": (2, lambda x: F.lp_pool2d(x.exp(), 1, 2)),
}


@pytest.mark.parametrize("name", FALLING_THROUGH)
def test_falls_through_or_is_right_anyway(name: str) -> None:
    dims, operation = FALLING_THROUGH[name]
    x = _x(dims)
    expected = operation(x)
    with Twins():
        actual = operation(x)
    if name != "lp":
        assert_used(actual, None)
    assert torch.equal(actual, expected)
    got, want = (torch.autograd.grad(y.square().sum(), x)[0] for y in (actual, expected))
    assert_gradients_match([got], [want], op="twins", order=1)


def test_indices_of_a_maximum_are_still_returned() -> None:
    with Twins():
        y, places = F.max_pool2d(_x(2), 2, return_indices=True)
        z, more = nn.MaxPool2d(2, return_indices=True)(_x(2))
    assert places.dtype is more.dtype is torch.int64
    assert y.shape == places.shape == z.shape


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.avg_pool2d(x, 0),
        lambda x: F.avg_pool2d(x, 2, padding=2),
        lambda x: F.avg_pool2d(x, 99),
        lambda x: F.max_pool2d(x, 2, padding=2),
        lambda x: F.max_pool2d(x, 99),
        lambda x: F.max_pool2d(x, (2, 2, 2)),
        lambda x: F.max_pool2d(x, 2, dilation=0),
        lambda x: F.adaptive_avg_pool2d(x, (2, 2, 2)),
        lambda x: F.adaptive_max_pool2d(x, -2),
        lambda x: F.adaptive_avg_pool2d(x, -2),
        lambda x: F.avg_pool1d(x, 2),
        lambda x: F.avg_pool2d(x, 2, divisor_override=0),
        lambda x: F.avg_pool2d(x),
        lambda x: F.max_pool2d(x, 2, stride=0),
        lambda x: F.avg_pool2d(x, 2.5),
    ],
)
def test_errors_of_the_operation_stay_its_own(call: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises((RuntimeError, TypeError, ValueError)) as plain:
        call(_x(2))
    with Twins(), pytest.raises(plain.type) as twin:
        call(_x(2))
    assert str(twin.value).splitlines()[0][:30] == str(plain.value).splitlines()[0][:30]


def test_every_twin_has_a_case() -> None:
    called = set()

    class Names(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            called.add(func)
            return func(*args, **(kwargs or {}))

    with Names():
        for dims, operation in POOLINGS.values():
            operation(_x(dims))
    assert {f for f in TWINS if "pool" in getattr(f, "__name__", "pool")} <= called


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2)])
def test_double_backward_does_no_more_than_the_mathematics(pool: nn.Module) -> None:
    critic = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), pool, nn.Flatten(), nn.LazyLinear(1))
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    critic(x)
    plain, _ = count_penalty(critic, x, twins=False)
    critic.zero_grad()
    twin, _ = count_penalty(critic, x, twins=True)
    # the one tangent before the last layer, and the convolution's weight gradient
    assert twin["convolution"] == 1
    assert twin["convolution_backward"] == 1
    assert sum(twin.values()) < sum(plain.values())
    assert not [name for name in twin if "zeros" in name]
