"""What the tests of several processes run, in one process or as one of several, in float64."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastwgan import cli
from fastwgan.train import Data, Processes, Run, Trainer, join, last_words, plots, run
from fastwgan.train.synced_batch_norm import synced
from tests.train.settings import leaves, load, small

RUNS: dict[str, dict[str, Any]] = {
    "wgan digits": {"method": "wgan", "data": "digits"},
    "wgan-gp digits": {"method": "wgan-gp", "data": "digits"},
    "sn-gan digits": {"method": "sn-gan", "data": "digits"},
    "wgan 8gaussians": {"method": "wgan", "data": "8gaussians"},
    "wgan-gp 8gaussians": {"method": "wgan-gp", "data": "8gaussians"},
    "sn-gan 8gaussians": {"method": "sn-gan", "data": "8gaussians"},
    "sn+gp in parts": {"method": "sn+gp", "data": "digits", "accumulate": 2, "penalty_every": 2},
    "relativistic r1+r2": {"method": "r1+r2", "data": "digits", "loss": "relativistic"},
    "packed": {"method": "wgan-gp", "data": "8gaussians", "pack": 2, "accumulate": 2},
}
RESUMED = "sn-gan digits"
BATCHES = {"rows": (8, 6), "images": (8, 3, 4, 5), "no affine": (8, 6), "plain mean": (8, 6)}
PARTS = ("generator", "average", "critic", "critic_optimizer", "generator_optimizer")
CONFIG = {"steps": 6, "batch_size": 8, "log_every": 2, "checkpoint_every": 4}


def double(name: str) -> Data:
    data = load(name)
    return Data(data.name, data.values.double())


def begin(name: str, out: Path, processes: Processes) -> Run:
    chosen = RUNS[name]
    config = small(**{**CONFIG, **chosen})
    return Run.begin(config, double(chosen["data"]), out=out, processes=processes)


def reopen(name: str, out: Path, processes: Processes) -> Run:
    return Run.reopen(out, double(RUNS[name]["data"]), processes=processes)


def stop_at(step: int) -> Callable[[], bool]:
    """Says stop when it is asked before step `step` + 1."""
    asked = iter(range(10_000))
    return lambda: next(asked) == step


def parts(out: Path) -> None:
    """A run that is stopped twice, the middle of it trained by one process."""
    with join() as processes:
        begin(RESUMED, out, processes).go(stop=stop_at(2))
        writes = processes.is_writer
    if writes:
        reopen(RESUMED, out, Processes()).go(stop=stop_at(4))
    with join() as processes:
        reopen(RESUMED, out, processes).go()


def normalised(name: str, processes: Processes) -> dict[str, Tensor]:
    """What a BatchNorm, and the next call of it, makes of a batch; and all gradients."""
    torch.manual_seed(len(name))
    batch = 3 + 2 * torch.randn(2, *BATCHES[name])
    weights = processes.own(torch.randn(BATCHES[name]))
    kind = nn.BatchNorm2d if name == "images" else nn.BatchNorm1d
    momentum = None if name == "plain mean" else 0.3
    layer = kind(batch.shape[2], affine=name != "no affine", momentum=momentum)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    module = synced(layer, processes)
    first, own = (processes.own(rows).requires_grad_() for rows in batch)
    module(first)
    outputs = module(own)
    # Twice differentiated, as by a penalty behind it.
    (gradient,) = torch.autograd.grad((outputs.sin() * weights).sum(), own, create_graph=True)
    (gradient.square().sum() + (outputs * weights).sum()).backward()
    assert own.grad is not None
    found = {"outputs": outputs.detach(), "gradient": gradient.detach(), "second": own.grad}
    found |= {f"{key} gradient": p.grad for key, p in module.named_parameters()}  # type: ignore[misc]
    module.eval()
    return {**found, "evaluated": module(own).detach(), **module.state_dict()}


def train_all(out: Path) -> None:
    """Everything that the tests compare with one process, into a file a rank."""
    torch.set_default_dtype(torch.float64)
    plots.draw = lambda *arguments: None  # type: ignore[assignment]
    align, Trainer.align = Trainer.align, lambda self: None  # type: ignore[method-assign] # equal without it
    states, layers = {}, {}
    with join() as processes:
        assert processes.size == 2
        rank = processes.rank
        for name in RUNS:
            trained = begin(name, out / name, processes)
            trained.go()
            states[name] = copy.deepcopy(trained.trainer.state_dict())
        for name in BATCHES:
            layers[name] = normalised(name, processes)
        if rank > 0:
            _shake(trained.trainer)
        align(trained.trainer)
        aligned = [trained.trainer.state_dict()[part] for part in PARTS]
    parts(out / "parts")
    torch.save({"states": states, "layers": layers, "aligned": aligned}, out / f"{rank}.pt")


def _shake(trainer: Trainer) -> None:
    """Changes every weight, buffer and moment of a trainer."""
    with torch.no_grad():
        for _, value in leaves(trainer.state_dict()):
            if isinstance(value, Tensor) and value.is_floating_point():
                value.add_(1.0)


def command(*arguments: str) -> int:
    """The command, in float64."""
    torch.set_default_dtype(torch.float64)
    run.load = lambda name, *_, **__: double(name)  # type: ignore[attr-defined]
    return cli.main(arguments)


def commands(folder: Path, every: list[list[str]]) -> int:
    """Commands one after another, each followed by its status; returns the last one's.

    "RANK" among the arguments stands for the rank.
    """
    os.chdir(folder)
    last_words._SECONDS_TO_ANSWER = last_words._SECONDS_TO_SPEAK = 0.1
    for arguments in every:
        try:
            status: Any = cli.main([os.environ["RANK"] if a == "RANK" else a for a in arguments])
        except SystemExit as ended:
            status = ended.code
        print(f"status {status}", file=sys.stderr, flush=True)
    return int(status)


if __name__ == "__main__":
    sys.exit(command(*sys.argv[1:]))
