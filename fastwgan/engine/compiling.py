"""What compilers trace in place of `critic_loss` and `gradient_penalty`: one operation each.

All that is no tensor is a constant of the compiled graph, guarded by the compiler.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fastwgan.engine.compiled import Call, remember

Run = Callable[..., tuple[list[Tensor], list[Tensor]]]


REASON = (
    "critic was a function inside torch.compile; it must be an nn.Module there for one graph, with "
    "labels and the like in real_args and fake_args of critic_loss."
)


def takes(critic: Any) -> bool:
    """Whether calls of this critic can be one operation of a compiled graph."""
    return isinstance(critic, nn.Module) and not isinstance(critic, DistributedDataParallel)


def call(
    run: Run,
    critic: Any,
    real: Tensor,
    fake: Tensor | None,
    alpha: Tensor | None,
    real_args: Sequence[Any],
    fake_args: Sequence[Any],
    scored: bool,
    options: dict[str, Any],
) -> tuple[Tensor, Tensor, Tensor]:
    """The numbers, the first of which is differentiable, and the scores.

    Args:
        run: Called with critic, real, fake, alpha, both kinds of further arguments and the options.
        critic: An nn.Module that was made outside of the compiled function.
        real: As given, like all that follow.
        fake: Likewise.
        alpha: Likewise.
        real_args: Likewise.
        fake_args: Likewise.
        scored: Whether `run` returns scores.
        options: What else `run` is called with, none of it a tensor.
    """
    given = (*real_args, *fake_args)
    others = [other for other in given if isinstance(other, Tensor)]
    constants = tuple(None if isinstance(other, Tensor) else _constant(other) for other in given)
    places = tuple(isinstance(other, Tensor) for other in given)
    fixed = {name: _constant(option) for name, option in options.items()}
    number = _number(critic, run, scored, constants, places, len(real_args), **fixed)
    parameters, buffers = list(critic.parameters()), list(critic.buffers())
    samples = [real] if fake is None else [real, fake]
    on = torch.is_grad_enabled()
    trains = [on and tensor.requires_grad for tensor in (*parameters, *samples)]
    device = real.device.type
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    values, _, real_scores, fake_scores, ends = torch.ops.fastwgan.critic_call(
        parameters, buffers, real, fake, alpha, others, number, trains, autocast
    )
    for buffer, end in zip(buffers, ends, strict=True):
        buffer.copy_(end.detach())
    return values, real_scores.detach(), fake_scores.detach()


def _constant(value: Any) -> Any:
    """The same, no longer a variable of the compiler's: it compiles anew for another number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        above, below = float(value).as_integer_ratio()
        return above if isinstance(value, int) else above / below
    if isinstance(value, (tuple, list)):
        return tuple([_constant(each) for each in value])
    return value


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _number(
    critic: nn.Module,
    run: Run,
    scored: bool,
    constants: tuple[Any, ...],
    places: tuple[bool, ...],
    count: int,
    **options: Any,
) -> int:
    def others(tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        rest = iter(tensors)
        given = tuple(
            next(rest) if is_tensor else constant
            for is_tensor, constant in zip(places, constants, strict=True)
        )
        return given[:count], given[count:]

    def bound(
        held: nn.Module,
        real: Tensor,
        fake: Tensor | None,
        alpha: Tensor | None,
        tensors: Sequence[Tensor],
    ) -> tuple[list[Tensor], list[Tensor]]:
        return run(held, real, fake, alpha, *others(tensors), options)

    entry = Call(
        weakref.ref(critic),
        bound,
        (lambda tensors: others(tensors)[0]) if scored else None,
        4 if scored else 1,
    )
    return remember(entry, critic)
