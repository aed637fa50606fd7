"""The jobs of docs/gpu.md: run once on the emulator and once in eager PyTorch, and counted."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from fastwgan import _gpu, backends
from fastwgan.ops.bias_activation import activate_, differentiate
from fastwgan.ops.gradient_penalty import interpolate
from fastwgan.ops.gradient_penalty.autograd import run_norm_penalty
from fastwgan.ops.rmsprop import rmsprop_
from fastwgan.ops.spectral_norm.autograd import run_backward, run_forward
from fastwgan.ops.weight_clip import clip_
from tests.cuda_emulator.module import counters, load

# The critic of Miyato et al. 2018 for 32 x 32 images: seven convolutions and a linear layer.
SNGAN = (
    (64, 3, 3, 3),
    (64, 64, 4, 4),
    (128, 64, 3, 3),
    (128, 128, 4, 4),
    (256, 128, 3, 3),
    (256, 256, 4, 4),
    (512, 256, 3, 3),
    (1, 8192),
)
BATCH, IMAGE = 64, 3 * 64 * 64
ROWS, COLUMNS = 64 * 16 * 16, 128
FLOAT = 4


class Job(NamedTuple):
    name: str
    own: Callable[[], object]
    eager: Callable[[], object]
    least: int  # bytes
    asked: int


class Measured(NamedTuple):
    name: str
    launches: int
    eager: int
    least: int
    asked: int


class Operations(TorchDispatchMode):
    """Counts torch's operations that compute: those that return no view of an argument."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aliases = [each.alias_info for each in func._schema.returns]
        views = any(alias is not None and not alias.is_write for alias in aliases)
        empty = "empty" in func.__name__ or func.__name__.startswith("detach")
        self.count += not (views or empty or func.namespace == "fastwgan")
        return func(*args, **(kwargs or {}))


def measure(job: Job) -> Measured:
    """Launches of the second of two calls, and eager's operations."""
    with _gpu.emulated(load()), backends.use_backend("cuda"):
        job.own()
        before = counters().launches()
        job.own()
        launches = counters().launches() - before
        if counters().synchronisations():
            raise RuntimeError(f"{job.name} waited for the device")
    with Operations() as counter:
        job.eager()
    return Measured(job.name, launches, counter.count, job.least, job.asked)


_WEIGHTS = [torch.randn(shape) for shape in SNGAN]
_SIZE = sum(weight.numel() for weight in _WEIGHTS)
_U = [F.normalize(torch.randn(shape[0]), dim=0) for shape in SNGAN]
_V = [F.normalize(torch.randn(prod(shape[1:])), dim=0) for shape in SNGAN]
_VECTORS = sum(each.numel() for each in (*_U, *_V))
_DIMS = [0] * len(SNGAN)


def _spectral_forward() -> tuple[list[Tensor], Tensor, Tensor]:
    return run_forward(_WEIGHTS, _U, _V, _DIMS, 1, 1e-12, "v")


def _spectral_backward() -> list[Tensor]:
    sigma = torch.ones(len(SNGAN))
    return run_backward(_WEIGHTS, _WEIGHTS, sigma, torch.cat([*_U, *_V]), _DIMS, None)


def _eager_spectral_forward() -> list[Tensor]:
    """torch.nn.utils.spectral_norm's own computation, one layer after the other."""
    results = []
    for weight, u, v in zip(_WEIGHTS, _U, _V, strict=True):
        matrix = weight.reshape(weight.shape[0], -1)
        with torch.no_grad():
            v = F.normalize(torch.mv(matrix.t(), u), dim=0, eps=1e-12, out=v)
            u = F.normalize(torch.mv(matrix, v), dim=0, eps=1e-12, out=u)
            u, v = u.clone(), v.clone()
        sigma = torch.dot(u, torch.mv(matrix, v))
        results.append(weight / sigma)
    return results


def _eager_spectral_backward() -> object:
    with _disable_current_modes():
        weights = [weight.clone().requires_grad_() for weight in _WEIGHTS]
        results = []
        for weight, u, v in zip(weights, _U, _V, strict=True):
            sigma = torch.dot(u, torch.mv(weight.reshape(weight.shape[0], -1), v))
            results.append(weight / sigma)
    return torch.autograd.grad(results, weights, [weight.detach() for weight in weights])


_REAL, _FAKE = torch.randn(2, BATCH, IMAGE)
_ALPHA = torch.rand(BATCH)


def _eager_mix() -> Tensor:
    share = _ALPHA[:, None]
    return share * _REAL + (1 - share) * _FAKE


def _norm() -> object:
    return run_norm_penalty(_REAL, "wgan-gp", 1.0, 10.0)


