"""Calls of every kind that has rules by hand, as a critic makes them between two linear layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Case(NamedTuple):
    """One kind of call.

    Attributes:
        kind: Of the rule that must have it.
        call: From [rows, 4, 6] and weights to a tensor, or a tuple of tensors.
        weights: The weights' shapes; none of them has a dimension of rows.
        row_wise: Whether rows stay apart.
        shape: Of one row of the input.
        positive: The input is kept above 0.2.
    """

    kind: str
    call: Callable[..., Any]
    weights: tuple[tuple[int, ...], ...] = ()
    row_wise: bool = True
    shape: tuple[int, ...] = (4, 6)
    positive: bool = False


IMAGE = (4, 6, 6)


def in_place(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[[Tensor], Tensor]:
    """The call on a tensor of its own."""
    return lambda x: function(x.clone(), *args, **kwargs)  # type: ignore[no-any-return]


def _running(x: Tensor) -> tuple[Tensor, Tensor]:
    """A mean and a variance, [4] each, that do not depend on x."""
    return torch.tensor([0.1, -0.2, 0.3, 0.0]).to(x.dtype), torch.full((4,), 2.0, dtype=x.dtype)


SMOOTH = {
    "tanh": Case("tanh", torch.tanh),
    "Tensor.tanh": Case("tanh", Tensor.tanh),
    "sigmoid": Case("sigmoid", nn.Sigmoid()),
    "exp": Case("exp", torch.exp),
    "sqrt": Case("sqrt", torch.sqrt, positive=True),
    "rsqrt": Case("rsqrt", Tensor.rsqrt, positive=True),
    "reciprocal": Case("reciprocal", torch.reciprocal, positive=True),
    "log": Case("log", torch.log, positive=True),
    "square": Case("square", Tensor.square),
    "pow 3": Case("pow", lambda x: x**3),
    "pow 2": Case("pow", lambda x: torch.pow(x, 2)),
    "pow 1": Case("pow", lambda x: x.pow(1)),
    "pow -0.5": Case("pow", lambda x: x**-0.5, positive=True),
    "silu": Case("silu", F.silu),
    "silu in place": Case("silu", in_place(F.silu, inplace=True)),
    "gelu": Case("gelu", F.gelu),
    "gelu by tanh": Case("gelu", nn.GELU(approximate="tanh")),
    "softplus": Case("softplus", F.softplus),
    "softplus, beta": Case("softplus", nn.Softplus(2.0, 1.0)),
    "elu": Case("elu", nn.ELU(0.7)),
    "elu in place": Case("elu", in_place(F.elu, 1.3, inplace=True)),
    "celu": Case("celu", nn.CELU(0.5)),
    "selu": Case("selu", nn.SELU()),
    "clamp": Case("clamp", lambda x: x.clamp(-0.5, 0.8)),
    "clamp_": Case("clamp", in_place(Tensor.clamp_, max=0.4)),
    "clamp_min": Case("clamp_min", lambda x: torch.clamp_min(x, -0.2)),
    "clamp_max": Case("clamp_max", lambda x: x.clamp_max(0.2)),
    "hardtanh": Case("hardtanh", nn.Hardtanh(-0.6, 0.7)),
    "relu6": Case("hardtanh", nn.ReLU6()),
    "F.relu6": Case("relu6", F.relu6),
    "abs": Case("abs", abs),
    "prelu": Case("prelu", F.prelu, ((1,),)),
    "prelu by channel": Case("prelu", F.prelu, ((4,),)),
    "softmax": Case("softmax", lambda x: F.softmax(x, -1)),
    "softmax over channels": Case("softmax", lambda x: x.softmax(1)),
    "softmax over rows": Case("softmax", lambda x: torch.softmax(x, 0), row_wise=False),
    "log_softmax": Case("log_softmax", lambda x: F.log_softmax(x, dim=2)),
}

NORMS = {
    "layer norm": Case("layer_norm", lambda x, w, b: F.layer_norm(x, (6,), w, b), ((6,), (6,))),
    "layer norm of two": Case(
        "layer_norm", lambda x, w, b: F.layer_norm(x, (4, 6), w, b, 1e-3), ((4, 6), (4, 6))
    ),
    "layer norm, no bias": Case("layer_norm", lambda x, w: F.layer_norm(x, (6,), w), ((6,),)),
    "layer norm, bare": Case("layer_norm", lambda x: F.layer_norm(x, (6,))),
    "group norm": Case("group_norm", lambda x, w, b: F.group_norm(x, 2, w, b), ((4,), (4,))),
    "group norm of images": Case(
        "group_norm", lambda x, w, b: F.group_norm(x, 4, w, b), ((4,), (4,)), shape=IMAGE
    ),
    "group norm, bare": Case("group_norm", lambda x: F.group_norm(x, 1)),
    "instance norm": Case(
        "instance_norm",
        lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
        ((4,), (4,)),
        shape=IMAGE,
    ),
    "instance norm, bare": Case("instance_norm", lambda x: F.instance_norm(x)),
    "batch norm": Case(
        "batch_norm",
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        ((4,), (4,)),
        row_wise=False,
    ),
    "batch norm, bare": Case(
        "batch_norm", lambda x: F.batch_norm(x, None, None, training=True), row_wise=False
    ),
    "batch norm in eval": Case(
        "batch_norm in eval",
        lambda x, w, b: F.batch_norm(x, *_running(x), w, b),
        ((4,), (4,)),
    ),
    "batch norm in eval, bare": Case("batch_norm in eval", lambda x: F.batch_norm(x, *_running(x))),
}

POOLING = {
    "average": Case("average_pool", lambda x: F.avg_pool2d(x, 2), shape=IMAGE),
    "average, odd": Case("average_pool", nn.AvgPool2d(3, 2, 1, True, False), shape=IMAGE),
    "average of lines": Case("average_pool", lambda x: F.avg_pool1d(x, 2)),
    "maximum": Case("maximum_pool", nn.MaxPool2d(3, 2, 1), shape=IMAGE),
    "maximum of lines": Case("maximum_pool", nn.MaxPool1d(2)),
    "adaptive average": Case("adaptive_average_pool", nn.AdaptiveAvgPool2d((2, 3)), shape=IMAGE),
    "global average": Case("adaptive_average_pool", nn.AdaptiveAvgPool2d(1), shape=IMAGE),
    "adaptive average of lines": Case("adaptive_average_pool", nn.AdaptiveAvgPool1d(4)),
    "adaptive maximum": Case("adaptive_maximum_pool", nn.AdaptiveMaxPool2d(4), shape=IMAGE),
}

SHAPES = {
    "view": Case("reshape", lambda x: x.view(len(x), 8, -1)),
    "view, rows inferred": Case("reshape", lambda x: x.view(-1, 3, 8)),
    "reshape": Case("reshape", lambda x: torch.reshape(x, (x.shape[0], 24))),
    "flatten": Case("reshape", nn.Flatten()),
    "flatten rows too": Case("reshape", lambda x: x.flatten(0, 1), row_wise=False),
    "flatten all": Case("reshape", torch.flatten, row_wise=False),
    "unflatten": Case("reshape", nn.Unflatten(2, (2, 3))),
    "unsqueeze": Case("reshape", lambda x: x.unsqueeze(1)),
    "squeeze": Case("reshape", lambda x: x.squeeze(1), shape=(1, 6)),
    "pack": Case("reshape", lambda x: x.reshape(-1, 12), row_wise=False),
    "expand": Case("expand", lambda x: x.expand(-1, 4, 6), shape=(1, 6)),
    "expand as": Case("expand", lambda x: x.expand(len(x), 4, 6), shape=(4, 1)),
    "expand before": Case("expand", lambda x: x.expand(3, *x.shape), row_wise=False),
    "permute": Case("permute", lambda x: x.permute(0, 2, 1)),
    "transpose": Case("permute", lambda x: x.transpose(-1, -2)),
    "mT": Case("permute", lambda x: x.mT),
    "movedim": Case("permute", lambda x: x.movedim(1, 3), shape=IMAGE),
    "transpose of rows": Case("permute", lambda x: x.transpose(0, 1), row_wise=False),
    "double": Case("cast", Tensor.double),
    "to a dtype": Case("cast", lambda x: x.to(x.dtype)),
    "float": Case("cast", lambda x: x.to(torch.float64)),
    "contiguous": Case("cast", Tensor.contiguous),
    "clone": Case("cast", torch.clone),
    "cat": Case("cat", lambda x: torch.cat([x, 2 * x], 1)),
    "cat of rows": Case("cat", lambda x: torch.cat([x, 2 * x]), row_wise=False),
    "stack": Case("stack", lambda x: torch.stack([x, 2 * x], 1)),
    "stack last": Case("stack", lambda x: torch.stack((x, 2 * x), dim=-1)),
    "stack before": Case("stack", lambda x: torch.stack([x, 2 * x]), row_wise=False),
    "pick": Case("pick", lambda x: x[:, 1:3]),
    "pick one": Case("pick", lambda x: x[:, 1]),
    "pick behind": Case("pick", lambda x: x[..., -1]),
    "pick with a new dimension": Case("pick", lambda x: x[:, None, ::2]),
    "pick rows": Case("pick", lambda x: x[1:], row_wise=False),
    "pick a row": Case("pick", lambda x: x[0], row_wise=False),
    "pick, new dimension before": Case("pick", lambda x: x[None], row_wise=False),
    "select": Case("select", lambda x: x.select(1, 2)),
    "narrow": Case("select", lambda x: torch.narrow(x, 2, 1, 3)),
    "narrow rows": Case("select", lambda x: x.narrow(0, 0, 1), row_wise=False),
    "chunk": Case("split", lambda x: x.chunk(2, 1)),
    "split": Case("split", lambda x: x.split((2, 4), dim=2)),
    "split rows": Case("split", lambda x: x.split(1), row_wise=False),
    "unbind": Case("unbind", lambda x: x.unbind(1)),
    "unbind rows": Case("unbind", torch.unbind, row_wise=False),
    "flip": Case("flip", lambda x: x.flip(1, 2)),
    "flip rows": Case("flip", lambda x: torch.flip(x, [0]), row_wise=False),
    "roll": Case("roll", lambda x: x.roll(2, 1)),
    "roll all": Case("roll", lambda x: x.roll(1), row_wise=False),
    "repeat": Case("repeat", lambda x: x.repeat(1, 2, 1)),
    "repeat rows": Case("repeat", lambda x: x.repeat(2, 1, 1), row_wise=False),
    "pixel_shuffle": Case("pixel_shuffle", nn.PixelShuffle(2), shape=IMAGE),
    "pixel_unshuffle": Case("pixel_shuffle", nn.PixelUnshuffle(2), shape=IMAGE),
    "pad": Case("pad", lambda x: F.pad(x, (1, 2))),
    "pad with a number": Case("pad", lambda x: F.pad(x, (1, 0, 2, 1), "constant", 0.7)),
    "pad, named": Case("pad", lambda x: F.pad(x, (1, 0), mode="constant", value=0.7)),
    "pad by reflection": Case("pad", nn.ReflectionPad2d(2), shape=IMAGE),
    "pad by copies": Case("pad", nn.ReplicationPad2d(1), shape=IMAGE),
    "pad in a circle": Case("pad", nn.CircularPad2d(1), shape=IMAGE),
    "pad rows": Case("pad", lambda x: F.pad(x, (0, 0, 0, 0, 1, 1)), row_wise=False),
    "nearest": Case("interpolate", nn.Upsample(scale_factor=2), shape=IMAGE),
    "bilinear": Case("interpolate", nn.Upsample((9, 5), mode="bilinear"), shape=IMAGE),
    "bicubic": Case(
        "interpolate",
        lambda x: F.interpolate(x, scale_factor=0.5, mode="bicubic", align_corners=True),
        shape=IMAGE,
    ),
    "area": Case("interpolate", lambda x: F.interpolate(x, 3, mode="area"), shape=IMAGE),
}

REDUCTIONS = {
    "sum": Case("sum", lambda x: x.sum(1)),
    "sum of two": Case("sum", lambda x: torch.sum(x, (1, 2), keepdim=True)),
    "sum of all": Case("sum", torch.sum, row_wise=False),
    "sum of rows": Case("sum", lambda x: x.sum(0), row_wise=False),
    "mean": Case("mean", lambda x: x.mean([1, 2])),
    "mean of rows": Case("mean", lambda x: x.mean(0, keepdim=True), row_wise=False),
    "var": Case("var", lambda x: x.var(2)),
    "var, biased": Case("var", lambda x: x.var(1, unbiased=False, keepdim=True)),
    "var of rows": Case("var", lambda x: torch.var(x, dim=0, correction=0), row_wise=False),
    "std": Case("std", lambda x: x.std(dim=(1, 2))),
    "std of all": Case("std", torch.std, row_wise=False),
    "norm": Case("norm", lambda x: x.norm(dim=1)),
    "norm of two": Case("norm", lambda x: torch.norm(x, 2, dim=(1, 2), keepdim=True)),
    "norm of all": Case("norm", torch.norm, row_wise=False),
    "vector norm": Case("norm", lambda x: torch.linalg.vector_norm(x, dim=2)),
    "amax": Case("amax", lambda x: x.amax(2)),
    "amin": Case("amin", lambda x: torch.amin(x, (1, 2))),
    "amax, with ties": Case("amax", lambda x: x.clamp(max=0.1).amax(2)),
    "max of all": Case("amax", torch.max, row_wise=False),
    "max": Case("max over a dimension", lambda x: x.max(1)[0]),
    "min": Case("max over a dimension", lambda x: torch.min(x, dim=2, keepdim=True).values),
    "max of rows": Case("max over a dimension", lambda x: x.max(0)[0], row_wise=False),
}

ARITHMETIC = {
    "add a number": Case("add", lambda x: x + 2),
    "number plus": Case("add", lambda x: 2.5 + x),
    "add in place": Case("add", in_place(Tensor.add_, 3.0)),
    "add a number, alpha": Case("add", lambda x: torch.add(x, 2.5, alpha=3.0)),
    "subtract a number": Case("sub", lambda x: x - 2),
    "subtract a number, alpha": Case("sub", lambda x: x.sub(2, alpha=0.5)),
    "number minus": Case("sub", lambda x: 1 - x),
    "negative": Case("mul", lambda x: -x),
    "times a number": Case("mul", lambda x: 3 * x),
    "by a number": Case("div", lambda x: x / 3),
    "number by": Case("div", lambda x: 2 / x, positive=True),
    "add a weight": Case("add", lambda x, w: x + w, ((6,),)),
    "add a scalar weight": Case("add", lambda x, w: w + x, ((),)),
    "add positions": Case("add", lambda x, w: x + w, ((1, 4, 6),)),
    "add, alpha": Case("add", lambda x, w: torch.add(x, w, alpha=-2.0), ((4, 1),)),
    "weight minus": Case("sub", lambda x, w: w - x, ((4, 6),)),
    "subtract, alpha": Case("sub", lambda x, w: x.sub(w, alpha=0.3), ((6,),)),
    "times a weight": Case("mul", lambda x, w: x * w, ((6,),)),
    "a weight times": Case("mul", lambda x, w: w * x, ((1,),)),
    "times in place": Case("mul", lambda x, w: x.clone().mul_(w), ((4, 1),)),
    "by a weight": Case("div", lambda x, w: x / w, ((6,),)),
    "a weight by": Case("div", lambda x, w: w / x, ((4, 1),), positive=True),
    "times itself": Case("mul", lambda x: x * x),
    "plus itself": Case("add", lambda x: x + x),
    "by itself and one": Case("div", lambda x: torch.div(x, x + 1), positive=True),
    "matmul by a weight": Case("matmul", lambda x, w: x @ w, ((6, 5),)),
    "a weight matmul": Case("matmul", lambda x, w: torch.matmul(w, x), ((5, 4),)),
    "matmul by a vector": Case("matmul", lambda x, w: x @ w, ((6,),)),
    "matmul by one batch": Case("matmul", lambda x, w: x @ w, ((1, 6, 2),)),
    "bmm": Case("matmul", lambda x: torch.bmm(x, x.mT)),
    "mm": Case("matmul", lambda x, w: torch.mm(x, w), ((6, 3),), shape=(6,)),
    "matmul of rows": Case("matmul", lambda x: x @ x.t(), shape=(6,), row_wise=False),
}

ATTENTION = {
    "attention": Case("attention", lambda x: F.scaled_dot_product_attention(x, x, x)),
    "causal attention": Case(
        "attention",
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=0.4),
        shape=(2, 4, 6),
    ),
    "masked attention": Case(
        "attention",
        lambda x: F.scaled_dot_product_attention(x, x, x, torch.eye(4).bool()),
    ),
    "biased attention": Case(
        "attention",
        lambda x: F.scaled_dot_product_attention(x, x, x, torch.eye(4, dtype=x.dtype)),
    ),
}

CASES: dict[str, Case] = {
    **SMOOTH,
    **NORMS,
    **POOLING,
    **SHAPES,
    **REDUCTIONS,
    **ARITHMETIC,
    **ATTENTION,
}


def inputs_of(case: Case, rows: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """The input and the weights."""
    x = torch.randn(rows, *case.shape, dtype=torch.float64)
    x = x.abs() + 0.2 if case.positive else x
    weights = [torch.randn(shape, dtype=torch.float64) + 1.5 for shape in case.weights]
    return [t.to(dtype) for t in (x, *weights)]
