"""What a run's steps change, and how it is stored and gone on with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fastwgan.train.batches import Batches
from fastwgan.train.config import TrainConfig
from fastwgan.train.data import Data
from fastwgan.train.metrics import Meter
from fastwgan.train.networks import Networks
from fastwgan.train.optimizers import critic_optimizer, generator_optimizer
from fastwgan.train.processes import ALONE, Processes


class TrainingState(Networks):
    """Networks, optimizers, the order of the data and random generators, between two steps.

    Building one seeds torch's global generator with `config.seed`.

    Args:
        config: What to train, and how.
        data: What to imitate.
        processes: Who trains; each holds the whole state.

    Attributes:
        step: Generator steps done.
        meter: The numbers of the steps since they were last read.
        critic_optimizer: Of `critic`.
        generator_optimizer: Of `generator`.
    """

    def __init__(self, config: TrainConfig, data: Data, processes: Processes = ALONE) -> None:
        super().__init__(config, data, processes)
        self.critic_optimizer = critic_optimizer(config, self.critic)
        self.generator_optimizer = generator_optimizer(config, self.generator)
        self._averaged = _floats(self.average), _floats(self.generator)
        values, labels = data.values.to(self.device), self.labels_of(data)
        self._batches = Batches(values, config.batch_size, self.order_seed, labels, self._own)
        self._noise = torch.Generator(self.device).manual_seed(self.noise_seed)
        self._penalty = torch.zeros((), device=self.device)  # of the last step that had one
        self.meter = Meter()
        self.step = 0

    def _own(self, rows: Tensor) -> Tensor:
        """This process's rows of a batch."""
        return self.processes.own(rows, self.config.accumulate)

    def state_dict(self) -> dict[str, Any]:
        """All that decides the steps to come, in tensors, numbers, strings, lists and dicts."""
        modules = {name: getattr(self, name).state_dict() for name in _PARTS}
        return modules | {
            "step": self.step,
            "batches": self._batches.state_dict(),
            "meter": self.meter.state_dict(),
            "penalty": self._penalty,
            "random": self._random_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on, bit for bit, where the trainer that gave `state` was.

        Args:
            state: From a trainer of equal configuration; global random generators are set too.
        """
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]
        self._batches.load_state_dict(state["batches"])
        self.meter.load_state_dict(state["meter"], self.device)
        self._penalty = state["penalty"].to(self.device)
        self._noise.set_state(state["random"]["noise"])
        torch.set_rng_state(state["random"]["global"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)

    def align(self) -> None:
        """Makes every process's state the writer's: machines that differ may round differently."""
        tensors = [t for name in _PARTS for t in _tensors(getattr(self, name).state_dict())]
        self.processes.spread(tensors)

    def _random_state(self) -> dict[str, Tensor]:
        state = {"noise": self._noise.get_state(), "global": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state


_PARTS = ("generator", "average", "critic", "critic_optimizer", "generator_optimizer")


def _floats(module: nn.Module) -> list[Tensor]:
    """Parameters, and the running statistics that belong to them."""
    return [t for t in module.state_dict().values() if t.is_floating_point()]


def _tensors(state: Any) -> list[Tensor]:
    """Every tensor of nested dicts and lists."""
    if isinstance(state, Tensor):
        return [state]
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list) else ()
    return [tensor for part in parts for tensor in _tensors(part)]
