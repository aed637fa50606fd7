"""samples.png, curves.png and distance.png of a run, drawn at its end."""

from __future__ import annotations

from fastwgan.train import metrics
from fastwgan.train.curves import curves_figure, distance_figure
from fastwgan.train.data import Data
from fastwgan.train.figures import plain, png
from fastwgan.train.folder import RunFolder
from fastwgan.train.loop import Trainer
from fastwgan.train.pictures import samples_png
from fastwgan.train.writing import write_whole


def draw(trainer: Trainer, data: Data, folder: RunFolder) -> None:
    """Draws the pictures of a run; the same state gives the same pictures."""
    config, records = trainer.config, metrics.read(folder.metrics)
    parts = (plain(data.name), config.method, f"seed {config.seed}")
    title = " · ".join((*parts, f"generator step {trainer.step:,}"))
    write_whole(folder.samples, samples_png(trainer, data, title))
    write_whole(folder.curves, png(curves_figure(records, config.parts, title)))
    distance = distance_figure(records, title)
    if distance is not None:
        write_whole(folder.distance, png(distance))
