"""One operation for a whole call of `critic_loss` or `gradient_penalty`, as compilers see it.

A compiler cannot follow gradients taken inside a function. It sees `torch.ops.fastwgan.critic_call`
instead, which runs the same call eagerly. What a graph cannot hold (the critic, the options) stands
in a table and is named by a number; what it must know of goes in and out as tensors: parameters,
buffers, samples. The operation is functional: buffers come back as new tensors, which the caller
writes back, and all gradients as one flat tensor, since calls that write lists of tensors or return
them for the backward can be merged into one. It counts as random, so that no two calls are merged.
"""

from __future__ import annotations

import secrets
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fastwgan.engine.holding import LOCK, holding, untouched
from fastwgan.engine.reached import leaves, nodes_behind
from fastwgan.ops._library import LIBRARY
from fastwgan.ops.gradient_penalty import wide_dtype


@dataclass(frozen=True)
class Call:
    """What a graph calls, besides tensors.

    Attributes:
        run: Called with critic, real, fake, alpha and the further tensors; returns the numbers, the
            first of which is differentiable, and the scores.
        scored: The further arguments of the critic with the real samples, from the same tensors;
            None where no scores are returned.
    """

    critic: weakref.ReferenceType[nn.Module]
    run: Callable[..., tuple[list[Tensor], list[Tensor]]]
    scored: Callable[[Sequence[Tensor]], tuple[Any, ...]] | None
    numbers: int


_CALLS: dict[int, Call] = {}


def remember(call: Call, critic: nn.Module) -> int:
    """The number of a call, which is good as long as its critic lives.

    It is drawn at random: compilers keep graphs on disk, where no number may name another
    process's call.
    """
    number = secrets.randbits(62)
    _CALLS[number] = call
    weakref.finalize(critic, _CALLS.pop, number, None)
    return number


def _autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    if dtype is None:
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype, cache_enabled=False)


@contextmanager
def _with_autograd() -> Iterator[None]:
    """Autograd as outside of an operation's implementation, where the dispatcher leaves it out."""
    keys = torch._C.DispatchKey
    with (
        torch._C._SetExcludeDispatchKeyGuard(keys.AutogradFunctionality, False),
        torch._C._SetExcludeDispatchKeyGuard(keys.ADInplaceOrView, False),
    ):
        yield


def _leaf(tensor: Tensor, trains: bool) -> Tensor:
    own = tensor.clone() if tensor.is_inference() else tensor.detach()
    return own.requires_grad_(trains)


def _flat(total: Tensor, held: Sequence[Tensor], like: Tensor) -> Tensor:
    """The gradients of `held`, one behind the other, zero where there is none."""
    if not held:
        return like.new_empty(0)
    if total.requires_grad:
        known = {id(tensor) for tensor in held}
        if any(
            leaf.numel() and id(leaf) not in known for leaf in leaves(nodes_behind(total.grad_fn))
        ):
            raise RuntimeError(
                "critic had a trainable tensor that is none of its parameters; under torch.compile "
                "each must be one: register it as an nn.Parameter."
            )
    found: Sequence[Tensor | None] = [None] * len(held)
    if total.requires_grad:
        found = torch.autograd.grad(total, list(held), allow_unused=True)
    dtype = _dtype_of(held)
    return torch.cat(
        [
            (torch.zeros_like(t) if g is None else g).reshape(-1).to(dtype)
            for t, g in zip(held, found, strict=True)
        ]
    )


