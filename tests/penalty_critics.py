"""Critics of every make that a gradient penalty meets, with the shape of the samples they judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import fastwgan


class Function(nn.Module):
    """A critic given by a function of its layers and its input."""

    def __init__(self, function: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def mlp(*between: Callable[[], nn.Module], inputs: int = 6, width: int = 9) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(inputs, width)]
    for make in between:
        layers += [make(), nn.Linear(width, width)]
    return nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Linear(width, 1))


def dcgan(norm: Callable[[int], nn.Module] | None = None, activation: Any = None) -> nn.Sequential:
    act = activation or (lambda: nn.LeakyReLU(0.2))
    middle = [] if norm is None else [norm(8)]
    return nn.Sequential(
        nn.Conv2d(3, 4, 4, 2, 1),
        act(),
        nn.Conv2d(4, 8, 4, 2, 1, bias=norm is None),
        *middle,
        act(),
        nn.Conv2d(8, 1, 2),
        nn.Flatten(0),
    )


def _residual(critic: Any, x: Tensor) -> Tensor:
    h = critic.first(x)
    branch = critic.second(F.relu(h, inplace=True))  # the shortcut has been activated too
    branch += h
    h = F.leaky_relu_(branch, 0.1)
    return critic.last(critic.second(h * 2).add_(h).flatten(1))  # type: ignore[no-any-return]


def _attention(critic: Any, x: Tensor) -> Tensor:
    q, k, v = critic.project(x).chunk(3, dim=-1)
    mixed = torch.softmax(q @ k.transpose(1, 2) / 3, dim=-1) @ v
    return critic.last(mixed).mean((1, 2))  # type: ignore[no-any-return]


def _stddev(critic: Any, x: Tensor) -> Tensor:
    h = F.leaky_relu(critic.first(x), 0.2)
    deviation = (h.var(0, unbiased=False) + 1e-8).sqrt().mean().expand(len(h), 1)
    return critic.last(torch.cat([h, deviation], 1))  # type: ignore[no-any-return]


def _conditional(critic: Any, x: Tensor) -> Tensor:
    labels = torch.arange(len(x)) % 4
    h = F.relu(critic.first(x))
    return critic.last(h).squeeze(1) + (critic.embed(labels) * h).sum(1)  # type: ignore[no-any-return]


def _tied(critic: Any, x: Tensor) -> Tensor:
    h = F.leaky_relu(critic.first(x), 0.2)
    return F.linear(F.leaky_relu(critic.square(critic.square(h))), critic.first.weight.t()).sum(1)


def _checkpointed(critic: Any, x: Tensor) -> Tensor:
    h = checkpoint(critic.body, x, use_reentrant=False)
    return critic.last(h)  # type: ignore[no-any-return]


def _partly_constant(critic: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        gate = torch.sigmoid(critic.gate(x))
    return critic.last(torch.tanh(critic.first(x)) * gate + x.detach().sum(1, keepdim=True))  # type: ignore[no-any-return]


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * g


class Sign(torch.autograd.Function):
    """Straight through, times a constant: its gradient's own gradient with respect to x is None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return Straight.apply(g, ctx.saved_tensors[0])  # type: ignore[no-any-return]


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor) -> Tensor:
        return 0.5 * g

    @staticmethod
    def backward(ctx: Any, t: Tensor) -> tuple[Tensor, None]:
        return 0.5 * t, None


def _normalised_by_layers(critic: Any, x: Tensor) -> Tensor:
    bias = critic.bias(x.new_ones(2))
    return critic.last(F.layer_norm(critic.first(x), (9,), None, bias))  # type: ignore[no-any-return]


def _with_unused() -> nn.Module:
    critic = Function(
        lambda c, x: c.last(F.relu(c.first(x))), first=nn.Linear(6, 9), last=nn.Linear(9, 1)
    )
    critic.add_module("unused", nn.Linear(3, 3))
    return critic


def _frozen() -> nn.Module:
    critic = mlp(nn.ReLU)
    critic[0].requires_grad_(False)
    critic[2].bias.requires_grad_(False)  # type: ignore[union-attr]
    return critic


def _own_group() -> nn.Module:
    return fastwgan.spectral_norm(dcgan())


def _own_hooks() -> nn.Module:
    critic = dcgan()
    for layer in critic:
        if hasattr(layer, "weight"):
            fastwgan.spectral_norm(layer)
    return critic


def _each_convolution(normalise: Callable[..., Any]) -> nn.Module:
    critic = dcgan()
    for layer in critic:
        if hasattr(layer, "weight"):
            normalise(layer)
    return critic


IMAGE, VECTOR, SEQUENCE = (3, 8, 8), (6,), (5, 6)

