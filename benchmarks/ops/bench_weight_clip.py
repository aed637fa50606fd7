"""Weight clip alone: many small tensors, where calls cost, and one large, where memory does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from benchmarks.race import Contestant, RunCase
from benchmarks.roofline import Work

CLIP = 0.01

Shapes = list[tuple[int, ...]]

CASES = [
    pytest.param("200 small tensors", [(32, 32), (32,)] * 100, 3.0, id="200-small"),
    pytest.param("one of 16M", [(4096, 4096)], 1.0, id="one-16M"),
]


@pytest.mark.parametrize(("tensors", "shapes", "required"), CASES)
def bench_weight_clip(tensors: str, shapes: Shapes, required: float, run_case: RunCase) -> None:
    peers = [ClampLoop(shapes, required), Foreach(shapes, required)]
    elements = sum(torch.Size(shape).numel() for shape in shapes)
    work = Work(bytes=4.0 * elements * 2)  # each weight read and written
    run_case(f"clip, {tensors}", ours=Fused(shapes), peers=peers, work=work, bound=0.0)


class _Clipping(Contestant):
    def __init__(self, shapes: Shapes, required: float | None = None) -> None:
        self.required = required
        torch.manual_seed(0)
        # Of these, a third lies outside the bound.
        self._sources = [CLIP * torch.randn(shape) for shape in shapes]
        self.parameters: list[Tensor] = [nn.Parameter(torch.empty(shape)) for shape in shapes]

    def prepare(self, step: int) -> None:
        sign = 1.0 if step % 2 == 0 else -1.0
        for parameter, source in zip(self.parameters, self._sources, strict=True):
            torch.mul(source, sign, out=parameter.detach())

    def results(self) -> list[Tensor]:
        return self.parameters


class Fused(_Clipping):
    name = "fastwgan.clip_weights_"

    def run(self) -> None:
        fastwgan.clip_weights_(self.parameters, CLIP)


class ClampLoop(_Clipping):
    name = "clamp_ loop"

    def run(self) -> None:
        with torch.no_grad():
            for parameter in self.parameters:
                parameter.clamp_(-CLIP, CLIP)


class Foreach(_Clipping):
    name = "torch._foreach_clamp_min_, _max_"

    def run(self) -> None:
        with torch.no_grad():
            torch._foreach_clamp_min_(self.parameters, -CLIP)
            torch._foreach_clamp_max_(self.parameters, CLIP)
