"""docs/methods.md says what the settings are, and its critic can be trained."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fastwgan.train import Data, TrainConfig, Trainer
from fastwgan.train.config import LOSSES, METHODS, MODELS
from fastwgan.train.methods import PARTS
from tests.documents import python_blocks, run, text_of
from tests.train.settings import small

TEXT = text_of("docs/methods.md")


def _table(head: str) -> dict[str, list[str]]:
    """The rows of the table whose head begins so, by their first cell."""
    lines = TEXT[TEXT.index(f"| {head} |") :].split("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip().strip("`") for cell in line.strip("| ").split("|")] for line in lines]
    return {first: rest for first, *rest in rows}


def _of(config: TrainConfig) -> list[str]:
    """A row of the table of defaults."""
    is_clipped = config.penalty_weight is None and config.weight_clip is not None
    strength = f"c = {config.weight_clip:g}" if is_clipped else ""
    if config.penalty_weight is not None:
        strength = f"λ = {config.penalty_weight:g}"
    adam = None if config.beta1 is None else f"Adam {config.beta1:g}, {config.beta2:g}"
    rates = [f"{rate:g}" for rate in (config.critic_lr, config.generator_lr)]
    return [config.loss, str(config.critic_steps), *rates, adam or "RMSprop", strength]


def test_the_table_of_defaults(tmp_path: Path) -> None:
    table = _table("method | loss")
    assert set(METHODS) <= table.keys() | {"r2"}
    for method, cells in table.items():
        expected = _of(TrainConfig.for_method(method, str(tmp_path)))
        assert cells + [""] * (len(expected) - len(cells)) == expected, method


def test_every_name_has_its_place() -> None:
    headings = set(re.findall(r"^## (\S+)$", TEXT, re.MULTILINE))
    assert {"wgan", "wgan-gp", "wgan-lp", "dragan", "sn-gan", "r1", "r1+r2"} <= headings
    assert _table("loss | the critic descends").keys() == set(LOSSES)
    assert _table("model | samples").keys() == set(MODELS) - {"auto"}
    assert f"order {', '.join(PARTS)} decides" in " ".join(TEXT.split())


def test_every_option_is_a_setting() -> None:
    options = set(re.findall(r"`--([a-z-]+)", TEXT)) | set(re.findall(r"train --([a-z-]+)", TEXT))
    names = {option.replace("-", "_") for option in options}
    assert len(names) > 8
    assert names <= set(TrainConfig.__dataclass_fields__)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 28)])
def test_the_critic_of_ones_own_trains(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = python_blocks("docs/methods.md")
    module = ModuleType("my_critics")
    module.__dict__.update(run(block, "my_critics"))
    monkeypatch.setitem(sys.modules, "my_critics", module)
    config = small("wgan-gp", critic="my_critics:Critic")
    trainer = Trainer(config, Data("noise", torch.randn(20, *shape)))
    trainer.train_step()
    assert type(trainer.critic).__name__ == "Critic"
