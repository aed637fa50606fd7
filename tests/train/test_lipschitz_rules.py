from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fastwgan.train.lipschitz_rules import KEEPING
from tests.train.lipschitz_cases import Critic, dense, norm, normal, read

Function = Callable[[Tensor], Tensor]


class Applied(nn.Module):
    """A function as a module."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def constant(function: Function, *shape: int, rows: int = 3) -> float | None:
    """What a function is said to multiply distances by at most."""
    samples = normal(rows, *shape)
    with torch.no_grad():
        outputs = function(samples.clone()).numel() // rows
    bound = read(Critic(Applied(function)), samples)[1]
    return None if bound.value is None else bound.value / math.sqrt(outputs)


def steepest(function: Function, *shape: int, scale: float = 1.0) -> float:
    """The largest norm of a function's Jacobian over many points."""
    points = scale * normal(300, *shape, seed=1)
    jacobians = torch.func.vmap(torch.func.jacrev(lambda x: function(x[None])[0].flatten()))(points)
    matrices = jacobians.flatten(2)
    return float(torch.linalg.matrix_norm(matrices, ord=2).detach().max())


KEEPING_CASES: dict[str, Function] = {
    "view": lambda x: x.view(len(x), -1),
    "reshape": lambda x: x.reshape(len(x), -1),
    "flatten": lambda x: x.flatten(2),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "squeeze": lambda x: x.squeeze(0),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "contiguous": lambda x: x.contiguous(),
    "clone": lambda x: x.clone(),
    "to": lambda x: x.to(torch.float64),
    "permute": lambda x: x.permute(0, 2, 1, 3),
    "transpose": lambda x: x.transpose(1, 2),
    "mT": lambda x: x.mT,
    "pixel_shuffle": lambda x: functional.pixel_shuffle(x, 2),
    "flip": lambda x: x.flip(2),
    "roll": lambda x: x.roll(1, 2),
    "chunk": lambda x: x.chunk(2, 1)[1],
    "split": lambda x: torch.split(x, 2, 1)[0],
    "unbind": lambda x: x.unbind(1)[1],
    "narrow": lambda x: x.narrow(1, 1, 2),
    "relu": functional.relu,
    "relu6": functional.relu6,
    "hardtanh": functional.hardtanh,
    "clamp": lambda x: x.clamp(-1, 1),
    "tanh": torch.tanh,
    "softplus": lambda x: functional.softplus(x, beta=3.0),
    "softsign": functional.softsign,
    "log_sigmoid": functional.logsigmoid,
    "abs": torch.abs,
    "neg": lambda x: -x,
    "sin": torch.sin,
    "tanhshrink": functional.tanhshrink,
    "softshrink": functional.softshrink,
    "softmax": lambda x: x.softmax(2),
    "amax": lambda x: x.amax((2, 3)),
    "max": lambda x: x.max(2).values,
    "logsumexp": lambda x: x.logsumexp(2),
    "masked_fill": lambda x: x.masked_fill(torch.eye(4, 4, dtype=torch.bool)[:, :, None], 0.0),
    "celu": lambda x: functional.celu(x, 0.5),
}


@pytest.mark.parametrize("name", KEEPING_CASES)
def test_what_is_said_to_keep_distances_does(name: str) -> None:
    assert name in KEEPING
    function = KEEPING_CASES[name]
    assert constant(function, 4, 4, 2) == 1
    assert 0.2 < steepest(function, 4, 4, 2, scale=3) <= 1 + 1e-12


SLOPES = {
    "gelu": functional.gelu,
    "gelu by tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "mish": functional.mish,
    "selu": functional.selu,
    "hardswish": functional.hardswish,
    "sigmoid": torch.sigmoid,
    "hardsigmoid": functional.hardsigmoid,
    "elu": lambda x: functional.elu(x, 1.7),
    "elu by default": functional.elu,
    "leaky": lambda x: functional.leaky_relu(x, 0.2),
    "leaky by default": functional.leaky_relu,
    "leaky and steep": lambda x: functional.leaky_relu(x, -2.5),
}


