"""One RMSprop step of many parameters, with weight clipping in the same pass."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from fastwgan import backends
from fastwgan.ops._checks import all_plain
from fastwgan.ops._library import LIBRARY, is_exact
from fastwgan.ops.rmsprop import native, reference
from fastwgan.ops.rmsprop._checks import check_lists

__all__ = ["BACKENDS", "rmsprop_"]

BACKENDS: dict[str, ModuleType] = {"cpu": native, "reference": reference}


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
    exact = all(map(is_exact, lists))
    plain = exact and all_plain(parameters)
    if not plain:
        check_lists(*lists)
    numbers = (lr, alpha, eps, weight_decay, momentum, maximize, weight_clip)
    if exact:
        alike = parameters[:1] if plain else parameters
        _run(backends.select("rmsprop", alike), *lists, *numbers)
    else:
        with torch.no_grad():
            torch.ops.fastwgan.rmsprop_(*lists, *numbers)


def _run(backend: str, parameters: list[Tensor], gradients: list[Tensor], *arguments: Any) -> None:
    BACKENDS[backend].rmsprop_(parameters, gradients, *arguments)
    for written in (parameters, *arguments[:3]):
        torch.autograd.graph.increment_version(written)


def _rmsprop_op(parameters: list[Tensor], *arguments: Any) -> None:
    _run(backends.select("rmsprop", parameters), parameters, *arguments)


LIBRARY.define(
    "rmsprop_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] square_averages,"
    " Tensor(c!)[] momentum_buffers, Tensor(d!)[] gradient_averages, float lr, float alpha,"
    " float eps, float weight_decay, float momentum, bool maximize, float? weight_clip) -> ()"
)
LIBRARY.impl("rmsprop_", _rmsprop_op, "CompositeExplicitAutograd")


@torch.library.register_fake("fastwgan::rmsprop_", lib=LIBRARY)  # type: ignore[untyped-decorator]
def _rmsprop_fake(*arguments: object) -> None:
    return None