def _dtype_of(held: Sequence[Tensor]) -> torch.dtype:
    dtype = held[0].dtype
    for tensor in held:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def _critic_call(
    parameters: list[Tensor],
    buffers: list[Tensor],
    real: Tensor,
    fake: Tensor | None,
    alpha: Tensor | None,
    others: list[Tensor],
    number: int,
    trains: list[bool],
    autocast: torch.dtype | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
    call = _CALLS[number]
    critic = call.critic()
    assert critic is not None
    own = [buffer.clone() for buffer in buffers]
    with (
        LOCK,
        torch.inference_mode(False),
        _with_autograd(),
        torch.set_grad_enabled(any(trains)),
        _autocast(real.device, autocast),
    ):
        inputs = [*parameters, real, *([] if fake is None else [fake])]
        held = [_leaf(*pair) for pair in zip(inputs, trains, strict=True)]
        count = len(parameters)
        samples = [*held[count:], None][:2]
        with holding(critic, held[:count], own):
            numbers, scores = call.run(critic, *samples, alpha, [t.detach() for t in others])
        gradients = _flat(numbers[0], [t for t in held if t.requires_grad], real)
        values = torch.stack([n.detach().to(wide_dtype(real.dtype)).view(()) for n in numbers])
        both = [s.detach().clone(memory_format=torch.contiguous_format) for s in scores]
    both += [real.new_empty(0) for _ in range(2 - len(both))]
    return values, gradients, *both, own  # type: ignore[return-value]


def _critic_call_fake(
    parameters: list[Tensor],
    buffers: list[Tensor],
    real: Tensor,
    fake: Tensor | None,
    alpha: Tensor | None,
    others: list[Tensor],
    number: int,
    trains: list[bool],
    autocast: torch.dtype | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
    call = _CALLS[number]
    critic = call.critic()
    assert critic is not None
    inputs = [*parameters, real, *([] if fake is None else [fake])]
    held = [tensor for tensor, train in zip(inputs, trains, strict=True) if train]
    size = sum(tensor.numel() for tensor in held)
    gradients = real.new_empty(size, dtype=_dtype_of(held)) if held else real.new_empty(0)
    scores = real.new_empty(0)
    if call.scored is not None:
        with torch.no_grad(), _autocast(real.device, autocast), untouched(critic, real):
            own = [buffer.clone() for buffer in buffers]
            with holding(critic, parameters, own):
                scores = critic(real.clone(), *call.scored(others))
        scores = torch.empty(scores.shape, dtype=scores.dtype, device=scores.device)
    values = real.new_empty(call.numbers, dtype=wide_dtype(real.dtype))
    ends = [torch.empty_like(buffer, memory_format=torch.preserve_format) for buffer in buffers]
    return values, gradients, scores, torch.empty_like(scores), ends


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
    parameters, buffers, real, fake, _, others, _, trains, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1])
    tensors = [*parameters, real, *([] if fake is None else [fake])]
    ctx.forms = [(t.shape, t.dtype) if on else None for t, on in zip(tensors, trains, strict=True)]
    ctx.counts = len(parameters), len(buffers), len(others)
    ctx.has_fake = fake is not None


def _hand_out(
    ctx: Any, g: Tensor | None, _gradients: Any, _real: Any, _fake: Any, _buffers: Any
) -> tuple[Any, ...]:
    parameters, buffers, others = ctx.counts
    (flat,) = ctx.saved_tensors
    found: list[Tensor | None] = []
    start = 0
    for form in ctx.forms:
        if form is None or g is None:
            found.append(None)
            continue
        shape, dtype = form
        part = flat[start : start + shape.numel()]
        start += shape.numel()
        wide = part.to(torch.promote_types(part.dtype, g.dtype))
        found.append((wide * g[0]).view(shape).to(dtype))
    samples = found[parameters:] if ctx.has_fake else [found[parameters], None]
    nothing = [None] * buffers, [None] * others
    return (found[:parameters], nothing[0], *samples, None, nothing[1], None, None, None)


LIBRARY.define(
    "critic_call(Tensor[] parameters, Tensor[] buffers, Tensor real, Tensor? fake, Tensor? alpha,"
    " Tensor[] others, int number, bool[] trains, ScalarType? autocast)"
    " -> (Tensor values, Tensor gradients, Tensor real_scores, Tensor fake_scores,"
    " Tensor[] ends)",
    tags=(torch.Tag.nondeterministic_seeded,),
)
LIBRARY.impl("critic_call", _critic_call, "CompositeExplicitAutograd")
torch.library.register_fake("fastwgan::critic_call", _critic_call_fake, lib=LIBRARY)
torch.library.register_autograd(
    "fastwgan::critic_call", _hand_out, setup_context=_save, lib=LIBRARY
)
