from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from fastwgan.engine.twins import Twins
from tests.compare import assert_gradients_match, assert_matches
from tests.engine.twin_cases import Count, assert_twin, assert_used, count_penalty, derivatives

NODE = "ConvolutionBackward"
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSES = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}

GEOMETRIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "stride": {"stride": 2},
    "padding": {"padding": 1},
    "dcgan": {"stride": 2, "padding": 1, "kernel": 4},
    "dilation": {"dilation": 2, "padding": 1},
    "groups": {"groups": 2},
    "depthwise": {"groups": 4, "padding": 1},
    "tuples": {"stride": (2,), "padding": [1], "dilation": (1,)},
    "valid": {"padding": "valid"},
    "same": {"padding": "same"},
    "same, dilated": {"padding": "same", "dilation": 2},
    "kernel of one": {"kernel": 1},
    "uneven stride": {"stride": 3, "padding": 2},  # some of the input's border is never read
    "everything": {"stride": 2, "padding": 2, "dilation": 2, "groups": 2},
}
TRANSPOSED_GEOMETRIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "dcgan": {"stride": 2, "padding": 1, "kernel": 4},
    "output padding": {"stride": 2, "output_padding": 1},
    "dilation": {"dilation": 2, "padding": 1},
    "groups": {"groups": 2, "stride": 2},
    "tuples": {"stride": (2,), "padding": [1], "output_padding": (1,)},
}


def _tensors(
    dims: int, geometry: dict[str, Any], *, transposed: bool, bias: bool = True, extent: int = 7
) -> tuple[list[Tensor], dict[str, Any]]:
    options = dict(geometry)
    kernel, groups = options.pop("kernel", 3), options.get("groups", 1)
    space = [extent, extent - 1, extent - 2][:dims]
    channels, outputs = 4, 8
    shape = (channels, outputs // groups) if transposed else (outputs, channels // groups)
    tensors = [torch.randn(2, channels, *space), torch.randn(*shape, *[kernel] * dims)]
    if bias:
        tensors.append(torch.randn(outputs))
    return [t.double().requires_grad_() for t in tensors], options


def _spread(options: dict[str, Any], dims: int) -> dict[str, Any]:
    """One-element sequences as they are for one dimension, repeated for more."""
    return {
        name: type(value)(list(value) * dims) if isinstance(value, (list, tuple)) else value
        for name, value in options.items()
    }


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_convolution_is_the_operation(dims: int, name: str) -> None:
    for bias in (True, False):
        tensors, options = _tensors(dims, GEOMETRIES[name], transposed=False, bias=bias)
        for each in (options, _spread(options, dims)):
            assert_twin(lambda *t: CONVOLUTIONS[dims](*t, **each), tensors, NODE)  # noqa: B023


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", TRANSPOSED_GEOMETRIES)
def test_transposed_convolution_is_the_operation(dims: int, name: str) -> None:
    for bias in (True, False):
        tensors, options = _tensors(
            dims, TRANSPOSED_GEOMETRIES[name], transposed=True, bias=bias, extent=5
        )
        for each in (options, _spread(options, dims)):
            # torch's third derivative raises where there is output padding: nothing to equal
            orders = 2 if "output_padding" in each else 3
            assert_twin(
                lambda *t: TRANSPOSES[dims](*t, **each),  # noqa: B023
                tensors,
                NODE,
                orders=orders,
            )


@pytest.mark.parametrize("requires", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1)])
def test_any_subset_of_inputs_may_be_constant(requires: tuple[int, ...]) -> None:
    tensors, _ = _tensors(2, {}, transposed=False)
    for tensor, needed in zip(tensors, requires, strict=True):
        tensor.requires_grad_(bool(needed))
    chosen = [t for t, needed in zip(tensors, requires, strict=True) if needed]

    def call(*moving: Tensor) -> Tensor:
        given = iter(moving)
        full = [next(given) if n else t for t, n in zip(tensors, requires, strict=True)]
        return F.conv2d(*full, padding=1)  # type: ignore[arg-type]

    assert_twin(call, chosen, NODE)


