"""Runs with all that is to be watched, small enough for a test, and run folders made by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w
from PIL import Image

from fastwgan.train import Callback, Run, RunFolder
from fastwgan.train.metrics import Record
from tests.train.settings import small


class Measured(Callback):
    """Stands in for what measures the distance, with numbers known before."""

    def measure(self, run: Run) -> Record:
        if run.config.measure_every == 0 or run.step % run.config.measure_every:
            return {}
        return distances(run.step)


def distances(step: int) -> Record:
    exact = 1.25 + 8 * math.exp(-step / 40)
    return {
        "w1": exact,
        "w1_floor": 1.0,
        "kantorovich": 0.9 * exact,
        "kantorovich_normalised": 0.8 * exact,
    }


def stop_at(step: int) -> Callable[[], bool]:
    """Says stop when it is asked before step `step` + 1."""
    asked = iter(range(10_000))
    return lambda: next(asked) == step


def lines(count: int, measure_every: int = 10) -> list[Record]:
    """Lines as metrics.jsonl holds them, the distance in some of them."""
    made = []
    for step in range(1, count + 1):
        line: Record = {
            "step": step,
            "wasserstein": 2 * math.exp(-step / 50) + 0.05 * math.sin(step),
            "penalty": 0.1 + 0.02 * math.cos(step),
            "gradient_norm": 1 + 0.05 * math.sin(step / 3),
            "critic_loss": -2 * math.exp(-step / 50),
            "generator_loss": math.sin(step / 20),
            "seconds": step / 8,
            "steps_per_second": 8.0,
        }
        if measure_every and step % measure_every == 0:
            line |= distances(step)
        made.append(line)
    return made


def made_folder(path: Path, records: list[Record], **config: Any) -> RunFolder:
    """A run's folder that no run has made: its settings, its lines and a picture."""
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    settings = small(steps=max(len(records), 1)).to_dict() | config
    folder.config.write_text(tomli_w.dumps(settings), encoding="utf-8")
    folder.metrics.write_text("".join(json.dumps(record) + "\n" for record in records))
    Image.new("RGB", (80, 40), "#336699").save(folder.samples)
    return folder