CRITICS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear alone": (lambda: nn.Linear(6, 1), VECTOR),
    "mlp of leaky relu": (lambda: mlp(lambda: nn.LeakyReLU(0.2)), VECTOR),
    "mlp of relu in place": (lambda: mlp(lambda: nn.ReLU(inplace=True)), VECTOR),
    "mlp with dropout": (lambda: mlp(nn.ReLU, lambda: nn.Dropout(0.4), nn.ReLU), VECTOR),
    "mlp with dropout in place": (lambda: mlp(nn.ReLU, lambda: nn.Dropout(0.4, True)), VECTOR),
    "mlp of silu": (lambda: mlp(nn.SiLU, nn.SiLU), VECTOR),
    "mlp of tanh": (lambda: mlp(nn.Tanh), VECTOR),
    "mlp of gelu": (lambda: mlp(nn.GELU), VECTOR),
    "mlp of elu in place": (lambda: mlp(lambda: nn.ELU(inplace=True)), VECTOR),
    "mlp of softplus": (lambda: mlp(nn.Softplus), VECTOR),
    "mlp of prelu": (lambda: mlp(nn.PReLU), VECTOR),
    "mlp of relu6 and hardtanh": (lambda: mlp(nn.ReLU6, nn.Hardtanh), VECTOR),
    "mlp of rrelu": (lambda: mlp(nn.RReLU), VECTOR),
    "maxout": (
        lambda: Function(
            lambda c, x: c.last(c.first(x).view(len(x), 4, 3).amax(2)),
            first=nn.Linear(6, 12),
            last=nn.Linear(4, 1),
        ),
        VECTOR,
    ),
    "activation at the very input": (
        lambda: nn.Sequential(nn.LeakyReLU(0.3, inplace=True), *mlp(nn.ReLU)),
        VECTOR,
    ),
    "relu_ at the very input": (
        lambda: Function(lambda c, x: c.body(x.mul_(2).relu_()), body=mlp(nn.ReLU)),
        VECTOR,
    ),
    "view of the input written to": (
        lambda: Function(lambda c, x: (F.relu_(x[:, 2:4]), c.body(x))[1], body=mlp(nn.ReLU)),
        VECTOR,
    ),
    "input used many times": (
        lambda: Function(
            lambda c, x: c.body(x) * x.sum(1, keepdim=True) + x.square().sum(1, keepdim=True),
            body=mlp(nn.ReLU),
        ),
        VECTOR,
    ),
    "dcgan": (dcgan, IMAGE),
    "dcgan in place": (lambda: dcgan(activation=lambda: nn.LeakyReLU(0.2, inplace=True)), IMAGE),
    "batch norm": (lambda: dcgan(nn.BatchNorm2d), IMAGE),
    "batch norm in eval": (lambda: dcgan(nn.BatchNorm2d).eval(), IMAGE),
    "instance norm": (lambda: dcgan(lambda n: nn.InstanceNorm2d(n, affine=True)), IMAGE),
    "group norm": (lambda: dcgan(lambda n: nn.GroupNorm(2, n)), IMAGE),
    "layer norm": (lambda: mlp(lambda: nn.LayerNorm(9), nn.ReLU), VECTOR),
    "layer norm of images": (lambda: dcgan(lambda n: nn.LayerNorm([n, 2, 2])), IMAGE),
    "layer norm with a computed bias": (
        lambda: Function(
            _normalised_by_layers, first=nn.Linear(6, 9), bias=nn.Linear(2, 9), last=nn.Linear(9, 1)
        ),
        VECTOR,
    ),
    "function without a second derivative": (
        lambda: Function(
            lambda c, x: c.last(Sign.apply(c.first(x)) + c.first(x)),
            first=nn.Linear(6, 9),
            last=nn.Linear(9, 1),
        ),
        VECTOR,
    ),
    "batch norm of vectors": (lambda: mlp(lambda: nn.BatchNorm1d(9), nn.ReLU), VECTOR),
    "torch spectral norm, hooks": (lambda: _each_convolution(nn.utils.spectral_norm), IMAGE),
    "torch spectral norm": (lambda: _each_convolution(parametrizations.spectral_norm), IMAGE),
    "spectral norm in eval": (
        lambda: _each_convolution(parametrizations.spectral_norm).eval(),
        IMAGE,
    ),
    "weight norm": (lambda: _each_convolution(parametrizations.weight_norm), IMAGE),
    "own spectral norm, hooks": (_own_hooks, IMAGE),
    "own spectral norm, group": (_own_group, IMAGE),
    "own spectral norm, parametrization": (
        lambda: _each_convolution(fastwgan.parametrizations.spectral_norm),
        IMAGE,
    ),
    "patches": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3)),
        IMAGE,
    ),
    "wide scores": (lambda: nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4)), VECTOR),
    "one score a batch": (lambda: Function(lambda c, x: c.b(x).mean(), b=mlp(nn.ReLU)), VECTOR),
    "residual, in place": (
        lambda: Function(
            _residual,
            first=nn.Conv2d(3, 4, 3, padding=1),
            second=nn.Conv2d(4, 4, 3, padding=1),
            last=nn.Linear(256, 1),
        ),
        IMAGE,
    ),
    "average and maximum": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.AvgPool2d(2),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 1, 1),
            nn.AdaptiveAvgPool2d(1),
        ),
        IMAGE,
    ),
    "adaptive pooling": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.AdaptiveMaxPool2d(3), nn.Flatten(), nn.Linear(36, 1)
        ),
        IMAGE,
    ),
    "up and down": (
        lambda: nn.Sequential(
            nn.ConvTranspose2d(3, 4, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect"),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2, 1, 3, padding="same"),
            nn.PixelUnshuffle(2),
        ),
        IMAGE,
    ),
    "mlp at every position": (
        lambda: nn.Sequential(*mlp(lambda: nn.LeakyReLU(0.2))[:4], nn.Flatten(), nn.Linear(45, 1)),
        SEQUENCE,
    ),
    "conv1d": (
        lambda: nn.Sequential(
            nn.Conv1d(5, 4, 3), nn.LeakyReLU(), nn.MaxPool1d(2), nn.Conv1d(4, 1, 2)
        ),
        SEQUENCE,
    ),
    "conv3d": (
        lambda: nn.Sequential(
            nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(True), nn.AvgPool3d(2), nn.Conv3d(4, 1, 1)
        ),
        (2, 4, 4, 4),
    ),
    "grouped and dilated": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, dilation=2, groups=3),
            nn.Dropout2d(0.3),
            nn.ReLU(),
            nn.Conv2d(6, 1, 4),
        ),
        IMAGE,
    ),
    "attention": (
        lambda: Function(_attention, project=nn.Linear(6, 12), last=nn.Linear(4, 1)),
        SEQUENCE,
    ),
    "gru": (
        lambda: Function(
            lambda c, x: c.last(c.gru(x)[0][:, -1]),
            gru=nn.GRU(6, 4, batch_first=True),
            last=nn.Linear(4, 1),
        ),
        SEQUENCE,
    ),
    "minibatch deviation": (
        lambda: Function(_stddev, first=nn.Linear(6, 9), last=nn.Linear(10, 1)),
        VECTOR,
    ),
    "projection of labels": (
        lambda: Function(
            _conditional, first=nn.Linear(6, 9), last=nn.Linear(9, 1), embed=nn.Embedding(4, 9)
        ),
        VECTOR,
    ),
    "tied weights": (
        lambda: Function(_tied, first=nn.Linear(6, 9), square=nn.Linear(9, 9)),
        VECTOR,
    ),
    "frozen parameters": (_frozen, VECTOR),
    "unused parameters": (_with_unused, VECTOR),
    "all frozen": (lambda: mlp(nn.ReLU).requires_grad_(False), VECTOR),
    "checkpointed": (
        lambda: Function(
            _checkpointed,
            body=nn.Sequential(
                nn.Linear(6, 9), nn.ReLU(), nn.Dropout(0.3), nn.Linear(9, 9), nn.ReLU()
            ),
            last=nn.Linear(9, 1),
        ),
        VECTOR,
    ),
    "checkpointed convolutions": (
        lambda: Function(
            lambda c, x: checkpoint(c.body, x, use_reentrant=False).sum((1, 2, 3)),
            body=nn.Sequential(
                nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.AvgPool2d(2), nn.Conv2d(4, 2, 2)
            ),
        ),
        IMAGE,
    ),
    "partly constant": (
        lambda: Function(
            _partly_constant, first=nn.Linear(6, 9), gate=nn.Linear(6, 9), last=nn.Linear(9, 1)
        ),
        VECTOR,
    ),
    "custom function": (
        lambda: Function(
            lambda c, x: c.last(Cube.apply(F.relu(c.first(x)))),
            first=nn.Linear(6, 9),
            last=nn.Linear(9, 1),
        ),
        VECTOR,
    ),
    "spectrum": (
        lambda: Function(
            lambda c, x: c.last(torch.fft.rfft(F.relu(c.first(x))).abs()),
            first=nn.Linear(6, 8),
            last=nn.Linear(5, 1),
        ),
        VECTOR,
    ),
    "own grad mode": (
        lambda: Function(
            lambda c, x: torch.enable_grad()(c.body)(x) if len(x) else x, body=mlp(nn.ReLU)
        ),
        VECTOR,
    ),
}
RANDOM = ("dropout", "rrelu", "grouped", "checkpointed")


def make(
    name: str, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[nn.Module, tuple[int, ...]]:
    """The critic, its weights large enough that gradients have norms around 1."""
    torch.manual_seed(seed)
    factory, shape = CRITICS[name]
    critic = factory().to(dtype)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(1.5)
    return critic, shape