@pytest.mark.parametrize("dims", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_gradcheck(dims: int, transposed: bool) -> None:
    geometry = {"stride": 2, "padding": 1, "groups": 2}
    torch.manual_seed(3)
    operation = (TRANSPOSES if transposed else CONVOLUTIONS)[dims]
    space = [4, 3][:dims]
    shape = (4, 1) if transposed else (2, 2)
    inputs = [torch.randn(2, 4, *space), torch.randn(*shape, *[3] * dims), torch.randn(2)]
    tensors = [t.double().requires_grad_() for t in inputs]
    with Twins():
        assert gradcheck(lambda *t: operation(*t, **geometry), tensors)
        assert gradgradcheck(lambda *t: operation(*t, **geometry), tensors)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
@pytest.mark.parametrize(
    "layer",
    [
        lambda mode: nn.Conv1d(4, 2, 3, padding=1, padding_mode=mode),
        lambda mode: nn.Conv2d(4, 2, 3, stride=2, padding=1, padding_mode=mode),
        lambda mode: nn.Conv2d(4, 2, (3, 2), padding="same", padding_mode=mode),
        lambda mode: nn.Conv2d(4, 6, 3, padding=(2, 1), groups=2, padding_mode=mode),
    ],
    ids=["1d", "2d", "same", "grouped"],
)
def test_modules_with_every_padding_mode(layer: Callable[[str], nn.Module], mode: str) -> None:
    module = layer(mode).double()
    x = torch.randn(2, 4, *[5] * (module.weight.dim() - 2)).double().requires_grad_()  # type: ignore
    uneven = module.padding == "same" and mode == "zeros"  # type: ignore[comparison-overlap]
    assert_twin(lambda t, *_: module(t), [x], None if uneven else NODE)
    parameters = list(module.parameters())
    plain = derivatives(lambda *_: module(x), parameters)
    with Twins():
        twin = derivatives(lambda *_: module(x), parameters)
    for order, (got, want) in enumerate(zip(twin.orders, plain.orders, strict=False), 1):
        filled = [
            torch.zeros_like(p) if g is None else g for g, p in zip(got, parameters, strict=True)
        ]
        wanted = [
            torch.zeros_like(p) if g is None else g for g, p in zip(want, parameters, strict=True)
        ]
        if any(bool(w.any()) for w in wanted):
            assert_gradients_match(filled, wanted, op="twins", order=min(order, 2))


@pytest.mark.parametrize("module", [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d])
def test_transposed_modules_and_their_output_size(module: Callable[..., nn.Module]) -> None:
    layer = module(3, 2, 3, stride=2, padding=1).double()
    dims = layer.weight.dim() - 2  # type: ignore[union-attr,operator]
    x = torch.randn(2, 3, *[4] * dims).double().requires_grad_()
    assert_twin(lambda t: layer(t), [x], NODE)
    assert_twin(lambda t: layer(t, output_size=[8] * dims), [x], NODE)


def test_strided_inputs_and_channels_last() -> None:
    tensors, _ = _tensors(2, {}, transposed=False)
    x, weight, bias = (t.detach() for t in tensors)
    last = torch.channels_last
    for one, two in (
        (x.to(memory_format=last), weight),
        (x, weight.to(memory_format=last)),
        (x.to(memory_format=last), weight.to(memory_format=last)),
        (x.transpose(2, 3), weight.transpose(2, 3)),
        (x[:, :, ::2], weight),
    ):
        inputs = [one.requires_grad_(), two.requires_grad_(), bias.requires_grad_()]
        with Twins():
            twin = F.conv2d(*inputs)
        assert twin.stride() == F.conv2d(*inputs).stride()
        assert_twin(lambda *t: F.conv2d(*t), inputs, NODE)


def test_expanded_weights_and_inputs_used_twice() -> None:
    x, weight = torch.randn(2, 2, 5, 5).double(), torch.randn(2, 2, 3, 3).double()
    inputs = [x.requires_grad_(), weight.requires_grad_()]

    def twice(x: Tensor, weight: Tensor) -> Tensor:
        h = F.conv2d(x, weight, padding=1)
        return F.conv2d(h * x, weight + weight.mean(), padding=1)

    assert_twin(twice, inputs, NODE)
    assert_twin(lambda x, w: F.conv2d(x, w[:1].expand(2, -1, -1, -1)), inputs, NODE)
    # the convolution of a tensor with itself
    assert_twin(lambda w: F.conv2d(w, w, padding=1), [inputs[1]], NODE)


def test_autocast_casts_as_the_operation_is_cast() -> None:
    for dtype in (torch.float32, torch.float64):
        tensors, _ = _tensors(2, {}, transposed=False)
        inputs = [t.detach().to(dtype).requires_grad_() for t in tensors]
        results = []
        for mode in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                if mode:
                    with Twins():
                        y = F.conv2d(*inputs, padding=1)
                else:
                    y = F.conv2d(*inputs, padding=1)
            gradients = torch.autograd.grad(y.float().square().sum(), inputs)
            results.append((y, *gradients))
        for plain, twin in zip(*results, strict=True):
            assert twin.dtype is plain.dtype
            assert_matches(twin, plain.double(), op="twins", order=1)


def _conv_of_subclass(x: Tensor, w: Tensor) -> Tensor:
    class Labelled(Tensor):
        pass

    return F.conv2d(x.as_subclass(Labelled), w)


FALLING_THROUGH: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "unbatched": lambda x, w: F.conv2d(x[0], w),
    "empty batch": lambda x, w: F.conv2d(x[:0], w),
    "even kernel, same": lambda x, w: F.conv2d(x, w[..., :2, :2], padding="same"),
    "subclass": _conv_of_subclass,
    "vmap": lambda x, w: torch.func.vmap(F.conv2d, in_dims=(0, None))(x[:, None], w),
    "complex": lambda x, w: F.conv2d(x.to(torch.complex128), w.to(torch.complex128)).abs(),
    "checkpoint": lambda x, w: torch.utils.checkpoint.checkpoint(
        F.conv2d, x, w, use_reentrant=False
    ),
    "keyword nobody knows": lambda x, w: torch.convolution(
        x, w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1
    ),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("name", FALLING_THROUGH)
def test_falls_through(name: str) -> None:
    tensors, _ = _tensors(2, {}, transposed=False, bias=False)
    operation = FALLING_THROUGH[name]
    expected = operation(*tensors)
    with Twins():
        actual = operation(*tensors)
    assert_used(actual, None)
    assert type(actual) is not None
    assert actual.shape == expected.shape
    got, want = (torch.autograd.grad(y.sum(), tensors) for y in (actual, expected))
    for g, w in zip(got, want, strict=True):
        assert_matches(g.as_subclass(Tensor), w.as_subclass(Tensor), op="twins", order=1)


def test_no_grad_and_constants_record_nothing() -> None:
    tensors, _ = _tensors(2, {}, transposed=False)
    with Twins():
        with torch.no_grad():
            assert F.conv2d(*tensors).grad_fn is None
        assert F.conv2d(*(t.detach() for t in tensors)).grad_fn is None


@pytest.mark.parametrize(
    "call",
    [
        lambda x, w: F.conv2d(x, w, stride=0),
        lambda x, w: F.conv2d(x, w, padding=-1),
        lambda x, w: F.conv2d(x, w, groups=3),
        lambda x, w: F.conv2d(x, w, padding="mirror"),
        lambda x, w: F.conv2d(x, w, padding="same", stride=2),
        lambda x, w: F.conv2d(x[:, :3], w),
        lambda x, w: F.conv2d(x.float(), w),
        lambda x, w: F.conv2d(x[:, :, :2, :2], w),
        lambda x, w: F.conv2d(x, w, stride=(1, 1, 1)),
        lambda x, w: F.conv2d(x, w, dilation=0),
        lambda x, w: F.conv_transpose2d(x, w.transpose(0, 1), output_padding=1),
        lambda x, w: F.conv1d(x, w),
        lambda x, w: F.conv2d(x, w, torch.zeros(3).double()),
        lambda x, w: F.conv2d(x, w, stride=1.5),
    ],
)
def test_errors_of_the_operation_stay_its_own(call: Callable[[Tensor, Tensor], Tensor]) -> None:
    tensors, _ = _tensors(2, {}, transposed=False, bias=False)
    with pytest.raises((RuntimeError, TypeError, ValueError)) as plain:
        call(*tensors)
    with Twins(), pytest.raises(plain.type) as twin:
        call(*tensors)
    assert str(twin.value).splitlines()[0][:40] == str(plain.value).splitlines()[0][:40]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_double_backward_does_no_more_than_the_mathematics(dims: int) -> None:
    conv = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims]
    critic = nn.Sequential(
        conv(3, 4, 3, padding=1),
        nn.LeakyReLU(0.2),
        conv(4, 5, 3, padding=1),
        nn.ReLU(inplace=True),
        conv(5, 1, 3),
    ).double()
    x = torch.randn(2, 3, *[4] * dims).double().requires_grad_()
    plain, _ = count_penalty(critic, x, twins=False)
    reference = [p.grad.clone() for p in critic.parameters() if p.dim() > 1 and p.grad is not None]
    critic.zero_grad()
    twin, _ = count_penalty(critic, x, twins=True)
    # A tangent for each layer but the last, a weight gradient for each of three.
    assert twin["convolution"] == 2
    assert twin["convolution_backward"] == 3
    assert sum(plain[name] for name in ("convolution", "convolution_backward")) > 5
    assert not [name for name in twin if "zero" in name or "double_backward" in name]
    assert twin["leaky_relu_backward"] == 1
    assert twin["threshold_backward"] == 1
    got = [p.grad for p in critic.parameters() if p.dim() > 1]
    assert_gradients_match(got, reference, op="twins", order=2)
    assert all(p.grad is None for p in critic.parameters() if p.dim() == 1)


def test_gradient_at_the_points_alone_costs_no_weight_gradient() -> None:
    critic = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3))
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    with Twins():
        scores = critic(x)
    with Count() as count:
        torch.autograd.grad(scores.sum(), x, create_graph=True)
    assert count.calls["convolution_backward"] == 2
    assert count.calls["sum"] == 1  # the scores' own, none for a bias
