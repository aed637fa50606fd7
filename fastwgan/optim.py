"""The optimizer of the original WGAN, with weight clipping in its one pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT
from torch.optim.rmsprop import rmsprop as torch_rmsprop

from fastwgan._quiet_step import QuietStep
from fastwgan.clipping import checked_bound
from fastwgan.ops.rmsprop import rmsprop_, rmsprop_group_

__all__ = ["RMSprop"]

_COMPLEX_CLIPPED = "a parameter was complex; with weight_clip every one must be real."


class RMSprop(QuietStep, torch.optim.RMSprop):
    """torch.optim.RMSprop in one fused pass over all parameters, clipping included.

    Arguments, state and `state_dict` are torch's, and each loads the other's: a torch state loaded
    here keeps this optimizer's `weight_clip`. `foreach` and `capturable` are accepted and change
    nothing: the step is one call either way. Half-precision parameters are stepped in float32 and
    rounded once.

    Args:
        params: Parameters, named parameters or groups, as torch's: of any shape, strides and
            device, any floating or complex dtype.
        lr: Learning rate, in the units of the parameters: gradients are divided by their own scale.
        alpha: Decay of the square average, per step.
        eps: Added to the root of the square average, in the units of the gradients.
        weight_decay: L2 penalty's factor.
        momentum: Decay of the momentum buffer.
        centered: Divide by the standard deviation instead of the root mean square.
        capturable: As torch's.
        foreach: As torch's.
        maximize: Ascend instead of descend.
        differentiable: Let autograd pass through the step, as torch does; not with `weight_clip`.
        weight_clip: Bound on every element that a step moves, in the units of the parameters, above
            zero and finite; None for none. A parameter without a gradient is left alone, clipping
            included. Also a key of a parameter group.

    Raises:
        TypeError: `weight_clip` is no number.
        ValueError: `weight_clip` is not above zero and finite, or given with `differentiable`.

    Source: Hinton, lecture 6e; Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1, lines 6-7.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        weight_clip: float | None = None,
    ) -> None:
        self._initial_weight_clip = weight_clip
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            capturable=capturable,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
        )
        self.defaults["weight_clip"] = weight_clip

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's; the group may have a `weight_clip` of its own."""
        if not isinstance(param_group, dict):
            raise TypeError(
                f"param_group was {type(param_group).__name__}; it must be a dict of parameters "
                f"and options."
            )
        weight_clip = param_group.setdefault("weight_clip", self._initial_weight_clip)
        if weight_clip is not None:
            param_group["weight_clip"] = checked_bound(weight_clip, "weight_clip")
            if param_group.get("differentiable", self.defaults["differentiable"]):
                raise ValueError(
                    "differentiable was True with a weight_clip; clipping has no derivative here, "
                    "so it must be False."
                )
        super().add_param_group(param_group)
        if weight_clip is not None and any(map(torch.is_complex, param_group["params"])):
            del self.param_groups[-1]
            raise TypeError(_COMPLEX_CLIPPED)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's; groups saved without a `weight_clip` keep this optimizer's."""
        saved = state_dict["param_groups"]
        if len(saved) == len(self.param_groups):
            own = [group["weight_clip"] for group in self.param_groups]
            filled = [{"weight_clip": c, **g} for c, g in zip(own, saved, strict=True)]
            state_dict = {**state_dict, "param_groups": filled}
        super().load_state_dict(state_dict)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("weight_clip", None)
        self._initial_weight_clip = self.defaults.get("weight_clip")

    def _step_one(self, group: dict[str, Any]) -> None:
        if self._step_plain_group(group):
            return
        with torch.set_grad_enabled(group["differentiable"]):
            self._step_group(group)

    def _step_plain_group(self, group: dict[str, Any]) -> bool:
        """The usual step; False, with nothing written, where a group needs another."""
        if group["differentiable"] or type(self.state) is not defaultdict:
            return False
        return rmsprop_group_(
            group["params"], self.state, centered=group["centered"], **_numbers(group)
        )

    def _step_group(self, group: dict[str, Any]) -> None:
        lists: tuple[list[Tensor], ...] = ([], [], [], [], [], [])
        parameters, gradients, square_averages, buffers, gradient_averages, steps = lists
        has_complex = self._init_group(group, *lists)
        if group["differentiable"] or has_complex:
            _torch_step(lists, group, has_complex)
            return
        if not parameters:
            return
        rmsprop_(
            parameters,
            gradients,
            square_averages,
            buffers,
            gradient_averages,
            **_numbers(group),
        )
        # As a tensor, since a Python number is wrapped anew for every step: four times the cost.
        torch._foreach_add_(steps, torch.tensor(1.0, device="cpu"), alpha=1.0)


def _numbers(group: dict[str, Any]) -> dict[str, Any]:
    return {
        "lr": float(group["lr"]),
        "alpha": group["alpha"],
        "eps": group["eps"],
        "weight_decay": group["weight_decay"],
        "momentum": group["momentum"],
        "maximize": group["maximize"],
        "weight_clip": group["weight_clip"],
    }


def _torch_step(lists: Sequence[list[Tensor]], group: dict[str, Any], has_complex: bool) -> None:
    """The step of torch itself, for what the fused pass does not do: complex, differentiable."""
    parameters, gradients, square_averages, buffers, gradient_averages, steps = lists
    if has_complex and group["weight_clip"] is not None:
        raise TypeError(_COMPLEX_CLIPPED)
    torch_rmsprop(
        parameters,
        gradients,
        square_averages,
        gradient_averages,
        buffers,
        steps,
        foreach=False,
        differentiable=group["differentiable"],
        has_complex=has_complex,
        **{
            name: group[name]
            for name in ("lr", "alpha", "eps", "weight_decay", "momentum", "centered", "maximize")
        },
    )
