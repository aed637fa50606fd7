from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from fastwgan.train import (
    Data,
    TrainConfig,
    Trainer,
    TrainingDivergedError,
    distance,
    fit,
    metrics,
    transport,
)
from fastwgan.train.distance import MeasureDistance
from fastwgan.train.kantorovich import Sample, kantorovich
from fastwgan.train.metrics import Record
from fastwgan.train.run import Run
from tests.train.settings import assert_same_run, assert_same_state, load, small

MEASURED = {"w1", "w1_floor", "kantorovich", "kantorovich_normalised"}


def split(name: str, rows: int = 60) -> Data:
    """Few rows of a data set, and as many held out."""
    whole = load(name)
    values, held_out = whole.values[:rows], whole.values[rows : 2 * rows]
    return dataclasses.replace(whole, values=values, held_out=held_out, labels=None, classes=())


def lines(folder: Path) -> list[Record]:
    return metrics.read(folder / "metrics.jsonl")


def trained(folder: Path, config: TrainConfig, data: Data) -> Run:
    """A run after its steps, of which nothing but the folder is on the disk."""
    run = Run.begin(config, data, out=folder)
    for _ in range(config.steps):
        run.trainer.train_step()
    return run


def measured(run: Run, callback: MeasureDistance) -> Record:
    callback.begin(run)
    return callback.measure(run)


def test_the_distance_is_measured_when_it_is_due(tmp_path: Path) -> None:
    config = small(steps=7, log_every=1, measure_every=3)
    fit(config, split("digits"), out=tmp_path, callbacks=[MeasureDistance()])
    found = [record for record in lines(tmp_path) if MEASURED & record.keys()]
    assert [record["step"] for record in found] == [3, 6, 7]
    assert all(record.keys() >= MEASURED for record in found)
    assert len({record["w1"] for record in found}) == 3
    assert len({record["w1_floor"] for record in found}) == 1


@pytest.mark.parametrize("data", ["digits", "swissroll"])
@pytest.mark.parametrize("method", ["wgan", "wgan-gp", "sn-gan"])
def test_the_critic_stays_below_the_exact_distance(tmp_path: Path, method: str, data: str) -> None:
    run = trained(tmp_path, small(method, data, steps=20, measure_every=20), split(data))
    record = measured(run, MeasureDistance())
    assert 0 < record["w1_floor"] < record["w1"]
    assert record["kantorovich_normalised"] <= record["w1"]


def test_the_numbers_are_those_of_the_state(tmp_path: Path) -> None:
    data = split("digits")
    run = trained(tmp_path, small(steps=3, measure_every=3), data)
    callback = MeasureDistance(points=20)
    record = measured(run, callback)
    assert record == callback.measure(run) == measured(run, MeasureDistance(points=20))
    assert callback._real is not None
    assert data.held_out is not None
    real = callback._real.points
    assert len({tuple(row.flatten().tolist()) for row in real}) == 20
    assert all((data.held_out == row).flatten(1).all(dim=1).any() for row in real)
    fake = run.trainer.draw(20, distance.SEED)[0]
    assert record["w1"] == transport.exact(real, fake)
    along = transport.plan(real, fake)
    judged = kantorovich(run.trainer.critic, Sample(real), Sample(fake), along=along)
    assert record["kantorovich"] == judged.estimate
    assert record["kantorovich_normalised"] == judged.normalised


@pytest.mark.parametrize("method", ["wgan", "wgan-gp", "sn-gan"])
def test_measuring_changes_nothing(tmp_path: Path, method: str) -> None:
    config, data = small(method, measure_every=1), split("digits")
    looked, plain = (Run.begin(config, data, out=tmp_path / name) for name in ("looked", "plain"))
    callback = MeasureDistance()
    callback.begin(looked)
    for _ in range(3):
        for run in (looked, plain):
            torch.set_rng_state(plain.trainer.state_dict()["random"]["global"])
            run.trainer.train_step()
        assert callback.measure(looked).keys() == MEASURED
    assert_same_state(looked.trainer.state_dict(), plain.trainer.state_dict())


def test_a_run_gone_on_with_measures_the_same(tmp_path: Path) -> None:
    config, data = small("sn-gan", steps=6, measure_every=2), split("digits")
    fit(config, data, out=tmp_path / "whole", callbacks=[MeasureDistance()])
    halves, stops = tmp_path / "halves", iter([False] * 3 + [True])
    fit(config, data, out=halves, callbacks=[MeasureDistance()], stop=lambda: next(stops))
    Run.reopen(halves, data).go(callbacks=[MeasureDistance()])
    assert_same_run(halves, tmp_path / "whole")


@pytest.mark.parametrize("held_out", [True, False])
def test_without_held_out_data_or_when_not_asked_nothing_is_measured(
    tmp_path: Path, held_out: bool
) -> None:
    data = split("digits") if held_out else dataclasses.replace(split("digits"), held_out=None)
    run = trained(tmp_path, small(steps=2, measure_every=0 if held_out else 2), data)
    assert measured(run, MeasureDistance()) == {}


def test_an_estimate_does_not_call_itself_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "EXACT_PAIRS", 100)
    run = trained(tmp_path, small(steps=2, measure_every=2), split("digits"))
    record = measured(run, MeasureDistance())
    assert "w1" not in record
    assert record["w1_sinkhorn"] > record["w1_sinkhorn_floor"] > 0
    assert math.isfinite(record["kantorovich_normalised"])


def test_packed_rows_are_measured(tmp_path: Path) -> None:
    config, data = small(data="swissroll", steps=4, pack=4, measure_every=4), split("swissroll")
    run = trained(tmp_path, config, data)
    record = measured(run, MeasureDistance())
    assert record["kantorovich_normalised"] <= record["w1"]
    assert measured(run, MeasureDistance(points=3)).keys() == {"w1", "w1_floor"}


def test_labels_are_measured_with(tmp_path: Path) -> None:
    labels = torch.arange(120) % 3
    data = dataclasses.replace(
        split("digits"),
        labels=labels[:60],
        held_out_labels=labels[60:],
        classes=("a", "b", "c"),
    )
    run = trained(tmp_path, small(steps=4, conditional=True, measure_every=4), data)
    assert measured(run, MeasureDistance()).keys() == MEASURED


def test_a_generator_of_nan_stops_the_run_with_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = Trainer.draw
    monkeypatch.setattr(Trainer, "draw", lambda *given: (draw(*given)[0] / 0, None))
    with pytest.raises(TrainingDivergedError, match=r"w1 is nan at step 2"):
        fit(small(measure_every=2), split("digits"), out=tmp_path, callbacks=[MeasureDistance()])
