"""Critics as projects write them, small, each of which the engine takes whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

import fastwgan


class Packed(nn.Module):
    """The critic of tabular GANs, which judges ten samples at once."""

    def __init__(self, dropout: float = 0.5, inputs: int = 7, width: int = 12) -> None:
        super().__init__()
        self.columns = 10 * inputs
        layers: list[nn.Module] = []
        for size in (self.columns, width):
            layers += [nn.Linear(size, width), nn.LeakyReLU(0.2), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.view(-1, self.columns))  # type: ignore[no-any-return]


def dcgan() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(6, 8, 4, 2, 1),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(8, 1, 4),
    )


def mean_pool(x: Tensor) -> Tensor:
    """The mean of each square of four, as the first WGAN-GP wrote it."""
    columns = x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]
    return columns / 4


class NormedBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, size: int, down: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, inputs, 3, padding=1, bias=False)
        self.second = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if down else nn.Identity()
        self.norms = nn.ModuleList(nn.LayerNorm([inputs, size, size]) for _ in range(2))
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(F.relu(self.norms[0](x)))
        h = self.second(F.relu(self.norms[1](h)))
        pool = mean_pool if self.down else nn.Identity()
        return self.skip(pool(x)) + pool(h)  # type: ignore[no-any-return]


class WganGpResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Sequential(NormedBlock(4, 6, 8, True), NormedBlock(6, 6, 4, False))
        self.last = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.body(self.first(x)))
        return self.last(h.mean(dim=(2, 3))).view(-1)  # type: ignore[no-any-return]


class SnBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, first: bool, normalise: Any) -> None:
        super().__init__()
        self.one = normalise(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.two = normalise(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = normalise(nn.Conv2d(inputs, outputs, 1))
        self.is_first = first

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.is_first else F.relu(x)
        h = F.avg_pool2d(self.two(F.relu(self.one(h))), 2)
        short = self.skip(F.avg_pool2d(x, 2)) if self.is_first else F.avg_pool2d(self.skip(x), 2)
        return h + short  # type: ignore[no-any-return]


class SnganResNet(nn.Module):
    """With labels by projection; in eval, where the vectors of spectral norm stand still."""

    def __init__(self, normalise: Any = parametrizations.spectral_norm) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [SnBlock(3, 5, True, normalise), SnBlock(5, 5, False, normalise)]
        )
        self.last = normalise(nn.Linear(5, 1))
        self.labels = normalise(nn.Embedding(4, 5))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            x = block(x)
        h = torch.sum(F.relu(x), dim=(2, 3))
        scores = self.last(h)
        if y is not None:
            scores = scores + torch.sum(self.labels(y) * h, dim=1, keepdim=True)
        return scores  # type: ignore[no-any-return]


class Scaled(nn.Module):
    """A convolution or linear layer whose weight is drawn from N(0, 1) and scaled at run time."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape))
        self.scale = 1 / math.sqrt(math.prod(shape[1:]))

    def forward(self, x: Tensor, **options: Any) -> Tensor:
        weight = self.weight * self.scale
        if weight.dim() == 2:
            return F.linear(x, weight)
        return F.conv2d(x, weight, padding=options.pop("padding", weight.shape[2] // 2), **options)


class BiasedLeakyReLU(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(channels) / 4)

    def forward(self, x: Tensor) -> Tensor:
        bias = self.bias.view(1, -1, *[1] * (x.dim() - 2))
        return F.leaky_relu(x + bias, 0.2) * math.sqrt(2)


class Blur(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("kernel", torch.outer(taps, taps) / 64)

    def forward(self, x: Tensor, pad: int) -> Tensor:
        channels = x.shape[1]
        kernel = self.get_buffer("kernel").flip(0, 1).expand(channels, 1, 4, 4)
        return F.conv2d(F.pad(x, [pad, pad, pad, pad]), kernel, groups=channels)


class StyleBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.one, self.act_one = Scaled(inputs, inputs, 3, 3), BiasedLeakyReLU(inputs)
        self.two, self.act_two = Scaled(outputs, inputs, 3, 3), BiasedLeakyReLU(outputs)
        self.skip, self.blur = Scaled(outputs, inputs, 1, 1), Blur()

    def forward(self, x: Tensor) -> Tensor:
        h = self.act_one(self.one(x))
        h = self.act_two(self.two(self.blur(h, 2), stride=2, padding=0))
        short = self.skip(self.blur(x, 1), stride=2, padding=0)
        return (h + short) / math.sqrt(2)  # type: ignore[no-any-return]


class StyleGan2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.act = Scaled(4, 3, 1, 1), BiasedLeakyReLU(4)
        self.block = StyleBlock(4, 6)
        self.last, self.act_last = Scaled(6, 7, 3, 3), BiasedLeakyReLU(6)
        self.dense, self.act_dense = Scaled(8, 6 * 16), BiasedLeakyReLU(8)
        self.score = Scaled(1, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.block(self.act(self.first(x)))
        batch, channels, height, width = h.shape
        group = batch // 4 if batch % 4 == 0 and batch > 4 else min(batch, 4)
        group = group if batch % group == 0 else batch
        deviation = h.view(group, -1, 1, channels, height, width)
        deviation = torch.sqrt(deviation.var(0, unbiased=False) + 1e-8)
        deviation = deviation.mean([2, 3, 4], keepdim=True).squeeze(2)
        h = torch.cat([h, deviation.repeat(group, 1, height, width)], 1)
        h = self.act_last(self.last(h)).view(batch, -1)
        return self.score(self.act_dense(self.dense(h)))  # type: ignore[no-any-return]


class GroupedBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(channels, 2 * channels, 1, bias=False)
        self.mix = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=channels, bias=False)
        self.narrow = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.biases = nn.ParameterList(torch.randn(2 * channels) / 4 for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.widen(x)
        y = self.mix(F.leaky_relu(y + self.biases[0].view(1, -1, 1, 1), 0.2) * math.sqrt(2))
        y = self.narrow(F.leaky_relu(y + self.biases[1].view(1, -1, 1, 1), 0.2) * math.sqrt(2))
        return x + y  # type: ignore[no-any-return]


class R3Gan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.high, self.low = GroupedBlock(4), GroupedBlock(6)
        self.down = nn.Conv2d(4, 6, 1, bias=False)
        self.basis = nn.Conv2d(6, 6, 4, groups=6, bias=False)
        self.last = nn.Linear(6, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.high(self.first(x))
        h = F.interpolate(h, scale_factor=0.5, mode="bilinear", align_corners=False)
        h = self.basis(self.low(self.down(h)))
        return self.last(h.flatten(1)).view(x.shape[0])  # type: ignore[no-any-return]


class Encoder(nn.Module):
    def __init__(self, width: int, heads: int, fused: bool) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 16), nn.GELU(), nn.Linear(16, width))
        self.heads, self.fused = heads, fused

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        joint = self.project(self.norms[0](x)).reshape(batch, length, 3, self.heads, -1)
        q, k, v = joint.permute(2, 0, 3, 1, 4)
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            weights = (q @ k.transpose(-2, -1)) / math.sqrt(q.shape[-1])
            mixed = weights.softmax(dim=-1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.feed(self.norms[1](x))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 8)
        self.positions = nn.Parameter(torch.randn(1, 5, 8))
        self.body = nn.Sequential(Encoder(8, 2, fused), Encoder(8, 2, fused))
        self.norm, self.last = nn.LayerNorm(8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(self.embed(x) + self.positions)
        return self.last(self.norm(h).mean(1))  # type: ignore[no-any-return]


class Whole(NamedTuple):
    """A critic, the shape of its samples, and the step it is trained with."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch: int = 3
    step: dict[str, Any] = {}  # noqa: RUF012 - never written
    labelled: bool = False


R1_AND_R2 = {"penalty": (("r1", 0.5), ("r2", 0.7)), "loss": "relativistic"}
PACKED = {"groups": 10}

WHOLE: dict[str, Whole] = {
    "packed tabular, eval": Whole(lambda: Packed().eval(), (7,), 30, PACKED),
    "packed tabular, train": Whole(lambda: Packed(dropout=0.0), (7,), 30, PACKED),
    "dcgan": Whole(dcgan, (3, 16, 16)),
    "wgan-gp resnet": Whole(WganGpResNet, (3, 8, 8)),
    "sngan resnet": Whole(lambda: SnganResNet().eval(), (3, 8, 8), 3, {"loss": "hinge"}, True),
    "sngan resnet, ours": Whole(
        lambda: SnganResNet(fastwgan.spectral_norm).eval(), (3, 8, 8), 3, {"loss": "hinge"}, True
    ),
    "stylegan2": Whole(StyleGan2, (3, 8, 8), 4, {"penalty": "r1", "loss": "logistic"}),
    "r3gan": Whole(R3Gan, (3, 8, 8), 3, R1_AND_R2),
    "transformer": Whole(lambda: Transformer(False), (5, 4)),
    "transformer, fused attention": Whole(lambda: Transformer(True), (5, 4)),
}


def build(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(1)
    return WHOLE[name].make().to(dtype)


def samples(name: str, batch: int | None = None, dtype: torch.dtype = torch.float64) -> Any:
    """Real and fake."""
    torch.manual_seed(2)
    whole = WHOLE[name]
    rows = whole.batch if batch is None else batch
    return torch.randn(2, rows, *whole.shape, dtype=torch.float64).to(dtype).unbind(0)


def labels(rows: int) -> tuple[Tensor, Tensor]:
    """Of real and of fake."""
    return torch.arange(rows) % 4, (3 * torch.arange(rows) + 1) % 4
