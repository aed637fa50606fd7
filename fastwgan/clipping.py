"""Weight clipping: of a module's parameters, or of an optimizer's after each of its steps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from torch import Tensor, nn
from torch.optim.optimizer import Optimizer
from torch.utils.hooks import RemovableHandle

from fastwgan.ops._checks import check_writable
from fastwgan.ops.weight_clip import clip_

__all__ = ["clip_after_step", "clip_weights_"]

Exclude = str | Callable[[str, Tensor], bool] | None

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
    bound = checked_bound(bound, "bound")
    clip_(_selected(parameters_or_module, exclude), bound)


def clip_after_step(
    optimizer: Optimizer, bound: float, *, exclude: Callable[[Tensor], bool] | None = None
) -> RemovableHandle:
    """Clips an optimizer's parameters after each of its steps.

    For RMSprop, `fastwgan.optim.RMSprop(..., weight_clip=bound)` does it in the step's own pass.

    Args:
        optimizer: Any torch optimizer, its parameters as for `clip_weights_`: real floating point,
            any shape, strides and device; groups added later are clipped too.
        bound: Finite and above zero, in the units of the weights.
        exclude: Predicate of a parameter: True leaves it alone.

    Returns:
        A handle; its `remove()` ends the clipping.

    Raises:
        TypeError: `optimizer` is no torch optimizer, `bound` no number, `exclude` no predicate, or
            a parameter sparse, complex or integer.
        ValueError: `bound` is not above zero and finite, or a parameter is meta or expanded.

    torch leaves step hooks out of an optimizer's state_dict, pickle and deep copy: call this again
    on the copy. Not differentiable.

    Source: Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1, line 7.
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer was {type(optimizer).__name__}; it must be a torch.optim.Optimizer."
        )
    if exclude is not None and not callable(exclude):
        raise TypeError(f"exclude was {exclude!r}; it must be a predicate of a parameter or None.")
    hook = _ClipHook(checked_bound(bound, "bound"), exclude)
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


def checked_bound(bound: float, name: str) -> float:
    if isinstance(bound, bool) or not isinstance(bound, (int, float)):
        raise TypeError(f"{name} was {bound!r}; it must be a number above zero.")
    if not 0 < bound <= sys.float_info.max:
        raise ValueError(f"{name} was {bound}; it must be above zero and finite.")
    return float(bound)


def _selected(source: nn.Module | Tensor | Iterable[Tensor], exclude: Exclude) -> list[Tensor]:
    """The tensors to clip."""
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
    return list(source)


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
