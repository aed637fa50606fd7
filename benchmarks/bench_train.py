"""Steps of `fastwgan train`, optimizers included, against the same trainer in eager PyTorch.

The speedup is that of steps per second. Every contestant is `fastwgan.train.Trainer` with the
defaults of WGAN-GP; the peers differ in how the critic's gradients come about, and in that their
Adam is torch's alone. Steps are taken in bursts, as in training, where each finds in the caches
what the one before left there. Before each burst all begin again from the same weights and Adam's
state after some steps, with a batch order and noise of that burst.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.bench_critic_step import interpolate, work_of
from benchmarks.race import Contestant, RunCase
from benchmarks.roofline import Work
from fastwgan import train
from fastwgan.train import Data, TrainConfig, Trainer, defaults
from fastwgan.train.batches import Batches
from fastwgan.train.drawing import judged_shape, packed

BEFORE = 5
"""Steps after which the snapshot is taken: Adam's averages are then of the gradients' size."""

BURST = 10
"""Steps that are timed as one."""


def _table() -> tuple[TrainConfig, Data]:
    """Rows of 156 features, of which the critic takes ten at once, by the defaults of tables."""
    rows = torch.randn(5000, 156, generator=torch.Generator().manual_seed(0))
    settings = defaults.settings("wgan-gp", ("gp",), "rows.csv")
    return TrainConfig(method="wgan-gp", data="rows.csv", **settings), Data("table", rows)


def _named(name: str) -> tuple[TrainConfig, Data]:
    return TrainConfig.for_method("wgan-gp", name), train.load(name)


CASES: dict[str, Callable[[], tuple[TrainConfig, Data]]] = {
    "8 Gaussians": partial(_named, "8gaussians"),
    "digits": partial(_named, "digits"),
    "a table, 10 rows packed": _table,
}


@pytest.mark.parametrize("name", CASES)
def bench_train_step(name: str, run_case: RunCase) -> None:
    config, data = CASES[name]()
    with _threads(config.threads):
        run_case(
            f"fastwgan train, wgan-gp on {name}, {BURST} steps, {config.threads} thread",
            ours=Ours(config, data),
            peers=[Eager(config, data), Joined(config, data)],
            work=work_of_step(config, data),
            bound=1e-5,
        )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """With the number of threads that a configuration asks for."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


class _Training(Contestant):
    """One trainer, and the state that each of its steps begins with."""

    def __init__(self, config: TrainConfig, data: Data, kind: type[Trainer] = Trainer) -> None:
        started = Trainer(config, data)
        for _ in range(BEFORE):
            started.train_step()
        self.trainer = kind(config, data)
        with _float64():
            self._wide = kind(config, Data(data.name, data.values.double()))
        self._state, self._step = started.state_dict(), 0

    def prepare(self, step: int) -> None:
        self._step = step
        _begin(self.trainer, self._state, step)

    def run(self) -> None:
        for _ in range(BURST):
            self.trainer.train_step()

    def results(self) -> list[Tensor]:
        """The first critic gradient of the burst, and in float64 what its whole first step does.

        In float32 a whole step is no test. The gradient of some biases is truly zero (of a unit on
        one side of its kink for all samples), Adam makes steps of its rounding errors as large as
        any other, and every one of the critic's steps carries them over kinks of other samples.
        """
        _begin(self.trainer, self._state, self._step)
        self.trainer.critic_step()
        with _float64():
            _begin(self._wide, self._state, self._step)
            self._wide.train_step()
        return [_gradient(self.trainer.critic), *self._of("critic"), *self._of("generator")]

    def _of(self, part: str) -> tuple[Tensor, Tensor]:
        """The last gradient of a network, and what the step added to its matrices."""
        network: nn.Module = getattr(self._wide, part)
        before: dict[str, Tensor] = self._state[part]
        matrices = [(name, p) for name, p in network.named_parameters() if p.dim() > 1]
        added = [(p.detach() - before[name]).flatten() for name, p in matrices]
        return _gradient(network), torch.cat(added)


def _begin(trainer: Trainer, state: dict[str, Any], step: int) -> None:
    trainer.load_state_dict(copy.deepcopy(state))  # optimizers step in the tensors they are given
    trainer._batches = Batches(trainer._batches._values, trainer.config.batch_size, step)
    trainer._noise.manual_seed(step)


