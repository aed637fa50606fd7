"""Weight clipping, and the optimizer of the original WGAN with clipping in its one pass."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, ParamsT
from torch.optim.rmsprop import rmsprop as torch_rmsprop
from torch.utils.hooks import RemovableHandle

from fastwgan.ops._checks import check_writable
from fastwgan.ops.rmsprop import rmsprop_
from fastwgan.ops.weight_clip import clip_

__all__ = ["RMSprop", "clip_after_step", "clip_weights_"]

Exclude = str | Callable[[str, Tensor], bool] | None

_COMPLEX_CLIPPED = "a parameter was complex; with weight_clip every one must be real."

_NORM_LAYERS = (
    nn.modules.batchnorm._NormBase,  # BatchNorm, SyncBatchNorm, InstanceNorm
    nn.GroupNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.CrossMapLRN2d,
)


def clip_weights_(
    parameters_or_module: nn.Module | Tensor | Iterable[Tensor],
    bound: float,
    *,
    exclude: Exclude = None,
) -> None:
    """Clips every parameter to [-bound, bound] in place, all of them in one call and one pass.

    Args:
        parameters_or_module: A module, whose parameters are clipped, or a tensor or an iterable of
            tensors: real floating point, any shape, strides and device. Written in place, whether
            they require grad or not; their version counters move, so autograd still reports a
            backward through values that are gone.
        bound: Finite and above zero, in the units of the weights (0.01 in the paper).
        exclude: What to leave alone when a module is given: "norm" for the parameters of
            normalisation layers, or a predicate of (name, parameter).

    Raises:
        TypeError: An argument's type is wrong, or a tensor is sparse, complex or integer.
        ValueError: `bound` is not above zero and finite, a tensor is meta or expanded, or `exclude`
            is another string or given without a module. Nothing has been written in either case.

    NaN stays NaN. Not differentiable. Cost: one reading and one writing of the parameters.
    Source: Arjovsky et al. 2017, "Wasserstein GAN", arXiv:1701.07875, algorithm 1, line 7.
    """
    bound = _checked_bound(bound, "bound")
    clip_(_selected(parameters_or_module, exclude), bound)


def clip_after_step(
    optimizer: Optimizer, bound: float, *, exclude: Callable[[Tensor], bool] | None = None
) -> RemovableHandle:
    """Clips an optimizer's parameters after each of its steps.

    For RMSprop, `fastwgan.optim.RMSprop(..., weight_clip=bound)` does it in the step's own pass.

    Args:
        optimizer: Any torch optimizer; groups added later are clipped too.
        bound: Finite and above zero, in the units of the weights.
        exclude: Predicate of a parameter: True leaves it alone.

    Returns:
        A handle; its `remove()` ends the clipping.

    Raises:
        TypeError: `optimizer` is no torch optimizer, `bound` no number, `exclude` no predicate, or
            a parameter sparse, complex or integer.
        ValueError: `bound` is not above zero and finite, or a parameter is meta or expanded.

    torch leaves step hooks out of an optimizer's state_dict, pickle and deep copy: call this again
    on the copy.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer was {type(optimizer).__name__}; it must be a torch.optim.Optimizer."
        )
    if exclude is not None and not callable(exclude):
        raise TypeError(f"exclude was {exclude!r}; it must be a predicate of a parameter or None.")
    hook = _ClipHook(_checked_bound(bound, "bound"), exclude)
    check_writable(hook.clipped(optimizer), "optimizer's parameters")
    return optimizer.register_step_post_hook(hook)


class _ClipHook:
    def __init__(self, bound: float, exclude: Callable[[Tensor], bool] | None) -> None:
        self.bound = bound
        self.exclude = exclude

    def clipped(self, optimizer: Optimizer) -> list[Tensor]:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if self.exclude is None:
            return parameters
        return [p for p in parameters if not self.exclude(p)]

    def __call__(self, optimizer: Optimizer, args: object, kwargs: object) -> None:
        clip_(self.clipped(optimizer), self.bound)


