"""BatchNorm with the statistics of the whole batch, whose rows are spread over processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn.modules.batchnorm import _BatchNorm

from fastwgan.train.config import ConfigError
from fastwgan.train.processes import Processes


class SyncedBatchNorm(_BatchNorm):
    """An `nn.BatchNorm1d`, `2d` or `3d` that all processes run at once, on as many rows each.

    While training it normalises by the mean and variance over every process's rows, and gradients
    flow through both. Its state dict is that of the layer it was made from, and so is what it does
    in evaluation. `torch.nn.SyncBatchNorm` is only for GPUs.

    Args:
        layer: Whose parameters and buffers it shares from then on.
        processes: Who shares each batch.
    """

    processes: Processes

    def __init__(self, layer: _BatchNorm, processes: Processes) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(layer.__dict__)
        self.__dict__["processes"] = processes

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(
                f"input had shape {tuple(input.shape)}; it must be [batch, channels, …]."
            )

    def forward(self, input: Tensor) -> Tensor:
        """Normalises [batch, channels, …] over all but the channels."""
        if not (self.training or self.running_mean is None):
            return super().forward(input)
        self._check_input_dim(input)
        wide = input.to(torch.promote_types(input.dtype, torch.float32))
        others = [axis for axis in range(wide.dim()) if axis != 1]
        variance, mean = torch.var_mean(wide, others, correction=0)
        every: Tensor = _Gather.apply(torch.stack((mean, variance)), self.processes)
        means, variances = every.unbind(1)  # [processes, channels] each
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        rows = self.processes.size * (wide.numel() // wide.shape[1])
        if self.training:
            self._update(mean.detach(), variance.detach() * (rows / (rows - 1)))
        scale = torch.rsqrt(variance + self.eps)
        shape = [-1 if axis == 1 else 1 for axis in range(wide.dim())]
        centred = wide - mean.view(shape)
        if self.affine:
            result = torch.addcmul(
                self.bias.view(shape), centred, (scale * self.weight).view(shape)
            )
        else:
            result = centred * scale.view(shape)
        return result.to(input.dtype)

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        """Moves the running statistics, which keep the unbiased variance."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:  # a plain mean over all batches
            momentum = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)


def synced(module: nn.Module, processes: Processes) -> nn.Module:
    """The same network with every BatchNorm synced; unchanged where a process trains alone.

    Args:
        module: Changed in place, unless it is a BatchNorm itself; state dicts stay as they are.
        processes: Who shares each batch.
    """
    if processes.size == 1:
        return module
    if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
        return SyncedBatchNorm(module, processes)  # type: ignore[arg-type]
    for name, child in module.named_children():
        setattr(module, name, synced(child, processes))
    return module


def refuse_unsynced(critic: nn.Module, processes: Processes) -> None:
    """Refuses a critic whose statistics would be those of one process's rows.

    Raises:
        ConfigError: it has BatchNorm, and a batch is spread over processes.
    """
    if processes.size > 1 and any(isinstance(layer, _BatchNorm) for layer in critic.modules()):
        raise ConfigError(
            "critic",
            f"has BatchNorm; with {processes.size} processes it must have none: GroupNorm and "
            "LayerNorm judge each sample alone.",
        )


class _Gather(torch.autograd.Function):
    """Every process's tensor, [processes, *shape]; its adjoint is `_OwnTotal`."""

    @staticmethod
    def forward(ctx: FunctionCtx, own: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes  # type: ignore[attr-defined]
        return processes.gather(own)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _OwnTotal.apply(gradient, ctx.processes), None


class _OwnTotal(torch.autograd.Function):
    """This process's row of the sum of every process's tensor; its adjoint is `_Gather`."""

    @staticmethod
    def forward(ctx: FunctionCtx, every: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes  # type: ignore[attr-defined]
        return processes.total(every)[processes.rank].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Gather.apply(gradient, ctx.processes), None
