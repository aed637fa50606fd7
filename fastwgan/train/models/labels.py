"""How labels reach a generator and a critic."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]


class Labelled(nn.Module):
    """A layer that is called with the labels of its rows too."""


class ConditionalBatchNorm(Labelled):
    """Batch normalisation with a scale and a shift for each label (Dumoulin et al. 2017).

    Args:
        norm: `nn.BatchNorm1d` or `nn.BatchNorm2d`.
        classes: How many labels there are.
        features: The second dimension of what is normalised.
    """

    def __init__(self, norm: type[nn.BatchNorm1d | nn.BatchNorm2d], classes: int, features: int):
        super().__init__()
        self.norm = norm(features, affine=False)
        self.scale = nn.Embedding(classes, features)
        self.shift = nn.Embedding(classes, features)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, values: Tensor, labels: Tensor) -> Tensor:
        """Values [batch, features, …] and labels [batch] to values of the same shape."""
        per_channel = (-1, values.shape[1], *[1] * (values.dim() - 2))
        scale, shift = self.scale(labels).view(per_channel), self.shift(labels).view(per_channel)
        normalised: Tensor = self.norm(values)
        return torch.addcmul(shift, normalised, scale)


class WithEmbedding(Labelled):
    """Each row followed by its label's embedding.

    Args:
        classes: How many labels there are.
        size: Length of an embedding.
    """

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, size)

    def forward(self, values: Tensor, labels: Tensor) -> Tensor:
        """Values [batch, n] and labels [batch] to [batch, n + size]."""
        return torch.cat((values, self.embedding(labels)), dim=1)


class LabelledSequential(nn.ModuleList):
    """Layers in a row, of which the `Labelled` ones read the labels."""

    def forward(self, values: Tensor, labels: Tensor) -> Tensor:
        """What the last layer makes of values [batch, …] and labels [batch]."""
        for layer in self:
            values = layer(values, labels) if isinstance(layer, Labelled) else layer(values)
        return values


class Projection(nn.Module):
    """A critic's score of features, plus their product with the label's embedding.

    Args:
        layers: From samples [batch, *shape] to features [batch, features].
        features: How many there are.
        classes: How many labels there are.

    Source: Miyato & Koyama 2018, "cGANs with Projection Discriminator", arXiv:1802.05637, eq. 3.
    """

    def __init__(self, layers: Iterable[nn.Module], features: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.score = nn.Linear(features, 1)
        self.embedding = nn.Embedding(classes, features)
        nn.init.xavier_uniform_(self.embedding.weight)

    def forward(self, samples: Tensor, labels: Tensor) -> Tensor:
        """Scores [batch, 1]."""
        features = self.features(samples)
        agreement = (self.embedding(labels) * features).sum(dim=1, keepdim=True)
        return self.score(features) + agreement  # type: ignore[no-any-return]


def normalised(norm: type[nn.BatchNorm1d | nn.BatchNorm2d], classes: int) -> Norm:
    """What makes a batch normalisation of so many features, conditional if there are classes."""
    return partial(ConditionalBatchNorm, norm, classes) if classes else norm


def in_a_row(layers: Iterable[nn.Module], classes: int) -> nn.Module:
    """A generator of these layers, called with labels if there are classes."""
    return LabelledSequential(layers) if classes else nn.Sequential(*layers)


def scored(layers: Iterable[nn.Module], features: int, classes: int) -> nn.Module:
    """A critic that scores the last layer's [batch, features], by projection if there are classes.

    Without classes it is a plain Sequential, which the engine reads (see docs/engine.md).
    """
    if classes:
        return Projection(layers, features, classes)
    return nn.Sequential(*layers, nn.Linear(features, 1))
