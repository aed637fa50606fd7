"""torch's fused Adam with less Python round its kernel."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam

from fastwgan._quiet_step import QuietStep


class FusedAdam(QuietStep, torch.optim.Adam):
    """`torch.optim.Adam(..., fused=True)`: the same kernel, numbers, state and `state_dict`.

    With networks as small as a toy critic, torch's `step` takes as long to reach its kernel as the
    kernel itself. Here a group goes there at once if its parameters are on the CPU, of one dtype
    and past their first step; any other goes as torch's does.

    Args:
        params: As torch's: parameters, named parameters or groups.
        lr: Learning rate.
        betas: Decays of the averages of gradients and of their squares, per step.

    Raises:
        As torch's.

    Source: Kingma, Ba 2015, https://arxiv.org/abs/1412.6980, algorithm 1.
    """

    def __init__(self, params: Any, lr: float, betas: tuple[float, float]) -> None:
        super().__init__(params, lr, betas, fused=True)

    def _step_one(self, group: dict[str, Any]) -> None:
        lists = self._at_once(group)
        with torch.set_grad_enabled(group["differentiable"]):
            if lists is None:
                self._step_as_torch(group)
            elif lists.parameters:
                _step(lists, group)

    def _at_once(self, group: dict[str, Any]) -> _Lists | None:
        """What the kernel takes; None where torch has to look first."""
        if _is_unusual(group) or hasattr(self, "grad_scale") or hasattr(self, "found_inf"):
            return None
        lists = _Lists([], [], [], [], [])
        dtype = None
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            state = self.state.get(parameter)
            dtype = dtype or parameter.dtype
            if not state or not parameter.is_cpu or parameter.dtype is not dtype:
                return None
            if gradient.dtype is not dtype or gradient.is_sparse:
                return None
            lists.parameters.append(parameter)
            lists.gradients.append(gradient)
            lists.averages.append(state["exp_avg"])
            lists.square_averages.append(state["exp_avg_sq"])
            lists.steps.append(state["step"])
        return lists

    def _step_as_torch(self, group: dict[str, Any]) -> None:
        lists: tuple[list[Tensor], ...] = ([], [], [], [], [], [])
        has_complex = self._init_group(group, *lists)
        parameters, gradients, averages, square_averages, greatest, steps = lists
        beta1, beta2 = group["betas"]
        torch_adam(
            parameters,
            gradients,
            averages,
            square_averages,
            greatest,
            steps,
            has_complex=has_complex,
            beta1=beta1,
            beta2=beta2,
            grad_scale=getattr(self, "grad_scale", None),
            found_inf=getattr(self, "found_inf", None),
            **{name: group[name] for name in _OPTIONS},
        )


_OPTIONS = (
    "amsgrad",
    "lr",
    "weight_decay",
    "eps",
    "maximize",
    "foreach",
    "capturable",
    "differentiable",
    "fused",
    "decoupled_weight_decay",
)


# A tensor, since a Python number is wrapped anew for every step: four times the cost.
_ONE = torch.ones((), dtype=torch.float32, device="cpu")


class _Lists(NamedTuple):
    parameters: list[Tensor]
    gradients: list[Tensor]
    averages: list[Tensor]
    square_averages: list[Tensor]
    steps: list[Tensor]


def _is_unusual(group: dict[str, Any]) -> bool:
    """Whether options, which a loaded state may bring, ask for more than the kernel's one call."""
    return bool(
        not group["fused"]
        or group["amsgrad"]
        or group["differentiable"]
        or group["decoupled_weight_decay"]
        or isinstance(group["lr"], Tensor)
        or any(isinstance(beta, Tensor) for beta in group["betas"])
    )


def _step(lists: _Lists, group: dict[str, Any]) -> None:
    torch._foreach_add_(lists.steps, _ONE, alpha=1.0)
    beta1, beta2 = group["betas"]
    torch._fused_adam_(
        lists.parameters,
        lists.gradients,
        lists.averages,
        lists.square_averages,
        [],
        lists.steps,
        lr=group["lr"],
        beta1=beta1,
        beta2=beta2,
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        amsgrad=False,
        maximize=group["maximize"],
    )