def _gradient(network: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@contextmanager
def _float64() -> Iterator[None]:
    """With float64 for what is made of no other tensor."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Ours(_Training):
    name = "fastwgan.train.Trainer"


class Eager(_Training):
    """The critic step as everyone writes it."""

    name = "eager autograd"
    required = 1.5

    def __init__(self, config: TrainConfig, data: Data) -> None:
        super().__init__(config, data, PlainTrainer)


class Joined(_Training):
    """The same, real and fake judged in one batch."""

    name = "eager autograd, real and fake joined"
    required = 1.5

    def __init__(self, config: TrainConfig, data: Data) -> None:
        super().__init__(config, data, JoiningTrainer)


class PlainTrainer(Trainer):
    """The trainer without a line of fastwgan's in its steps: torch's autograd and Adam."""

    def __init__(self, config: TrainConfig, data: Data) -> None:
        super().__init__(config, data)
        for part in ("critic", "generator"):
            (group,) = getattr(self, f"{part}_optimizer").param_groups
            adam = torch.optim.Adam(group["params"], group["lr"], group["betas"], fused=True)
            setattr(self, f"{part}_optimizer", adam)

    def critic_step(self, number: int = 0) -> dict[str, Tensor]:
        self.last_batch = self._batches.next()
        with torch.no_grad():
            fake = packed(self.generator(self._latent()), self.config.pack)
        real = packed(self.last_batch[0], self.config.pack)
        penalty = self._penalty_at(real, fake)
        real_mean, fake_mean = self._means(real, fake)
        total = fake_mean - real_mean + penalty
        self.critic_optimizer.zero_grad()
        total.backward()
        self.critic_optimizer.step()
        estimate = (real_mean - fake_mean).detach()
        measured = {"wasserstein": estimate, "critic_loss": total.detach()}
        return {**measured, "penalty": penalty.detach()}

    def _means(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        return self.critic(real).mean(), self.critic(fake).mean()

    def _penalty_at(self, real: Tensor, fake: Tensor) -> Tensor:
        alpha = torch.rand(len(real), generator=self._noise)
        points = interpolate(real, fake, alpha).requires_grad_()
        scores = self.critic(points)
        ones = torch.ones_like(scores)
        (gradient,) = torch.autograd.grad(scores, points, ones, create_graph=True)
        excess = torch.linalg.vector_norm(gradient.flatten(1), dim=1) - 1
        assert self.config.penalty_weight is not None
        weighted: Tensor = self.config.penalty_weight * excess.square().mean()
        return weighted


class JoiningTrainer(PlainTrainer):
    """Real and fake in one call of the critic."""

    def _means(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        real_scores, fake_scores = self.critic(torch.cat((real, fake))).chunk(2)
        return real_scores.mean(), fake_scores.mean()


def work_of_step(config: TrainConfig, data: Data) -> Work:
    """Least work of a burst: critic steps, a generator's forward each, and generator steps."""
    trainer, shape = Trainer(config, data), (config.batch_size, *data.shape)
    rows = config.batch_size // config.pack
    critic = work_of(trainer.critic, (rows, *judged_shape(config, data.shape)))
    forward, first, weights = _layers_of(trainer.generator, config.batch_size)
    judged, _, _ = _layers_of(trainer.critic, rows)
    # Of the generator: values, gradients of weights, and of all inputs but the noise. Of the critic
    # beside it: values, and the gradient of its input.
    products = config.critic_steps * forward + 3 * forward - first + 2 * judged
    state = 4.0 * 2 * 3 * weights  # weights and Adam's two averages, read and written
    samples = 4.0 * math.prod(shape)
    return Work(
        bytes=BURST * (config.critic_steps * (critic.bytes + samples) + state + samples),
        flops=BURST * (config.critic_steps * critic.flops + 2 * products),
    )


def _layers_of(network: nn.Module, rows: int) -> tuple[float, float, int]:
    """Multiplications of one pass, those of the first layer, and the number of weights."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    products = [float(layer.weight.numel() * rows) for layer in layers]
    return sum(products), products[0], sum(p.numel() for p in network.parameters())
