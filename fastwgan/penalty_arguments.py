"""What `gradient_penalty` asks of its arguments; all is checked before anything is drawn or run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from fastwgan.ops.gradient_penalty import KINDS, wide_dtype

_INTERPOLATING = ("wgan-gp", "wgan-lp")
_UNTARGETED = ("r1", "r2")
_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one penalty, checked and with every default filled in."""

    kind: str
    real: Tensor
    fake: Tensor | None
    weight: float
    target: float
    alpha: Tensor | None
    groups: int
    generator: torch.Generator | None

    @property
    def rows(self) -> int:
        """How many norms there are: one for each `groups` consecutive samples."""
        return self.real.shape[0] // self.groups


def check(
    critic: Any,
    real: Any,
    fake: Any,
    *,
    kind: Any,
    weight: Any,
    target: Any,
    alpha: Any,
    groups: Any,
    generator: Any,
) -> Arguments:
    """The arguments of `gradient_penalty`, or the first error in them as one sentence."""
    if not callable(critic):
        raise TypeError(f"critic was {_type(critic)}; it must be callable.")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind was {kind!r}; it must be one of {list(KINDS)}.")
    _check_samples("real", real)
    _check_fake(fake, real, kind)
    _check_groups(groups, real)
    return Arguments(
        kind=kind,
        real=real,
        fake=fake,
        weight=_number("weight", weight),
        target=_target(target, kind),
        alpha=_alpha(alpha, real, kind, groups),
        groups=groups,
        generator=_generator(generator, real),
    )


def check_engine(engine: Any) -> None:
    """Raises unless `engine` is one of the ways there are."""
    if not isinstance(engine, str) or engine not in ("auto", "always", "never"):
        raise ValueError(f"engine was {engine!r}; it must be 'auto', 'always' or 'never'.")


def check_return_scores(return_scores: Any) -> None:
    """Raises unless `return_scores` is a bool."""
    if not isinstance(return_scores, bool):
        raise TypeError(f"return_scores was {_type(return_scores)}; it must be a bool.")


def _check_samples(name: str, samples: Any) -> None:
    if not isinstance(samples, Tensor):
        raise TypeError(f"{name} was {_type(samples)}; it must be a torch.Tensor.")
    if samples.is_nested or samples.layout != torch.strided:
        layout = "nested" if samples.is_nested else samples.layout
        raise TypeError(f"{name} was a {layout} tensor; it must be dense.")
    if samples.dtype not in _DTYPES:
        raise TypeError(
            f"{name} was {samples.dtype}; it must be of a real floating-point dtype: "
            f"float32, float64, bfloat16 or float16."
        )
    if samples.is_meta:
        raise ValueError(f"{name} was a meta tensor; it must have memory.")
    if torch._debug_has_internal_overlap(samples) == 1:
        raise ValueError(
            f"{name} was expanded, with elements that share memory; it must own each element: "
            f"pass a clone()."
        )
    if samples.dim() == 0 or samples.shape[0] == 0:
        raise ValueError(
            f"{name} had shape {tuple(samples.shape)}; it must be a batch of at least one sample, "
            f"[batch, *sample]."
        )


def _check_fake(fake: Any, real: Tensor, kind: str) -> None:
    if fake is None:
        if kind in (*_INTERPOLATING, "r2"):
            raise ValueError(f"fake was None; kind {kind!r} must have fake samples.")
        return
    _check_samples("fake", fake)
    if fake.shape != real.shape:
        raise ValueError(
            f"fake had shape {tuple(fake.shape)}; it must be that of real, {tuple(real.shape)}."
        )
    if fake.dtype != real.dtype:
        raise TypeError(f"fake was {fake.dtype}; it must be of the dtype of real, {real.dtype}.")
    if fake.device != real.device:
        raise ValueError(
            f"fake was on {fake.device}; it must be on the device of real, {real.device}."
        )


def _check_groups(groups: Any, real: Tensor) -> None:
    if not isinstance(groups, int) or isinstance(groups, bool):
        raise TypeError(f"groups was {_type(groups)}; it must be an int.")
    if groups < 1 or real.shape[0] % groups:
        raise ValueError(
            f"groups was {groups}; it must be at least 1 and divide the batch of {real.shape[0]}."
        )


def _number(name: str, value: Any) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} was {_type(value)}; it must be a number.")
    try:
        number = float(value)
    except OverflowError:  # of an int beyond the range of floats
        number = math.inf
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{name} was {value}; it must be finite and not negative.")
    return number


def _target(target: Any, kind: str) -> float:
    if kind in _UNTARGETED:
        if target is not None:
            raise ValueError(f"target was {target!r}; kind {kind!r} has none, so it must be None.")
        return 0.0
    return 1.0 if target is None else _number("target", target)


def _alpha(alpha: Any, real: Tensor, kind: str, groups: int) -> Tensor | None:
    """The given draws, in the shape and dtype that they would be drawn in."""
    if alpha is None:
        return None
    if kind in _UNTARGETED:
        raise ValueError(f"alpha was given; kind {kind!r} draws none, so it must be None.")
    if not isinstance(alpha, Tensor):
        raise TypeError(f"alpha was {_type(alpha)}; it must be a torch.Tensor.")
    if alpha.dtype not in _DTYPES or alpha.layout != torch.strided:
        raise TypeError(
            f"alpha was {alpha.dtype}, {alpha.layout}; it must be dense, of a real floating-point "
            f"dtype."
        )
    if alpha.device != real.device:
        raise ValueError(
            f"alpha was on {alpha.device}; it must be on the device of real, {real.device}."
        )
    if alpha.requires_grad:
        raise ValueError("alpha required grad; it must be a constant: pass alpha.detach().")
    shape = drawn_shape(kind, real, groups)
    if alpha.shape[: len(shape)] != shape or alpha.numel() != math.prod(shape):
        raise ValueError(
            f"alpha had shape {tuple(alpha.shape)}; it must be {tuple(shape)}, or that followed by "
            f"ones."
        )
    # Autograd refuses to save tensors made in inference mode, but saves their clones.
    usable = alpha.clone() if alpha.is_inference() else alpha
    return usable.reshape(shape).to(wide_dtype(real.dtype))


def drawn_shape(kind: str, real: Tensor, groups: int) -> torch.Size:
    """One alpha a group of samples; for dragan one draw an element."""
    return real.shape if kind == "dragan" else torch.Size([real.shape[0] // groups])


def _generator(generator: Any, real: Tensor) -> torch.Generator | None:
    if generator is None:
        return None
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator was {_type(generator)}; it must be a torch.Generator.")
    if generator.device.type != real.device.type:
        raise ValueError(
            f"generator was on {generator.device}; it must be on the device of real, {real.device}."
        )
    return generator


def _type(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
