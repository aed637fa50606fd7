"""What a run's generator makes, as a picture: one step's, or all beside the real samples."""

from __future__ import annotations

import torch
from torch import Tensor

from fastwgan.train import marginals, tiles
from fastwgan.train.data import Data
from fastwgan.train.figures import png
from fastwgan.train.loop import Trainer
from fastwgan.train.scatter import scatter_figure

_ROWS = 2000  # points, or rows of a table
_FRAME_POINTS = (560, 560)  # dots
_WHOLE_POINTS = (860, 760)


def frame_png(trainer: Trainer, data: Data) -> bytes:
    """One picture of a run's film: the same latents, places and scales at every step."""
    fake, real = fake_and_real(trainer, data)
    if data.is_image:
        return tiles.picture_png(tiles.tile(fake))
    if _is_plane(data):
        return png(scatter_figure(trainer, fake, real, _FRAME_POINTS))
    return png(marginals.marginals_figure(_columns(data, fake, real)))


def samples_png(trainer: Trainer, data: Data, title: str) -> bytes:
    """samples.png: what is generated beside what is real."""
    fake, real = fake_and_real(trainer, data)
    if data.is_image:
        return png(tiles.pair_figure(tiles.tile(fake), tiles.tile(real), title))
    if _is_plane(data):
        return png(scatter_figure(trainer, fake, real, _WHOLE_POINTS, title))
    return png(marginals.table_figure(_columns(data, fake, real), title))


def fake_and_real(trainer: Trainer, data: Data) -> tuple[Tensor, Tensor]:
    """Generated and real samples of one seed, on the CPU; where there are labels, of the same."""
    config = trainer.config
    count = tiles.columns(data.shape) ** 2 if data.is_image else _ROWS
    generator = torch.Generator().manual_seed(config.seed)
    noise = torch.randn(count, config.latent_size, generator=generator)
    order = torch.randperm(len(data.values), generator=generator)
    labels = torch.arange(count) % len(data.classes) if config.conditional else None
    chosen = _chosen(order, data.labels, labels, count)
    return _generate(trainer, noise, labels), data.values[chosen].cpu()


def _generate(trainer: Trainer, noise: Tensor, labels: Tensor | None) -> Tensor:
    size = trainer.config.batch_size  # what the device has memory for
    if labels is None:
        parts = [trainer.sample(part) for part in noise.split(size)]
    else:
        pairs = zip(noise.split(size), labels.split(size), strict=True)
        parts = [trainer.sample(part, label) for part, label in pairs]
    return torch.cat(parts).float().cpu()


def _chosen(order: Tensor, of_rows: Tensor | None, labels: Tensor | None, count: int) -> Tensor:
    """Which real rows are shown: in random order, of the labels asked for, again where too few."""
    if labels is None or of_rows is None:
        return order[torch.arange(count) % len(order)]
    shuffled = of_rows.cpu()[order]
    chosen = order[torch.arange(count) % len(order)]
    for label in labels.unique():
        places, rows = (labels == label).nonzero()[:, 0], order[shuffled == label]
        if len(rows):
            chosen[places] = rows[torch.arange(len(places)) % len(rows)]
    return chosen


def _is_plane(data: Data) -> bool:
    return data.table is None and tuple(data.shape) == (2,)


def _columns(data: Data, fake: Tensor, real: Tensor) -> list[marginals.Column]:
    if data.table is None:
        return marginals.of_vectors(fake, real)
    return marginals.of_frames(data.table.frame(fake), data.table.frame(real))