@pytest.mark.parametrize("name", SLOPES)
def test_slopes_of_activations(name: str) -> None:
    x = torch.linspace(-8, 8, 400_001, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(SLOPES[name](x).sum(), x)
    steepest = float(slopes.abs().max())
    found = constant(SLOPES[name], 5)
    assert found is not None
    assert steepest * (1 - 1e-7) <= found <= steepest * 1.0002


def test_prelu_has_its_largest_slope() -> None:
    layer = nn.PReLU(3).double()
    for slopes, expected in (([0.5, -0.1, 0.2], 1.0), ([0.5, -3.0, 2.0], 3.0)):
        layer.weight.data = torch.tensor(slopes, dtype=torch.float64)
        assert constant(layer, 3) == pytest.approx(expected, rel=1e-12)


_WIDE = normal(3, 4)
_BILINEAR = normal(4, 3, 2)
AFFINE: dict[str, Function] = {
    "times a number": lambda x: x * -2.5,
    "times a tensor": lambda x: x * torch.tensor([1.0, -3.0, 2.0]),
    "by a number": lambda x: x / 4,
    "by a tensor": lambda x: torch.div(x, torch.tensor([1.0, -0.2, 2.0])),
    "plus a tensor": lambda x: x + torch.tensor([1.0, -3.0, 2.0]),
    "from a number": lambda x: 1 - x,
    "from a tensor, scaled": lambda x: torch.sub(torch.ones(3), x, alpha=3),
    "sum": lambda x: x.sum(1, keepdim=True),
    "mean": lambda x: x.mean(1, keepdim=True),
    "expand": lambda x: x[:, None].expand(-1, 5, -1),
    "repeat": lambda x: x.repeat(1, 3),
    "broadcast": lambda x: x[:, None] * torch.ones(4, 1),
    "taken twice": lambda x: x[:, [0, 0, 1]],
    "slice": lambda x: x[:, 1:],
    "matmul": lambda x: x @ _WIDE,
    "matmul from the left": lambda x: torch.matmul(_WIDE.T, x[..., None]),
    "einsum": lambda x: torch.einsum("bi,ij->bj", x, _WIDE),
    "addmm": lambda x: torch.addmm(torch.ones(4).double(), x, _WIDE),
    "cumsum": lambda x: x.cumsum(1),
    "linear": lambda x: functional.linear(x, _WIDE.T, torch.ones(4).double()),
    "bilinear": lambda x: functional.bilinear(x, torch.ones(len(x), 2).double(), _BILINEAR),
    "weighted sum": lambda x: (x * torch.tensor([1.0, -3.0, 2.0])).sum(1, keepdim=True),
}


@pytest.mark.parametrize("name", AFFINE)
def test_an_affine_function_has_the_norm_of_its_matrix(name: str) -> None:
    assert constant(AFFINE[name], 3) == pytest.approx(norm(dense(AFFINE[name], (3,))), rel=1e-10)


IMAGES: dict[str, Function] = {
    "average pooling": lambda x: functional.avg_pool2d(x, 3, 2, 1),
    "adaptive average pooling": lambda x: functional.adaptive_avg_pool2d(x, 3),
    "nearest": lambda x: functional.interpolate(x, scale_factor=2),
    "bilinear": lambda x: functional.interpolate(x, size=(5, 4), mode="bilinear"),
    "padding": lambda x: functional.pad(x, (2, 1, 1, 1), mode="reflect"),
    "unfold": lambda x: functional.unfold(x, 3),
    "sum over places": lambda x: x.sum((2, 3)),
    "global mean": lambda x: x.mean((2, 3)),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_affine_function_of_images_has_the_norm_of_its_matrix(name: str) -> None:
    found = constant(IMAGES[name], 2, 7, 6)
    assert found == pytest.approx(norm(dense(IMAGES[name], (2, 7, 6))), rel=1e-10)


def test_a_sum_weighted_row_by_row_has_the_largest_row() -> None:
    """As a projection critic's embedding of labels is."""
    weights = normal(3, 5)
    found = constant(lambda x: (x * weights).sum(1, keepdim=True), 5)
    assert found == pytest.approx(float(weights.norm(dim=1).max()), rel=1e-10)


def pools() -> dict[str, tuple[Function, tuple[int, ...]]]:
    return {
        "apart": (nn.MaxPool2d(2), (1, 6, 6)),
        "overlapping": (nn.MaxPool2d(3, 2), (1, 7, 7)),
        "overlapping and padded": (nn.MaxPool2d(3, 1, 1), (1, 5, 5)),
        "overlapping too little": (nn.MaxPool2d(3, 2), (1, 4, 7)),
        "dilated": (nn.MaxPool2d(2, 1, dilation=2), (1, 6, 4)),
        "one dimension, by position": (lambda x: functional.max_pool1d(x, 3, 1), (1, 6)),
        "up to the ceiling": (nn.MaxPool2d(3, 2, ceil_mode=True), (1, 6, 6)),
        "adaptive": (nn.AdaptiveMaxPool2d((4, 2)), (1, 6, 6)),
    }


@pytest.mark.parametrize("name", pools())
def test_max_pooling_has_the_root_of_its_overlap(name: str) -> None:
    """The pixel that most windows share, raised alone, raises them all."""
    pool, shape = pools()[name]
    size = torch.Size(shape).numel()
    raised = torch.eye(size, dtype=torch.float64).view(size, *shape)
    overlaps = [int(pool(image[None]).sum()) for image in raised]
    assert constant(pool, *shape) == pytest.approx(math.sqrt(max(overlaps)), rel=1e-12)


def normalised(layer: nn.Module) -> nn.Module:
    for name, parameter in layer.named_parameters():
        seed = len(name)
        parameter.data = normal(*parameter.shape, seed=seed).to(parameter)
    return layer.double().eval()


def test_batch_norm_in_evaluation_mode_is_affine() -> None:
    layer = normalised(nn.BatchNorm1d(4))
    layer.running_var.copy_(torch.tensor([0.5, 2.0, 0.01, 1.0]))
    layer.running_mean.copy_(torch.arange(4))
    assert constant(layer, 4) == pytest.approx(norm(dense(layer, (4,))), rel=1e-12)
    pool = normalised(nn.InstanceNorm1d(2, affine=True, track_running_stats=True))
    pool.running_var.copy_(torch.tensor([0.5, 0.2]))
    assert constant(pool, 2, 3) == pytest.approx(norm(dense(pool, (2, 3))), rel=1e-12)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.LayerNorm(5, eps=1e-2), (5,)),
        (nn.LayerNorm((2, 3), eps=1e-2), (4, 2, 3)),
        (nn.GroupNorm(2, 4, eps=1e-2), (4, 3)),
        (nn.InstanceNorm1d(4, eps=1e-2, affine=True), (4, 6)),
        (nn.RMSNorm(5, eps=1e-2), (5,)),
        (nn.LayerNorm(5, eps=1e-2, elementwise_affine=False), (5,)),
    ],
)
def test_norms_by_own_statistics_are_steepest_near_constant_inputs(
    layer: nn.Module, shape: tuple[int, ...]
) -> None:
    layer = normalised(layer)
    found = constant(layer, *shape)
    gain = max(
        (float(p.detach().abs().max()) for n, p in layer.named_parameters() if n == "weight"),
        default=1.0,
    )
    assert found == pytest.approx(gain / 0.1, rel=1e-9)
    near = steepest(layer, *shape, scale=1e-4)
    assert 0.5 * found < near <= found
    assert steepest(layer, *shape, scale=10) < 0.2 * near
    (row, *_), _ = read(Critic(layer), normal(2, *shape))
    assert "near constant inputs" in row.note