class RMSprop(torch.optim.RMSprop):
    """torch.optim.RMSprop in one fused pass over all parameters, clipping included.

    Arguments, state and `state_dict` are torch's, and each loads the other's: a torch state loaded
    here keeps this optimizer's `weight_clip`. `foreach` and `capturable` are accepted and change
    nothing: the step is one call either way. Half-precision parameters are stepped in float32 and
    rounded once.

    Args:
        params: Parameters, named parameters or groups, as torch's.
        lr: Learning rate.
        alpha: Decay of the square average, per step.
        eps: Added to the root of the square average.
        weight_decay: L2 penalty's factor.
        momentum: Decay of the momentum buffer.
        centered: Divide by the standard deviation instead of the root mean square.
        capturable: As torch's.
        foreach: As torch's.
        maximize: Ascend instead of descend.
        differentiable: Let autograd pass through the step, as torch does; not with `weight_clip`.
        weight_clip: Bound on every element after each step, above zero and finite; None for none.
            Also a key of a parameter group.

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
            param_group["weight_clip"] = _checked_bound(weight_clip, "weight_clip")
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
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        for group in self.param_groups:
            group.setdefault("weight_clip", None)
        self._initial_weight_clip = self.defaults.get("weight_clip")

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of every parameter that has a gradient; returns the closure's loss, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            with torch.set_grad_enabled(group["differentiable"]):
                self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        lists: tuple[list[Tensor], ...] = ([], [], [], [], [], [])
        parameters, gradients, square_averages, buffers, gradient_averages, steps = lists
        has_complex = self._init_group(group, *lists)  # type: ignore[no-untyped-call]
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
            lr=float(group["lr"]),
            alpha=group["alpha"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            maximize=group["maximize"],
            weight_clip=group["weight_clip"],
        )
        # As a tensor, since a Python number is wrapped anew for every step: four times the cost.
        torch._foreach_add_(steps, torch.tensor(1.0, device="cpu"), alpha=1.0)


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


def _checked_bound(bound: float, name: str) -> float:
    if isinstance(bound, bool) or not isinstance(bound, (int, float)):
        raise TypeError(f"{name} was {bound!r}; it must be a number above zero.")
    if not 0 < bound <= sys.float_info.max:
        raise ValueError(f"{name} was {bound}; it must be above zero and finite.")
    return float(bound)


def _selected(source: nn.Module | Tensor | Iterable[Tensor], exclude: Exclude) -> list[Tensor]:
    """The tensors to clip, each once."""
    if isinstance(source, nn.Module):
        return _module_parameters(source, exclude)
    if exclude is not None:
        raise ValueError(
            "exclude was given with bare parameters; it needs a module, whose layers and names it "
            "can tell apart."
        )
    if isinstance(source, Tensor):
        return [source]
    if not isinstance(source, Iterable):
        raise TypeError(
            f"parameters_or_module was {type(source).__name__}; it must be a module, a tensor or "
            f"an iterable of tensors."
        )
    tensors = list(source)
    if len(set(map(id, tensors))) != len(tensors):
        tensors = list({id(tensor): tensor for tensor in tensors}.values())
    return tensors


def _module_parameters(module: nn.Module, exclude: Exclude) -> list[Tensor]:
    if exclude is None:
        return list(module.parameters())
    if exclude == "norm":
        left_out = {
            id(parameter)
            for layer in module.modules()
            if isinstance(layer, _NORM_LAYERS)
            for parameter in layer.parameters(recurse=False)
        }
        return [p for p in module.parameters() if id(p) not in left_out]
    if not callable(exclude):
        message = f'exclude was {exclude!r}; it must be "norm", a predicate of (name, parameter) '
        raise (ValueError if isinstance(exclude, str) else TypeError)(message + "or None.")
    return [p for name, p in module.named_parameters() if not exclude(name, p)]
