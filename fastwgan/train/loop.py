"""Training a Wasserstein GAN with the kernels: a critic step and a generator step, nothing hidden.

This is the example of how the library is used. Files, progress and signals are in `run.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

import fastwgan
from fastwgan.train.drawing import packed
from fastwgan.train.generator_losses import generator_loss
from fastwgan.train.optimizers import set_rate
from fastwgan.train.training_state import TrainingState


class Trainer(TrainingState):
    """The state of one run and the steps that change it.

    Args:
        config: What to train, and how.
        data: What to imitate.
        processes: Who trains; each computes its rows of every batch, and holds the whole state.
    """

    def train_step(self) -> None:
        """One generator step after the critic steps it needs."""
        config = self.config
        set_rate(self.critic_optimizer, config.critic_lr, config, self.step)
        set_rate(self.generator_optimizer, config.generator_lr, config, self.step)
        for number in range(config.critic_steps):
            measured = self.critic_step(self.step * config.critic_steps + number)
        measured["generator_loss"] = self.generator_step()
        self._update_average()
        self.meter.add(measured)
        self.step += 1

    def critic_step(self, number: int = 0) -> dict[str, Tensor]:
        """Brings the critic closer to one batch's Wasserstein distance; returns its scalars.

        Args:
            number: Critic steps done before, of which every `penalty_every`-th has a penalty.
        """
        config = self.config
        real, labels = self.last_batch = self._batches.next()
        with torch.no_grad():
            fake = self._generate(self._latent(), labels)
        self.processes.settle()  # the last step's gradients travelled meanwhile
        every = config.penalty_every or 1
        weight = every * (config.penalty_weight or 0.0)
        penalties = [(kind, weight) for kind in config.penalties if number % every == 0]
        real, fake = packed(real, config.pack), packed(fake, config.pack)
        alpha = self._alpha(penalties)
        self.critic_optimizer.zero_grad()
        rows = self._parts(real, fake, labels, alpha)
        measured = _means([self._critic_part(penalties, *part) for part in rows])
        penalty = measured.pop("penalty")
        if config.penalties:
            if penalties:
                self._penalty = penalty if every == 1 else penalty / every
            measured["penalty"] = self._penalty
        self._average(measured.values(), self.critic_optimizer)
        return measured

    def _average(self, measured: Iterable[Tensor], optimizer: Optimizer) -> None:
        """Steps with the gradients, and leaves the scalars, of all processes' rows."""
        gradients = [p.grad for p in _stepped(optimizer) if p.grad is not None]
        self.processes.average([*gradients, *measured], then=optimizer.step)

    def _alpha(self, penalties: list[tuple[str, float]]) -> Tensor | None:
        """Where between real and fake each own row's penalty is taken, [batch / pack]."""
        if not any(kind in ("wgan-gp", "wgan-lp") for kind, _ in penalties):
            return None
        size = self.config.batch_size // self.config.pack
        return self._own(torch.rand(size, generator=self._noise, device=self.device))

    def _critic_part(
        self,
        penalties: list[tuple[str, float]],
        real: Tensor,
        fake: Tensor,
        labels: Tensor | None,
        alpha: Tensor | None,
    ) -> dict[str, Tensor]:
        """Adds the gradients of some rows of a batch; returns their scalars."""
        arguments = () if labels is None else (labels,)
        whole = self.config.accumulate == 1
        with self._autocast():
            done = fastwgan.critic_loss(
                self.critic,
                real,
                fake,
                penalty=penalties or None,
                alpha=alpha,
                loss=self.config.loss,
                real_args=arguments,
                fake_args=arguments,
                generator=self._noise,
                backward=whole,
            )
        if not whole:
            self._share(done.total).backward()
        return {
            "wasserstein": done.wasserstein,
            "critic_loss": done.total.detach(),
            "penalty": done.penalty,
        }

    def generator_step(self) -> Tensor:
        """Moves the generator where the critic scores higher; returns its loss."""
        self.generator_optimizer.zero_grad()
        rows = self._parts(self._latent(), *self.last_batch)
        loss = _means([{"loss": self._generator_part(*part)} for part in rows])["loss"]
        self._average([loss], self.generator_optimizer)
        self.processes.settle()
        return loss

    def _generator_part(self, noise: Tensor, real: Tensor, labels: Tensor | None) -> Tensor:
        arguments = () if labels is None else (labels,)
        fake, real = (
            packed(rows, self.config.pack) for rows in (self._generate(noise, labels), real)
        )
        self.processes.settle()
        with self._autocast():
            scores = self.critic(fake, *arguments)
            loss = generator_loss(
                self.config.loss, _wide(scores), lambda: self._scores_of(real, *arguments)
            )
        # With `inputs`, no gradient of the critic's weights is computed, nor left in their .grad.
        self._share(loss).backward(inputs=_stepped(self.generator_optimizer))
        return loss.detach()

    def _scores_of(self, real: Tensor, *arguments: Tensor) -> Tensor:
        with torch.no_grad():
            scores: Tensor = self.critic(real, *arguments)
        return _wide(scores)

    def _generate(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        with self._autocast():
            fake: Tensor = self.generator(noise, *(() if labels is None else (labels,)))
        return fake.to(noise.dtype)

    def _autocast(self) -> AbstractContextManager[object]:
        half, device = self.config.precision == "bf16", self.device.type
        if half or torch.is_autocast_enabled(device):
            return torch.autocast(device, torch.bfloat16, enabled=half)
        return nullcontext()

    def _parts(self, *batches: Tensor | None) -> list[tuple[Any, ...]]:
        """The rows of a batch in `accumulate` equal parts."""
        count = self.config.accumulate
        if count == 1:
            return [batches]
        chunks = ([None] * count if rows is None else rows.chunk(count) for rows in batches)
        return list(zip(*chunks, strict=True))

    def _share(self, loss: Tensor) -> Tensor:
        """A part's share in the mean over the batch."""
        return loss if self.config.accumulate == 1 else loss / self.config.accumulate

    def _latent(self) -> Tensor:
        size = (self.config.batch_size, self.config.latent_size)
        return self._own(torch.randn(size, generator=self._noise, device=self.device))

    def _update_average(self) -> None:
        # Young averages forget faster, so that a short run isn't drawn with its first weights.
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        update = get_ema_multi_avg_fn(decay)
        update(*self._averaged, self.step)


def _stepped(optimizer: Optimizer) -> list[Tensor]:
    """The parameters, sooner found than in the network's modules."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _wide(scores: Tensor) -> Tensor:
    """At least float32, so that a mean over a batch is no coarser."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _means(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    if len(parts) == 1:
        return parts[0]
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