UNKNOWN: dict[str, tuple[Function, str]] = {
    "square": (lambda x: x * x, "mul of several activations"),
    "power": (lambda x: x**2, "pow"),
    "quotient": (lambda x: 1 / (x**2 + 1), "no Lipschitz constant of pow"),
    "reciprocal": (lambda x: 1 / x.clamp(min=1), "no Lipschitz constant of"),
    "divided by": (lambda x: torch.ones(3).div(x), "no Lipschitz constant of div"),
    "gate": (lambda x: x * (x > 0), "no Lipschitz constant of gt"),
    "places of maxima": (
        lambda x: x.max(1, keepdim=True).indices.to(torch.float64) + x,
        "truth values or indices",
    ),
    "rounded quotient": (lambda x: torch.div(x, 2, rounding_mode="floor"), "div is known"),
    "weights that move": (lambda x: functional.linear(torch.ones(1, 3).double(), x).T, "linear"),
    "dropout": (lambda x: functional.dropout(x, 0.5), "dropout in training mode"),
    "attention": (
        lambda x: functional.scaled_dot_product_attention(x[None], x[None], x[None])[0],
        "mixes the samples",
    ),
    "attention inside": (
        lambda x: functional.scaled_dot_product_attention(*3 * (x[..., None],)),
        "attention isn't Lipschitz",
    ),
    "batch norm of the batch": (
        lambda x: functional.batch_norm(x, None, None, training=True),
        "mix",
    ),
    "mixing rows": (lambda x: x - x.mean(0), "mixes the samples"),
    "layer norm without epsilon": (lambda x: functional.layer_norm(x, (3,), eps=0.0), "ε = 0"),
    "a choice by value": (lambda x: 2 * x if x.sum() > 0 else x, "reads numbers out of tensors"),
    "random": (lambda x: x + torch.rand(3), "draws random numbers"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_has_no_known_constant_has_no_bound(name: str) -> None:
    function, reason = UNKNOWN[name]
    bound = read(Critic(Applied(function)), normal(3, 3))[1]
    assert bound.value is None
    assert bound.note.startswith("no bound is known: ")
    assert reason in bound.note


def test_a_shape_taken_from_another_activation_is_no_second_branch() -> None:
    assert constant(lambda x: x.view_as(x.flatten(1)), 4) == 1
    assert constant(lambda x: x[:, :1].expand_as(x), 4) == pytest.approx(2, rel=1e-12)


def test_two_activations_that_join() -> None:
    matrices = [normal(4, 3), normal(4, 3, seed=1)]
    first, second = (norm(matrix) for matrix in matrices)

    def both(x: Tensor) -> list[Tensor]:
        return [functional.linear(x, matrix) for matrix in matrices]

    def spread(x: Tensor) -> Tensor:
        return functional.linear(x, matrices[0]) + x.sum(1, keepdim=True)

    cases: list[tuple[Function, float]] = [
        (lambda x: torch.add(*both(x)), first + second),
        (lambda x: torch.sub(*both(x), alpha=-3), first + 3 * second),
        (lambda x: torch.cat(both(x), 1), math.hypot(first, second)),
        (lambda x: torch.stack(both(x), 1), math.hypot(first, second)),
        (lambda x: torch.maximum(*both(x)), math.hypot(first, second)),
        (spread, first + math.sqrt(3) * 2),
        (lambda x: x + x, 2.0),
    ]
    for function, expected in cases:
        assert constant(function, 3) == pytest.approx(expected, rel=1e-10)
        assert steepest(function, 3) <= expected * (1 + 1e-12)
