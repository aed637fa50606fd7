from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fastwgan.cli.opening import opening
from fastwgan.train import Data, Run, plots
from tests.train.settings import load, small


@pytest.mark.parametrize(
    ("data", "chosen", "said"),
    [
        (
            "digits",
            {"sample_every": 5, "threads": 2},
            "1,443 images, 8×8×1, 10 classes (not used: --conditional would), 354 more held out "
            "· mlp, 6 steps on 2 threads · pictures in {out}/samples/",
        ),
        (
            "digits",
            {"conditional": True, "model": "dcgan", "steps": 5000},
            "1,443 images, 8×8×1, 10 classes, 354 more held out · dcgan, 5,000 steps on 1 thread "
            "· pictures at the end, in {out}/",
        ),
        (
            Data("photos", torch.zeros(70, 3, 32, 16)),
            {},
            "70 images, 32×16×3 · dcgan, 6 steps on 1 thread · pictures at the end, in {out}/",
        ),
        (
            Data("points", torch.zeros(20, 1)),
            {"steps": 1},
            "20 rows of 1 number · mlp, 1 step on 1 thread · pictures at the end, in {out}/",
        ),
    ],
)
def test_the_beginning_says_on_what_and_how_much(
    tmp_path: Path, data: str | Data, chosen: dict[str, Any], said: str
) -> None:
    given = load(data) if isinstance(data, str) else data
    run = Run.begin(small(**chosen), given, out=tmp_path)
    first, second = opening(run).splitlines()
    assert first == f"training on {given.name} by wgan-gp into {tmp_path}"
    assert second == said.format(out=tmp_path)


def test_a_table_is_told_by_its_columns(tmp_path: Path) -> None:
    table = tmp_path / "x.csv"
    lines = [f"{n},{'red' if n % 2 else 'blue'},{n % 3}\n" for n in range(40)]
    table.write_text("size,colour,kind\n" + "".join(lines))
    config = small(data=str(table), label_column="kind", pack=1)
    said = opening(Run.begin(config, out=tmp_path / "run")).splitlines()[1]
    assert " rows of 3 columns, coded as 3 numbers, 3 classes (not used: --cond" in said


def test_what_is_done_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)
    Run.begin(small(), load("digits"), out=tmp_path).go()
    again = Run.reopen(tmp_path, load("digits"), chosen={"steps": 9})
    assert " · mlp, 9 steps (6 done) on 1 thread · " in opening(again)
