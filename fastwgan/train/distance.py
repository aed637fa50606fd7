"""How far the generator is from the data as training goes: exactly, and as the critic sees it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastwgan.train import transport
from fastwgan.train.callbacks import Callback
from fastwgan.train.kantorovich import Sample, kantorovich
from fastwgan.train.metrics import Record

if TYPE_CHECKING:
    from fastwgan.train.run import Run

SEED = 20170126
"""Of what is measured with: the same noise and points at every step, so that curves are calm."""


class MeasureDistance(Callback):
    """Adds the distance of the averaged generator's samples to held-out data to the metrics.

    Every `config.measure_every` steps, and after the last:

    * `w1`: the exact Wasserstein-1 distance (where `points` are too many for that,
      `w1_sinkhorn` or `w1_sliced`; see `fastwgan.train.transport.estimate`);
    * `w1_floor`: the same for as many real points as generated ones, of the training data: what
      a perfect generator would score;
    * `kantorovich`, `kantorovich_normalised`: see `kantorovich`.

    Nothing is measured where the data holds nothing out.

    Args:
        points: How many samples, and at most how many held-out ones.
    """

    def __init__(self, points: int = 1000) -> None:
        self._points = points
        self._real: Sample | None = None
        self._floor = transport.Estimate(math.nan, "exact")

    def begin(self, run: Run) -> None:
        """Chooses the held-out points, and measures the floor."""
        data = run.data
        if data.held_out is None or run.config.measure_every == 0:
            return
        stream = torch.Generator().manual_seed(SEED)
        rows = torch.randperm(len(data.held_out), generator=stream)[: self._points]
        labels = data.held_out_labels if run.config.conditional else None
        self._real = Sample(data.held_out[rows], None if labels is None else labels[rows])
        self._floor = transport.floor(data.values, self._real.points, len(rows), seed=SEED)

    def measure(self, run: Run) -> Record:
        """The distances at this step; empty between two measurements."""
        if self._real is None or not _is_due(run):
            return {}
        fake = Sample(*run.trainer.draw(len(self._real.points), SEED))
        if not bool(torch.isfinite(fake.points).all()):
            return {self._name: math.nan}  # the run stops with the sentence that it has for this
        found, along = self._distance(fake.points)
        record = {self._name: found, f"{self._name}_floor": self._floor.distance}
        pack = run.config.pack
        if len(self._real.points) < pack:
            return record
        judged = kantorovich(run.trainer.critic, self._real, fake, along=along, pack=pack)
        return record | {
            "kantorovich": judged.estimate,
            "kantorovich_normalised": judged.normalised,
        }

    @property
    def _name(self) -> str:
        method = self._floor.method
        return "w1" if method == "exact" else f"w1_{method}"

    def _distance(self, fake: Tensor) -> tuple[float, transport.Plan | None]:
        assert self._real is not None
        if self._floor.method != "exact":
            return transport.estimate(self._real.points, fake).distance, None
        along = transport.plan(self._real.points, fake)
        return along.distance, along


def _is_due(run: Run) -> bool:
    return run.step % run.config.measure_every == 0 or run.step == run.config.steps
