"""One step of `fastwgan train`, optimizers included, against the same trainer in eager PyTorch.

The speedup is that of steps per second. Every contestant is `fastwgan.train.Trainer` with the
defaults of WGAN-GP on digits; the peers differ in how the critic's gradients come about. Before
each step all begin again from the same weights and Adam's state after some steps, with a batch
order and noise of that step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from benchmarks.bench_critic_step import interpolate, work_of
from benchmarks.race import Contestant, RunCase
from benchmarks.roofline import Work
from fastwgan import train
from fastwgan.train import Data, TrainConfig, Trainer
from fastwgan.train.batches import Batches

BEFORE = 5
"""Steps after which the snapshot is taken: Adam's averages are then of the gradients' size."""


@pytest.fixture
def config() -> Iterator[TrainConfig]:
    """The defaults, with the number of threads that they ask for."""
    before = torch.get_num_threads()
    config = TrainConfig.for_method("wgan-gp", "digits")
    torch.set_num_threads(config.threads)
    yield config
    torch.set_num_threads(before)


def bench_train_step(config: TrainConfig, run_case: RunCase) -> None:
    data = train.load("digits")
    run_case(
        f"fastwgan train, wgan-gp on digits, a step, {config.threads} thread",
        ours=Ours(config, data),
        peers=[Eager(config, data), Joined(config, data)],
        work=work_of_step(config, data),
        bound=1e-4,
    )


class _Training(Contestant):
    """One trainer, and the state that each of its steps begins with."""

    def __init__(self, config: TrainConfig, data: Data, kind: type[Trainer] = Trainer) -> None:
        started = Trainer(config, data)
        for _ in range(BEFORE):
            started.train_step()
        self.trainer = kind(config, data)
        self._data, self._state = data, started.state_dict()

    def prepare(self, step: int) -> None:
        trainer, config = self.trainer, self.trainer.config
        trainer.load_state_dict(self._state)
        trainer._batches = Batches(self._data.values, config.batch_size, step)
        trainer._noise.manual_seed(step)

    def run(self) -> None:
        self.trainer.train_step()

    def results(self) -> list[Tensor]:
        """Of each network, the last gradient, and what the step added to matrices.

        The gradient of some biases is truly zero (before a batch norm; of a unit on one side of its
        kink for all samples). Adam makes steps of its rounding errors as large as any other.
        """
        return [*self._of("critic"), *self._of("generator")]

    def _of(self, part: str) -> tuple[Tensor, Tensor]:
        network: nn.Module = getattr(self.trainer, part)
        before: dict[str, Tensor] = self._state[part]
        parameters = dict(network.named_parameters())
        gradients = [p.grad.flatten() for p in parameters.values() if p.grad is not None]
        added = [p.detach() - before[name] for name, p in parameters.items() if p.dim() > 1]
        return torch.cat(gradients), torch.cat([each.flatten() for each in added])


class Ours(_Training):
    name = "fastwgan.train.Trainer"


class Eager(_Training):
    """The critic step as everyone writes it."""

    name = "eager autograd"

    def __init__(self, config: TrainConfig, data: Data) -> None:
        super().__init__(config, data, PlainTrainer)


class Joined(_Training):
    """The same, real and fake judged in one batch."""

    name = "eager autograd, real and fake joined"

    def __init__(self, config: TrainConfig, data: Data) -> None:
        super().__init__(config, data, JoiningTrainer)


class PlainTrainer(Trainer):
    """The trainer without a line of fastwgan's in its steps: torch's autograd and Adam."""

    def critic_step(self, number: int = 0) -> dict[str, Tensor]:
        real, _ = self._batches.next()
        self._last_real = real
        with torch.no_grad():
            fake = self.generator(self._latent())
        penalty = self._penalty(real, fake)
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

    def _penalty(self, real: Tensor, fake: Tensor) -> Tensor:
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
    """Least work of the critic steps, a generator's forward each, and of the generator step."""
    trainer, shape = Trainer(config, data), (config.batch_size, *data.shape)
    critic = work_of(trainer.critic, shape)
    forward, first, weights = _layers_of(trainer.generator, config)
    judged, _, _ = _layers_of(trainer.critic, config)
    # Of the generator: values, gradients of weights, and of all inputs but the noise. Of the critic
    # beside it: values, and the gradient of its input.
    products = config.critic_steps * forward + 3 * forward - first + 2 * judged
    state = 4.0 * 2 * 3 * weights  # weights and Adam's two averages, read and written
    samples = 4.0 * math.prod(shape)
    return Work(
        bytes=config.critic_steps * (critic.bytes + samples) + state + samples,
        flops=config.critic_steps * critic.flops + 2 * products,
    )


def _layers_of(network: nn.Module, config: TrainConfig) -> tuple[float, float, int]:
    """Multiplications of one pass, those of the first layer, and the number of weights."""
    layers = [m for m in network.modules() if isinstance(m, nn.Linear)]
    products = [float(layer.weight.numel() * config.batch_size) for layer in layers]
    return sum(products), products[0], sum(p.numel() for p in network.parameters())
