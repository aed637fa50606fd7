"""The Lipschitz constants of a critic's calls, by rule or by iteration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastwgan.train.lipschitz_calls import Call, Watched
from fastwgan.train.lipschitz_rules import (
    ATTENDS,
    ATTENTION,
    ONE_ROW,
    Constant,
    Unknown,
    is_affine,
    known,
    norm_at_sight,
)
from fastwgan.train.lipschitz_singular import by_power_iteration, by_svd, norm_of_calls


@dataclass(frozen=True)
class Matrix:
    """A weight as the matrix that spectral norm sees.

    Attributes:
        sigma: Its largest singular value by SVD; None where that would take too long.
        sigma_power: The same by power iteration.
        residual: What is left of the iteration.
    """

    sigma: float | None
    sigma_power: float
    residual: float


@dataclass(frozen=True)
class Found:
    """What is known of one call.

    Attributes:
        call: The call.
        source: The call whose activation the constant is in: `call`, or one before that is taken
            together with it, as a padding is with its convolution.
        constant: In that activation, where there is but one.
        matrix: Of its weight.
        weight: Its effective weight.
        residual: Of the iteration that gave the constant; None without one.
    """

    call: Call
    source: Call
    constant: Constant | Unknown | None
    matrix: Matrix | None = None
    weight: Tensor | None = None
    residual: float | None = None


class Constants:
    """Finds them, one call after the other.

    Args:
        watched: What the critic does.
        seed: Of the vectors that iterations start from.
        device: Where to compute.
    """

    def __init__(self, watched: Watched, seed: int, device: torch.device) -> None:
        self._watched = watched
        self._device = device
        self._generator = torch.Generator().manual_seed(seed)
        self._producer = {slot: call for call in watched.calls for slot in call.outputs}

    def find(self, call: Call) -> Found:
        """What is known of one of the critic's calls."""
        weight = _weight_of(call)
        matrix = None
        if weight is not None and _is_finite([weight]):
            matrix = self._matrix(call.name, weight)
        if len(call.inputs) != 1:
            probe = combined(call, [1.0] * len(call.inputs), self._watched) if call.inputs else None
            unknown = probe if isinstance(probe, Unknown) else None
            return Found(call, call, unknown, matrix, weight)
        if not self._watched.floating[call.inputs[0]]:
            reason = f"{call.name} reads truth values or indices that depend on the input"
            return Found(call, call, Unknown(reason), matrix, weight)
        constant = known(call, self._watched)
        if constant is None and not is_affine(call):
            constant = Unknown(f"no Lipschitz constant of {call.name} is known")
        if constant is None:
            norm = norm_at_sight(call, self._watched)
            if call.name == "linear" and matrix is not None:
                norm = matrix.sigma_power if matrix.sigma is None else matrix.sigma
            constant = None if norm is None else Constant(norm)
        if constant is None:
            return self._iterated(call, matrix, weight)
        return Found(call, call, constant, matrix, weight)

    def _matrix(self, name: str, weight: Tensor) -> Matrix:
        rows = weight.transpose(0, 1) if name.startswith("conv_transpose") else weight
        matrix = rows.reshape(rows.shape[0], -1)
        found = by_power_iteration(matrix, self._generator)
        return Matrix(by_svd(matrix), found.value, found.residual)

    def _iterated(self, call: Call, matrix: Matrix | None, weight: Tensor | None) -> Found:
        calls = [*self._before(call), call]
        shape = self._watched.shapes[calls[0].inputs[0]]
        if all(each.name in ONE_ROW for each in calls):
            shape = torch.Size((1, *shape[1:]))
        if not _is_finite([t for each in calls for t in each.constants()]):
            unknown = Unknown("a weight holds NaN or Inf")
            return Found(call, calls[0], unknown, matrix, weight)
        norm = norm_of_calls(calls, shape, self._generator, self._device)
        return Found(call, calls[0], Constant(norm.value), matrix, weight, norm.residual)

    def _before(self, call: Call) -> list[Call]:
        """The padding before a convolution, or the product with weights before their sum."""
        earlier = self._producer.get(call.inputs[0])
        if earlier is None or not is_affine(earlier):
            return []
        pads = earlier.name == "pad" and call.name.startswith("conv")
        weighs = earlier.name == "mul" and call.name == "sum"
        return [earlier] if pads or weighs else []


def combined(call: Call, reaches: Sequence[float], watched: Watched) -> float | Unknown:
    """The constant of a call of several activations in what they depend on.

    Args:
        call: The call.
        reaches: The constant of each of its activations, in the order of `call.inputs`.
        watched: What the critic does.
    """
    if call.name in ATTENTION:
        return ATTENDS
    result = watched.shapes[call.outputs[0]].numel() if call.outputs else 0
    if call.name in _JOINING:
        return math.hypot(*reaches)
    if call.name.rstrip("_") not in _ELEMENTWISE or len(reaches) != 2:
        return Unknown(f"no Lipschitz constant of {call.name} of several activations is known")
    spread = [
        reach * math.sqrt(result / max(watched.shapes[slot].numel(), 1))
        for reach, slot in zip(reaches, call.inputs, strict=True)
    ]
    if call.name in _SHAPED_AS:
        return spread[0]
    if call.name in _MAXIMA:
        return math.hypot(*spread)
    alpha: float = abs(call.kwargs.get("alpha", 1))
    return spread[0] + alpha * spread[1]


_JOINING = frozenset({"cat", "concat", "concatenate", "stack", "hstack", "vstack"})
_MAXIMA = frozenset({"max", "min", "maximum", "minimum"})
_SHAPED_AS = frozenset({"view_as", "reshape_as", "expand_as", "type_as"})
_ELEMENTWISE = _MAXIMA | _SHAPED_AS | {"add", "sub", "subtract"}
_WEIGHTED = ("linear", "conv", "embedding", "bilinear")


def _weight_of(call: Call) -> Tensor | None:
    """The effective weight of a layer: what its function was given."""
    if not call.name.startswith(_WEIGHTED):
        parameters = [t for t in call.constants() if t.requires_grad and t.dim() >= 2]
        return parameters[0] if len(parameters) == 1 and is_affine(call) else None
    weight = call.argument(2 if call.name == "bilinear" else 1, "weight")
    return weight if isinstance(weight, Tensor) and not weight.is_complex() else None


def _is_finite(tensors: Sequence[Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
