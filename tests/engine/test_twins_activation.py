from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

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

OUT_OF_PLACE: dict[str, Operation] = {
    "F.relu": F.relu,
    "torch.relu": torch.relu,
    "Tensor.relu": lambda x: x.relu(),
    "nn.ReLU": nn.ReLU(),
    "F.relu(inplace=False)": lambda x: F.relu(x, inplace=False),
    "F.relu(input=)": lambda x: F.relu(input=x),
    "F.leaky_relu": F.leaky_relu,
    "F.leaky_relu(0.2)": lambda x: F.leaky_relu(x, 0.2),
    "F.leaky_relu(negative_slope=)": lambda x: F.leaky_relu(x, negative_slope=0.3),
    "F.leaky_relu(1)": lambda x: F.leaky_relu(x, 1),
    "F.leaky_relu(0)": lambda x: F.leaky_relu(x, 0.0),
    "F.leaky_relu(-0.5)": lambda x: F.leaky_relu(x, -0.5),
    "nn.LeakyReLU": nn.LeakyReLU(0.2),
    "nn.LeakyReLU(1.5)": nn.LeakyReLU(1.5),
}
IN_PLACE: dict[str, Operation] = {
    "F.relu(inplace)": lambda x: F.relu(x, inplace=True),
    "F.relu_": F.relu_,
    "torch.relu_": torch.relu_,
    "Tensor.relu_": lambda x: x.relu_(),
    "nn.ReLU(inplace)": nn.ReLU(inplace=True),
    "F.leaky_relu(inplace)": lambda x: F.leaky_relu(x, 0.2, inplace=True),
    "F.leaky_relu(positional)": lambda x: F.leaky_relu(x, 0.2, True),
    "F.leaky_relu_": lambda x: F.leaky_relu_(x, 0.2),
    "nn.LeakyReLU(inplace)": nn.LeakyReLU(0.2, inplace=True),
    "nn.LeakyReLU(0, inplace)": nn.LeakyReLU(0.0, inplace=True),
}
EVERY = OUT_OF_PLACE | {name: (lambda x, f=f: f(x * 1.5)) for name, f in IN_PLACE.items()}


