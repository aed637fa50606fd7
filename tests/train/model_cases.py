"""Networks of every family, small, with what they are asked for and the samples they take."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fastwgan.train import TrainConfig
from fastwgan.train.models import build_critic, build_generator
from tests.train.settings import small

CLASSES = 3
WIDTH = 3


class Case(NamedTuple):
    """How a pair of networks is asked for."""

    model: str
    method: str
    shape: tuple[int, ...]
    classes: int = 0

    def __str__(self) -> str:
        labels = ", labels" if self.classes else ""
        return f"{self.model} {self.method} {'x'.join(map(str, self.shape))}{labels}"

    def generator(self) -> nn.Module:
        return build_generator(self.config, self.shape, self.classes)

    def critic(self) -> nn.Module:
        return build_critic(self.config, self.shape, self.classes)

    @property
    def config(self) -> TrainConfig:
        return small(self.method, model=self.model, width=WIDTH)

    def labels(self, rows: int) -> tuple[Tensor, ...]:
        return (torch.arange(rows) % self.classes,) if self.classes else ()


_KINDS = (
    ("mlp", "wgan-gp", (2,)),
    ("mlp", "wgan-gp", (1, 8, 8)),
    ("dcgan", "wgan-gp", (3, 16, 16)),
    ("resnet", "wgan-gp", (1, 16, 16)),
    ("resnet", "sn-gan", (1, 16, 16)),
    ("resnet", "wgan-gp", (1, 36, 36)),
    ("resnet", "sn-gan", (1, 36, 36)),
)
CASES = [Case(*kind, classes) for kind in _KINDS for classes in (0, CLASSES)]
LABELLED = [case for case in CASES if case.classes]
