"""One RMSprop step of many parameters, with weight clipping in the same pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastwgan import backends
from fastwgan.ops._library import LIBRARY, by_device, is_exact, takes_plain
from fastwgan.ops.rmsprop import native, reference
from fastwgan.ops.rmsprop._checks import check_lists

__all__ = ["BACKENDS", "rmsprop_", "rmsprop_group_"]

BACKENDS = backends.Modules("fastwgan.ops.rmsprop", cpu=native, reference=reference)


def rmsprop_(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    square_averages: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor],
    gradient_averages: Sequence[Tensor],
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    maximize: bool,
    weight_clip: float | None,
) -> None:
    """Steps every parameter in place as torch.optim.RMSprop does, then clips it.

    Args:
        parameters: Real floating tensors, none overlapping another; written in place.
        gradients: One for each parameter, of its shape and device, real floating; read only.
        square_averages: Likewise; written in place.
        momentum_buffers: Likewise, or empty when `momentum` is 0; written in place.
        gradient_averages: Likewise for the centered form, or empty; written in place.
        lr: Learning rate.
        alpha: Decay of the averages, per step.
        eps: Added to the root of the square average.
        weight_decay: L2 penalty's factor.
        momentum: Decay of the momentum buffer, per step.
        maximize: Ascend instead of descend.
        weight_clip: Bound of the parameters after the step, or None.

    Raises:
        TypeError: An entry is no tensor, or is sparse, complex or integer.
        ValueError: An entry has no memory (meta), one that is written has elements that share
            memory (expanded), or a list does not match the parameters.
        RuntimeError: A forced backend cannot take one of the tensors.

    Not differentiable. Cost: one reading of everything and one writing of all but the gradients.
    Source: Hinton, "Neural networks for machine learning", lecture 6e; Graves 2013,
    arXiv:1308.0850, eq. 38-45 (centered); Arjovsky et al. 2017, algorithm 1, lines 6-7.
    """
    parameters = list(parameters)
    if not parameters:
        return
    companions = (gradients, square_averages, momentum_buffers, gradient_averages)
    lists = (parameters, *map(list, companions))
    check_lists(*lists)
    numbers = (lr, alpha, eps, weight_decay, momentum, maximize, weight_clip)
    if all(map(is_exact, lists)):
        _rmsprop_op(*lists, *numbers)
    else:
        with torch.no_grad():
            torch.ops.fastwgan.rmsprop_(*lists, *numbers)


def rmsprop_group_(
    parameters: list[Tensor],
    state: dict[Tensor, Any],
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
    maximize: bool,
    weight_clip: float | None,
) -> bool:
    """`rmsprop_` for a group of an optimizer in the usual case, read from its state in one call.

    The usual case: exact tensors of one dtype, float32 or float64, without gaps, in CPU memory,
    with gradients and initialised state of the parameters' layout, and no mode active. All of it
    is tested anew at every call. Parameters without a gradient are left alone.

    Args:
        parameters: The group's parameters, of any shapes, with or without a gradient.
        state: The optimizer's state, in torch's keys; written in place, the step counts too.
        lr: As for `rmsprop_`, like all that follow.
        alpha: Decay of the averages.
        eps: Added to the root.
        weight_decay: L2 penalty's factor.
        momentum: Decay of the momentum buffer; above 0 there must be one.
        centered: Take the centered form.
        maximize: Ascend.
        weight_clip: Bound, or None.

    Returns:
        False, with nothing written, when it is not the usual case. Not differentiable.
    """
    if not takes_plain():
        return False
    written = native.step_plain_(
        parameters,
        state,
        lr,
        alpha,
        eps,
        weight_decay,
        momentum,
        centered,
        maximize,
        weight_clip,
    )
    if written is None:
        return False
    torch.autograd.graph.increment_version(written)
    return True


def _run(backend: str, parameters: list[Tensor], gradients: list[Tensor], *arguments: Any) -> None:
    BACKENDS[backend].rmsprop_(parameters, gradients, *arguments)
    for written in (parameters, *arguments[:3]):
        torch.autograd.graph.increment_version(written)


def _rmsprop_op(*arguments: Any) -> None:
    lists, numbers = arguments[:5], arguments[5:]
    parts = [
        [[tensors[index] for index in indices] if tensors else [] for tensors in lists]
        for indices in by_device(lists[0])
    ]
    for backend, part in [(backends.select("rmsprop", part[0]), part) for part in parts]:
        _run(backend, *part, *numbers)


LIBRARY.define(
    "rmsprop_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] square_averages,"
    " Tensor(c!)[] momentum_buffers, Tensor(d!)[] gradient_averages, float lr, float alpha,"
    " float eps, float weight_decay, float momentum, bool maximize, float? weight_clip) -> ()"
)
LIBRARY.impl("rmsprop_", _rmsprop_op, "CompositeExplicitAutograd")


@torch.library.register_fake("fastwgan::rmsprop_", lib=LIBRARY)  # type: ignore[untyped-decorator]
def _rmsprop_fake(*arguments: object) -> None:
    return None