def _eager_norm() -> object:
    with _disable_current_modes():
        gradient = _REAL.clone().requires_grad_()
    penalty = 10.0 * (gradient.norm(2, dim=1) - 1).square().mean()
    return torch.autograd.grad(penalty, gradient)


_VALUES, _OUTPUTS = torch.randn(2, ROWS, COLUMNS)
_BIAS = torch.randn(COLUMNS)


def _eager_activate() -> Tensor:
    return F.leaky_relu_(_VALUES.add_(_BIAS), 0.2)


def _eager_differentiate() -> Tensor:
    return torch.ops.aten.leaky_relu_backward(_VALUES, _OUTPUTS, 0.2, True).sum(0)


_GRADIENTS = [torch.rand_like(weight) for weight in _WEIGHTS]
_SQUARES = [torch.rand_like(weight) for weight in _WEIGHTS]


def _rmsprop() -> None:
    rmsprop_(
        _WEIGHTS,
        _GRADIENTS,
        _SQUARES,
        [],
        [],
        lr=1e-4,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0.0,
        momentum=0.0,
        maximize=False,
        weight_clip=0.01,
    )


def _eager_rmsprop() -> None:
    with _disable_current_modes():
        parameters = [nn.Parameter(weight.clone()) for weight in _WEIGHTS]
        optimizer = torch.optim.RMSprop(parameters, lr=1e-4, foreach=False)
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    optimizer.step()
    with torch.no_grad():
        for parameter in parameters:
            parameter.clamp_(-0.01, 0.01)


def _eager_clip() -> None:
    for weight in _WEIGHTS:
        weight.clamp_(-0.01, 0.01)


def _read_again(backward: bool) -> int:
    """Elements that the tiles of the SNGAN critic read beside the weights (spectral_plan.cu).

    Forward, each tile of W v takes the norm of W^T u from its splits, then the vector itself, and
    each of W^T u reads its part of u; backward, each tile reads its part of v and the group's dots.
    """
    total = 0
    for rows, *rest in SNGAN:
        columns = prod(rest)
        per_split = max(-(-rows // 64) * 8, 128)
        splits = -(-rows // per_split)
        row_tiles = -(-rows // (8 if rows < 512 else 16))
        strips = -(-columns // 128)
        tiles = -(-rows * columns // 4096)
        if backward:
            total += tiles * (min(columns, 4096) + 2 * tiles)  # a dot is a double
        else:
            total += splits * columns + row_tiles * 2 * splits * columns + strips * rows
    return total


JOBS = (
    Job(
        "spectral norm forward, 8-layer SNGAN critic",
        _spectral_forward,
        _eager_spectral_forward,
        FLOAT * (4 * _SIZE + 3 * _VECTORS),
        FLOAT * (4 * _SIZE + 3 * _VECTORS + _read_again(backward=False)),
    ),
    Job(
        "spectral norm backward, the same",
        _spectral_backward,
        _eager_spectral_backward,
        FLOAT * (4 * _SIZE + _VECTORS),
        FLOAT * (4 * _SIZE + _read_again(backward=True)),
    ),
    Job(
        f"interpolation, {BATCH} × {IMAGE}",
        lambda: interpolate(_REAL, _FAKE, _ALPHA),
        _eager_mix,
        FLOAT * 3 * BATCH * IMAGE,
        FLOAT * 3 * BATCH * IMAGE,
    ),
    Job(
        f"norm, penalty and cotangent, {BATCH} × {IMAGE}",
        _norm,
        _eager_norm,
        FLOAT * 2 * BATCH * IMAGE,
        FLOAT * 3 * BATCH * IMAGE,
    ),
    Job(
        f"bias and LeakyReLU, {ROWS} × {COLUMNS}",
        lambda: activate_(_VALUES, _BIAS, 0.2),
        _eager_activate,
        FLOAT * 2 * ROWS * COLUMNS,
        FLOAT * 2 * ROWS * COLUMNS,
    ),
    Job(
        f"their derivative with the bias's gradient, {ROWS} × {COLUMNS}",
        lambda: differentiate(_VALUES, _OUTPUTS, _VALUES, 0.2, ROWS),
        _eager_differentiate,
        FLOAT * 3 * ROWS * COLUMNS,
        FLOAT * (3 * ROWS + 2 * 64) * COLUMNS,
    ),
    Job(
        "RMSprop with clipping, the SNGAN critic",
        _rmsprop,
        _eager_rmsprop,
        FLOAT * 5 * _SIZE,
        FLOAT * 5 * _SIZE,
    ),
    Job(
        "clipping, the SNGAN critic",
        lambda: clip_(_WEIGHTS, 0.01),
        _eager_clip,
        FLOAT * 2 * _SIZE,
        FLOAT * 2 * _SIZE,
    ),
)
