from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fastwgan.train import Run, Trainer, TrainingDivergedError, checkpoint, health, plots, replay
from fastwgan.train.metrics import Record
from tests.train.settings import small

Spoil = Callable[[Trainer], None]


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return _begin(tmp_path)


def _begin(path: Path, **chosen: Any) -> Run:
    """A run that first looks at its numbers after step 5, to save them."""
    return Run.begin(small(**{"log_every": 6, "checkpoint_every": 5, **chosen}), out=path / "run")


def _error(run: Run, **arguments: Any) -> TrainingDivergedError:
    with pytest.raises(TrainingDivergedError) as caught:
        run.go(**arguments)
    assert "\n" not in str(caught.value)
    return caught.value


def _weight(trainer: Trainer) -> Tensor:
    return trainer.critic.get_parameter("7.weight")


def _after(owner: Any, name: str, trainer: Trainer, change: Callable[[Any], Any]) -> None:
    """Changes what a method returns, or does something behind it, in the fourth step."""
    original = getattr(owner, name)

    def changed(*arguments: Any) -> Any:
        result = original(*arguments)
        return change(result) if trainer.step == 3 else result

    setattr(owner, name, changed)


def _spoil_gradient(value: float) -> Spoil:
    def spoil(trainer: Trainer) -> None:
        _weight(trainer).register_hook(
            lambda gradient: torch.full_like(gradient, value) if trainer.step == 3 else gradient
        )

    return spoil


def _spoil_scalar(trainer: Trainer) -> None:
    infinite = {"penalty": torch.tensor(math.inf)}
    _after(trainer, "critic_step", trainer, lambda measured: measured | infinite)


def _spoil_weight(trainer: Trainer) -> None:
    weight = _weight(trainer)
    _after(trainer.critic_optimizer, "step", trainer, lambda _: weight.data.fill_(math.nan))


def _spoil_generator(trainer: Trainer) -> None:
    weight = trainer.generator.get_parameter("0.weight")
    _after(trainer.generator_optimizer, "step", trainer, lambda _: weight.data.fill_(-math.inf))


def _spoil_average(trainer: Trainer) -> None:
    weight = trainer.average.get_parameter("0.weight")
    _after(trainer, "_update_average", trainer, lambda _: weight.data.fill_(math.inf))


def _spoil_between(trainer: Trainer) -> None:
    original = trainer.train_step

    def train_step() -> None:
        if trainer.step == 3:
            _weight(trainer).data[0, 0] = math.nan
        original()

    trainer.train_step = train_step  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_spoil_gradient(math.nan), "the gradient of critic.7.weight became NaN first, in critic"),
        (_spoil_gradient(1e30), "exp_avg_sq of critic.7.weight became infinite first, in critic"),
        (_spoil_scalar, "penalty became infinite first, in critic update 1"),
        (_spoil_weight, "critic.7.weight became NaN first, in critic update 1"),
        (_spoil_between, "critic.7.weight became NaN first, before critic update 1"),
        (_spoil_generator, "generator.0.weight became infinite first, in generator update"),
        (_spoil_average, "average.0.weight became infinite first, after the updates"),
    ],
)
def test_the_tensor_that_went_first_is_named(run: Run, spoil: Spoil, said: str) -> None:
    spoil(run.trainer)
    error = _error(run)
    pattern = (
        rf"training stopped, since {re.escape(said)}.* at step 4: try a smaller critic_lr "
        r"\(it was 0\.001\) or generator_lr \(it was 0\.001\); the last good checkpoint, of step "
        rf"0, is {run.folder.checkpoint}"
    )
    assert re.fullmatch(pattern, str(error)), str(error)
    assert error.step == 4
    assert checkpoint.load(run.folder.checkpoint)["step"] == 0


# Whether a product that overflows gives Inf or Inf - Inf is its order of adding.
@pytest.mark.parametrize(
    ("method", "chosen", "said"),
    [
        ("wgan-gp", {"critic_lr": 1e30}, r"the output of critic\.\d became (NaN|infinite)"),
        ("wgan-gp", {"critic_lr": 3e9}, r"the critic's scores became infinite"),
        ("wgan", {"generator_lr": 1e30}, r"the output of generator\.\d became (NaN|infinite)"),
    ],
)
def test_a_rate_too_large_is_traced_to_a_layer(
    tmp_path: Path, method: str, chosen: dict[str, float], said: str
) -> None:
    trainer = (run := _begin(tmp_path, method=method, **chosen)).trainer
    assert re.search(rf"since {said} first, in critic update \d at step [12]: ", str(_error(run)))
    layers = [layer for net in (trainer.critic, trainer.generator) for layer in net.modules()]
    assert not any(layer._forward_hooks for layer in layers)
    assert not {"critic_step", "generator_step"} & vars(trainer).keys()


def test_the_steps_are_done_again_from_the_last_checkpoint(tmp_path: Path) -> None:
    run = _begin(tmp_path, checkpoint_every=1, log_every=1)
    begun: list[int] = []
    _after(run.trainer, "critic_step", run.trainer, lambda measured: begun.append(4) or measured)
    _spoil_gradient(math.nan)(run.trainer)
    assert "; the last good checkpoint, of step 3, is " in str(_error(run))
    # Both updates of the run, the first one again, and once more to look closely.
    assert begun == [4, 4, 4, 4]


def test_what_does_not_happen_again_is_said(run: Run) -> None:
    moments = run.trainer.generator_optimizer.state

    def spoil(record: Record) -> None:
        next(iter(moments.values()))["exp_avg_sq"].fill_(math.inf)

    error = _error(run, watch=spoil)
    assert "since generator_optimizer.state.0.exp_avg_sq holds NaN or Inf at step 6: " in str(error)
    assert str(error).endswith(
        "steps done again from it stayed finite, so which tensor went first isn't known"
    )
    assert error.finding is None


@pytest.mark.parametrize("ended", ["time", "signal"])
def test_the_search_has_an_end(run: Run, ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    if ended == "time":
        monkeypatch.setattr(replay, "_LONGEST", 0.0)
    _spoil_gradient(math.nan)(run.trainer)
    error = _error(run, stop=lambda: asked.append(0) or (ended == "signal" and len(asked) > 6))
    assert " became NaN or infinite at step " in str(error)
    assert str(error).endswith("isn't known, since the search for it was ended")
    assert run.step < 2


def test_a_checkpoint_that_was_damaged_meanwhile_is_said(run: Run) -> None:
    _spoil_gradient(math.nan)(run.trainer)
    _after(run.trainer, "_update_average", run.trainer, lambda _: run.folder.checkpoint.unlink())
    error = _error(run)
    assert str(error).endswith(f"; there is no checkpoint {run.folder.checkpoint}.")


def test_no_process_does_steps_again_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    error = TrainingDivergedError("training stopped", 4)
    checkpoint.save(run.folder.checkpoint, _empty(step=3))
    monkeypatch.setattr(run.trainer.processes, "size", 2)
    traced = health.traced(error, run.trainer, run.folder.checkpoint)
    assert str(traced) == (
        f"training stopped; the last good checkpoint, of step 3, is {run.folder.checkpoint}; "
        "which tensor went first is searched for in a run of one process only"
    )
    assert (traced.step, traced.finding) == (4, None)


def _empty(step: int) -> dict[str, Any]:
    parts = {"config": {}, "data": {}, "label_counts": [], "seconds": 0.0, "trainer": {}}
    return {**parts, "step": step}