def _x(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Away from the kink."""
    values = torch.randn(shape or (4, 5), dtype=torch.float64)
    return (values + 0.1 * values.sign()).to(dtype).requires_grad_()


@pytest.mark.parametrize("name", EVERY)
def test_twin_is_the_operation(name: str) -> None:
    for shape in ((4, 5), (7,), (), (2, 3, 4, 5), (0, 3)):
        x = (
            torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
            if shape == ()
            else _x(*shape)
        )
        if x.numel():
            assert_twin(EVERY[name], [x], NODE)
        else:
            with Twins():
                assert EVERY[name](x).shape == shape
    assert_twin(EVERY[name], [_x(6, 4).t().detach().requires_grad_()], NODE)


@pytest.mark.parametrize("name", EVERY)
def test_gradcheck(name: str) -> None:
    with Twins():
        assert gradcheck(EVERY[name], (_x(),))
        assert gradgradcheck(lambda x: EVERY[name](x.square() - 1), (_x(),))


@pytest.mark.parametrize("name", EVERY)
def test_special_values_and_the_kink(name: str) -> None:
    inf, nan = float("inf"), float("nan")
    x = torch.tensor([0.0, -0.0, inf, -inf, nan, 1.0, -1.0], dtype=torch.float64)
    results = []
    for mode in (False, True):
        leaf = x.clone().requires_grad_()
        if mode:
            with Twins():
                y = EVERY[name](leaf)
        else:
            y = EVERY[name](leaf)
        (g,) = torch.autograd.grad(y, leaf, torch.full_like(y, 3.0))
        results.append((y.detach(), g))
    for plain, twin in zip(*results, strict=True):
        assert torch.equal(plain.isnan(), twin.isnan())
        assert torch.equal(plain.nan_to_num(), twin.nan_to_num())
        assert torch.equal(plain.signbit(), twin.signbit())


@pytest.mark.parametrize("name", EVERY)
def test_no_path_leads_from_the_gradient_back_to_the_input(name: str) -> None:
    x = _x()
    with Twins():
        y = EVERY[name](x)
    cotangent = torch.randn_like(y).requires_grad_()
    (g,) = torch.autograd.grad(y, x, cotangent, create_graph=True)
    (by_x,) = torch.autograd.grad(g.sum(), x, retain_graph=True, allow_unused=True)
    assert by_x is None  # torch's own returns a tensor of zeros here
    (by_cotangent,) = torch.autograd.grad(g.sum(), cotangent)
    assert bool((by_cotangent != 0).any())


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_writes_where_the_operation_writes(name: str) -> None:
    x = _x()
    with Twins():
        h = x * 1.5
        version = h._version
        y = IN_PLACE[name](h)
    assert y is h or y.data_ptr() == h.data_ptr()
    assert h._version > version
    assert_used(h, NODE)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_errors_are_autograds(name: str) -> None:
    x = _x()
    with Twins():
        h = x.sigmoid()  # which needs its output for the backward
        y = IN_PLACE[name](h)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            IN_PLACE[name](_x())
        shown = _x().unbind(0)[0]
        with pytest.raises(RuntimeError, match="output of a function that returns multiple views"):
            IN_PLACE[name](shown)


@pytest.mark.parametrize("name", OUT_OF_PLACE)
def test_writing_over_what_the_twin_saved_is_an_error_as_in_torch(name: str) -> None:
    outcomes = []
    for mode in (False, True):
        for victim in ("input", "output"):
            h = _x() * 1.0
            if mode:
                with Twins():
                    y = OUT_OF_PLACE[name](h)
            else:
                y = OUT_OF_PLACE[name](h)
            with torch.no_grad():
                (h if victim == "input" else y).add_(1)
            try:
                y.sum().backward()
                outcomes.append("runs")
            except RuntimeError as error:
                outcomes.append("modified by an inplace" in str(error))
    assert outcomes[:2] == outcomes[2:]


@pytest.mark.parametrize("name", IN_PLACE)
def test_views_before_and_after_an_in_place_twin(name: str) -> None:
    f = IN_PLACE[name]

    def on_a_view(x: Tensor) -> Tensor:
        h = x * 1.5
        f(h[:, 1:3])
        return h.square()

    def seen_by_a_view(x: Tensor) -> Tensor:
        h = x * 1.5
        view = h.t()[1:]
        f(h)
        return view.square() * 2

    def on_a_reshaped_one(x: Tensor) -> Tensor:
        return f((x * 1.5).view(-1)).view(4, 5)

    def twice(x: Tensor) -> Tensor:
        h = x * 1.5
        f(h)
        return f(h - 0.3)

    assert_twin(on_a_view, [_x()], None)
    assert_twin(seen_by_a_view, [_x()], NODE)
    assert_twin(on_a_reshaped_one, [_x()], None)
    assert_twin(twice, [_x()], NODE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", EVERY)
def test_other_dtypes_give_the_bits_of_the_operation(name: str, dtype: torch.dtype) -> None:
    x = _x(33, dtype=dtype).detach().requires_grad_()
    plain = EVERY[name](x)
    (expected,) = torch.autograd.grad(plain, x, torch.ones_like(plain))
    with Twins():
        twin = EVERY[name](x)
    (actual,) = torch.autograd.grad(twin, x, torch.ones_like(twin))
    assert torch.equal(plain, twin)
    assert twin.dtype is plain.dtype
    assert torch.equal(actual, expected)


class Labelled(Tensor):
    pass


FALLING_THROUGH: dict[str, Callable[[Tensor], Any]] = {
    "subclass": lambda x: F.relu(x.as_subclass(Labelled)),  # type: ignore[arg-type]
    "vmap": lambda x: torch.func.vmap(F.relu)(x),
    "functional in-place on vmap": lambda x: torch.func.vmap(lambda h: F.relu_(h * 1))(x),
    "checkpoint": lambda x: torch.utils.checkpoint.checkpoint(F.relu, x, use_reentrant=False),
    "rrelu": lambda x: F.rrelu(x, training=False),
    "relu6": lambda x: F.relu6(x),
    "elu": F.elu,
    "prelu": lambda x: F.prelu(x, torch.full((5,), 0.2, dtype=x.dtype)),
}


@pytest.mark.parametrize("name", FALLING_THROUGH)
def test_falls_through(name: str) -> None:
    operation = FALLING_THROUGH[name]
    x = _x()
    expected = operation(x)
    with Twins():
        actual = operation(x)
    assert type(actual) is type(expected)
    assert_matches(actual.as_subclass(Tensor), expected.as_subclass(Tensor), op="twins", order=0)
    assert_used(actual, None)
    got, want = (torch.autograd.grad(y.sum(), x)[0] for y in (actual, expected))
    assert_gradients_match([got], [want], op="twins", order=1)


def test_records_nothing_where_autograd_records_nothing() -> None:
    with Twins():
        with torch.no_grad():
            assert F.relu(_x()).grad_fn is None
            h = _x()
            F.relu_(h)  # a leaf may be written here
        assert F.relu(_x().detach()).grad_fn is None
        with torch.inference_mode():
            assert F.leaky_relu(_x()).is_inference()
        assert F.relu(torch.arange(-3, 3)).tolist() == [0, 0, 0, 0, 1, 2]


# torch's own, when forward-mode derivatives are first used
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_transforms_see_the_plain_operation() -> None:
    x = _x().detach()
    with Twins():
        by_grad = torch.func.grad(lambda t: F.leaky_relu(t, 0.2).square().sum())(x)
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(
                x.clone().requires_grad_(), torch.ones_like(x)
            )
            tangent = torch.autograd.forward_ad.unpack_dual(F.relu(dual)).tangent
    slope = torch.where(x > 0, 1.0, 0.2 * torch.ones_like(x))
    assert_matches(by_grad, 2 * x * slope * slope, op="twins", order=1)
    assert tangent is not None
    assert torch.equal(tangent, (x > 0).double())


def test_errors_of_the_operation_stay_its_own() -> None:
    with Twins():
        with pytest.raises(TypeError):
            F.relu("no tensor")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            torch.relu(_x(), 3)  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            F.leaky_relu(_x(), slope=3)  # type: ignore[call-arg]
        with pytest.raises(RuntimeError):
            F.relu(torch.randn(3, dtype=torch.complex64, requires_grad=True))


def test_every_twin_is_found_by_the_name_torch_calls_it() -> None:
    called = set()

    class Names(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            called.add(func)
            return func(*args, **(kwargs or {}))

    with Names():
        for operation in EVERY.values():
            operation(_x())
    assert called >= {
        F.relu,
        torch.relu,
        Tensor.relu,
        torch.relu_,
        Tensor.relu_,
        F.leaky_relu,
        F.leaky_relu_,
    }
    assert {f for f in TWINS if "relu" in f.__name__} <= called


def test_double_backward_of_an_mlp_does_no_more_than_the_mathematics() -> None:
    sizes = (6, 8, 9, 1)
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
    critic = nn.Sequential(*layers[:-1]).double()
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    expected = count_penalty(critic, x, twins=False)[0]
    reference = [p.grad.clone() for p in critic.parameters() if p.grad is not None]
    critic.zero_grad()
    actual, _ = count_penalty(critic, x, twins=True)
    # A tangent for each layer but the last, whose cotangent is constant, and a weight gradient for
    # each: 5 products for 3 layers. Torch's own carries zeros through more.
    products = sum(actual[name] for name in ("mm", "addmm", "bmm"))
    assert products == 5 < sum(expected[name] for name in ("mm", "addmm", "bmm"))
    assert actual["leaky_relu_backward"] == 2
    assert not [name for name in actual if "zero" in name or "double_backward" in name]
    got = [p.grad for p in critic.parameters() if p.grad is not None]
    weights = [g for g in reference if g.dim() == 2]
    assert_gradients_match(got[: len(weights)], weights, op="twins", order=2)
