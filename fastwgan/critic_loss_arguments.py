"""What `critic_loss` asks of its arguments; all is checked before anything is drawn or run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastwgan import penalty_arguments
from fastwgan.engine.jobs import Job
from fastwgan.engine.losses import LOSSES, Loss
from fastwgan.ops.gradient_penalty import KINDS


def check(
    critic: Any,
    real: Any,
    fake: Any,
    *,
    penalty: Any,
    weight: Any,
    target: Any,
    alpha: Any,
    groups: Any,
    loss: Any,
    real_args: Any,
    fake_args: Any,
    generator: Any,
    engine: Any,
) -> Job:
    """The job, or the first error in the arguments as one sentence."""
    penalty_arguments.check_engine(engine)
    if fake is None:
        raise ValueError("fake was None; it must be a batch of fake samples.")
    pairs = _pairs(penalty, weight)
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise RuntimeError(
            "critic_loss was called inside a torch.func transform; it must be called outside of "
            "them: take its gradient by backward()."
        )
    kinds = [kind for kind, _ in pairs]
    own = {kind for kind in kinds if kind in ("r1", "r2")}
    penalties = [
        penalty_arguments.check(
            critic,
            real,
            fake,
            kind=kind,
            weight=factor,
            # With several penalties the options are those of the kinds that have them.
            target=None if kind in own and len(own) < len(pairs) else target,
            alpha=None if kind in own and len(own) < len(pairs) else alpha,
            groups=groups,
            generator=generator,
        )
        for kind, factor in pairs or [("r1", 0.0)]
    ]
    real_others = _others("real_args", real_args, real)
    fake_others = _others("fake_args", fake_args, real, real_others)
    return Job(
        critic,
        real,
        fake,
        real_others,
        fake_others,
        _loss(loss),
        tuple(penalties) if pairs else (),
    )


def check_backward(backward: Any) -> None:
    """Raises unless `backward` is a bool, and one that can be done."""
    if not isinstance(backward, bool):
        raise TypeError(f"backward was of type {type(backward).__name__}; it must be a bool.")
    if backward and not torch.is_grad_enabled():
        raise RuntimeError(
            "backward was True under torch.no_grad or torch.inference_mode; it must be False there."
        )


def is_generic(job: Job, engine: str) -> bool:
    """Whether a job asks for gradients that the engine does not compute.

    Raises:
        RuntimeError: it does, and only the engine shall be taken.
    """
    others = (*job.real_args, *job.fake_args) if torch.is_grad_enabled() else ()
    if not any(isinstance(other, Tensor) and other.requires_grad for other in others):
        return False
    if engine == "always":
        raise RuntimeError(
            'engine was "always", and real_args or fake_args require grad; they must not: pass '
            "them detached."
        )
    return True


def _pairs(penalty: Any, weight: Any) -> list[tuple[str, Any]]:
    if penalty is None:
        return []
    if isinstance(penalty, str):
        if penalty not in KINDS:
            raise ValueError(f"penalty was {penalty!r}; it must be one of {list(KINDS)}, or None.")
        return [(penalty, weight)]
    pairs = list(penalty) if isinstance(penalty, Sequence) else None
    if not pairs or not all(
        isinstance(pair, Sequence) and len(pair) == 2 and pair[0] in KINDS for pair in pairs
    ):
        raise ValueError(
            f"penalty was {penalty!r}; it must be one of {list(KINDS)}, a sequence of pairs (kind, "
            f"weight), or None."
        )
    return [(str(kind), factor) for kind, factor in pairs]


def _loss(loss: Any) -> Loss:
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"loss was {loss!r}; it must be one of {list(LOSSES)}, or a callable.")
        return LOSSES[loss]
    if not callable(loss):
        raise TypeError(
            f"loss was of type {type(loss).__name__}; it must be one of {list(LOSSES)}, or a "
            f"callable of the real and the fake scores."
        )
    return loss  # type: ignore[no-any-return]


def _others(
    name: str, others: Any, real: Tensor, like: tuple[Any, ...] | None = None
) -> tuple[Any, ...]:
    if type(others) is tuple and not others and not like:
        return ()
    if not isinstance(others, Sequence) or isinstance(others, str):
        raise TypeError(
            f"{name} was of type {type(others).__name__}; it must be a tuple of the critic's "
            f"further arguments."
        )
    for index, other in enumerate(others):
        if isinstance(other, Tensor) and (other.dim() == 0 or other.shape[0] != real.shape[0]):
            raise ValueError(
                f"{name}[{index}] had shape {tuple(other.shape)}; its first dimension must be the "
                f"batch, {real.shape[0]}."
            )
    if like is not None and not _alike(others, like):
        raise ValueError(
            f"{name} was {[_form(t) for t in others]}; it must fit real_args, "
            f"{[_form(t) for t in like]}."
        )
    return tuple(others)


def _alike(others: Sequence[Any], like: Sequence[Any]) -> bool:
    return [_form(t) for t in others] == [_form(t) for t in like]


def _form(other: Any) -> Any:
    return f"{other.dtype} {tuple(other.shape)}" if isinstance(other, Tensor) else other
