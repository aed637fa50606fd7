"""The Lipschitz constant of one call in its one activation, in Euclidean norm."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fastwgan.train.lipschitz_calls import Activation, Call, Watched


@dataclass(frozen=True)
class Unknown:
    """Why there is no constant."""

    reason: str


@dataclass(frozen=True)
class Constant:
    """A Lipschitz constant and what is to be said of it."""

    value: float
    note: str = ""


def _names(text: str) -> frozenset[str]:
    return frozenset(name for word in text.split() for name in (word, word + "_"))


KEEPING = _names(
    """
    view reshape flatten unflatten squeeze unsqueeze ravel view_as reshape_as contiguous clone
    detach data to float double half bfloat16 type type_as permute transpose t T mT movedim moveaxis
    swapaxes swapdims adjoint pixel_shuffle pixel_unshuffle channel_shuffle flip roll rot90 fliplr
    flipud split chunk tensor_split unbind narrow select relu relu6 hardtanh clamp
    clamp_min clamp_max clip tanh softplus softsign log_sigmoid logsigmoid abs neg negative
    positive sin cos tanhshrink softshrink softmax amax amin max min logsumexp masked_fill celu
    """
)
"""Take no two points further apart, whatever their other arguments are."""

_SLOPES = {
    "gelu": 1.1290,  # at √2, of either form
    "silu": 1.09984,
    "mish": 1.08850,
    "selu": 1.0507009873554805 * 1.6732632423543772,
    "hardswish": 1.5,
    "sigmoid": 0.25,
    "hardsigmoid": 1 / 6,
}

ONE_ROW = _names(
    """
    linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d pad avg_pool1d
    avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d interpolate
    upsample
    """
)
"""Affine calls that do the same to each row; for others the whole batch's norm is taken."""

AFFINE = ONE_ROW | _names(
    """
    expand expand_as broadcast_to repeat tile repeat_interleave __getitem__ index_select gather
    take_along_dim sum mean cumsum diff mul multiply matmul mm bmm mv addmm baddbmm addmv einsum
    tensordot inner dot outer bilinear add sub subtract rsub div divide true_divide fold unfold
    diagonal tril triu __matmul__ __rmatmul__ __rsub__
    """
)

_QUOTIENTS = _names("div divide true_divide")
_CONVOLVED = _names("linear conv1d conv2d conv3d") | _names(
    "conv_transpose1d conv_transpose2d conv_transpose3d"
)
_SCALING = _names("mul multiply div divide true_divide")
_OFFSETS = _names("add sub subtract rsub __rsub__")
_BASIC = (int, slice, type(None), type(Ellipsis))
ATTENTION = frozenset({"scaled_dot_product_attention", "multi_head_attention_forward"})
ATTENDS = Unknown("attention isn't Lipschitz: its scores are products of activations")


def is_affine(call: Call) -> bool:
    """Whether a call is affine in its one activation."""
    if call.name not in AFFINE or len(call.inputs) != 1 or len(call.outputs) != 1:
        return False
    if call.kwargs.get("rounding_mode") is not None:
        return False
    first = isinstance(call.args[0] if call.args else call.kwargs.get("input"), Activation)
    return first or call.name not in _QUOTIENTS | _CONVOLVED


def norm_at_sight(call: Call, watched: Watched) -> float | None:
    """The norm of an affine call that needs no iteration; None where it does."""
    (slot,), (result,) = call.inputs, call.outputs
    if call.name == "__getitem__":
        index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
        return 1.0 if all(isinstance(each, _BASIC) for each in index) else None
    others = [value for value in call.args if not isinstance(value, Activation)]
    if watched.shapes[slot] != watched.shapes[result] or len(others) != 1 or call.kwargs:
        return None
    if call.name in _OFFSETS:
        return 1.0
    if call.name not in _SCALING:
        return None
    other = torch.as_tensor(others[0]).detach().cpu().double()
    factors = 1 / other if call.name in _QUOTIENTS else other
    return float(factors.abs().max())


def known(call: Call, watched: Watched) -> Constant | Unknown | None:
    """The constant of a call that isn't affine; None for one that is, or that isn't known."""
    special = _SPECIAL.get(call.name.rstrip("_"))
    if special is not None:
        return special(call, watched)
    if call.name in ATTENTION:
        return ATTENDS
    slope = _SLOPES.get(call.name.rstrip("_"))
    if slope is not None:
        return Constant(slope)
    return Constant(1.0) if call.name in KEEPING else None


def _leaky(call: Call, watched: Watched) -> Constant:
    return Constant(max(1.0, abs(call.argument(1, "negative_slope") or 0.01)))


def _elu(call: Call, watched: Watched) -> Constant:
    alpha = call.argument(1, "alpha")
    return Constant(max(1.0, 1.0 if alpha is None else abs(alpha)))


def _prelu(call: Call, watched: Watched) -> Constant:
    slopes = call.argument(1, "weight").detach().cpu().double().abs()
    return Constant(max(1.0, float(slopes.max())), "its largest slope")


def _dropout(call: Call, watched: Watched) -> Constant | Unknown:
    trains = call.argument(2, "train" if "train" in call.kwargs else "training")
    if trains is False:
        return Constant(1.0)
    return Unknown("dropout in training mode draws random numbers")


def _batch_norm(call: Call, watched: Watched) -> Constant | Unknown:
    given = _bound_to(functional.batch_norm, call)
    if given["training"] or given["running_var"] is None:
        return Unknown("BatchNorm by the batch's own statistics mixes its samples")
    return _by_running_statistics(given)


def _by_running_statistics(given: dict[str, Any]) -> Constant:
    scale = (given["running_var"].detach().cpu().double() + given["eps"]).rsqrt()
    return Constant(float((_gain(given) * scale).abs().max()), "max |γ| / √(running var + ε)")


def _by_own_statistics(function: Callable[..., Any], name: str) -> Any:
    def rule(call: Call, watched: Watched) -> Constant | Unknown:
        given = _bound_to(function, call)
        if given.get("use_input_stats") is False:
            return _by_running_statistics(given)
        eps = _EPSILON if given["eps"] is None else given["eps"]
        if eps <= 0:
            return Unknown(f"{name} with ε = 0 is unbounded near constant inputs")
        value = float(_gain(given).abs().max()) / math.sqrt(eps)
        return Constant(value, f"max |γ| / √ε, met near constant inputs: {name} isn't 1-Lipschitz")

    return rule


_EPSILON = torch.finfo(torch.float32).eps  # of RMSNorm, where none is given


def _gain(given: dict[str, Any]) -> Tensor:
    weight = given["weight"]
    return torch.ones((), dtype=torch.float64) if weight is None else weight.detach().cpu().double()


def _bound_to(function: Callable[..., Any], call: Call) -> dict[str, Any]:
    arguments = inspect.signature(function).bind(*call.args, **call.kwargs)
    arguments.apply_defaults()
    return dict(arguments.arguments)


def _max_pool(call: Call, watched: Watched) -> Constant | Unknown:
    (slot,), result = call.inputs, call.outputs[0]
    dims = int(call.name.rstrip("_").removesuffix("d")[-1])
    before, after = watched.shapes[slot][-dims:], watched.shapes[result][-dims:]
    if "adaptive" in call.name:
        windows = [_adaptive_windows(n, m) for n, m in zip(before, after, strict=True)]
    else:
        sizes = [_sizes(call, position, name, dims) for position, name in enumerate(_POOLED, 1)]
        windows = [_windows(m, *size) for m, *size in zip(after, *sizes, strict=True)]
    most = [_most_covered(w, n) for w, n in zip(windows, before, strict=True)]
    overlap = math.prod(most)
    note = f"√{overlap}, as windows overlap: a pixel is in up to {overlap}" if overlap > 1 else ""
    return Constant(math.sqrt(overlap), note)


_POOLED = ("kernel_size", "stride", "padding", "dilation")


def _sizes(call: Call, position: int, name: str, dims: int) -> Sequence[int]:
    value = call.argument(position, name)
    if value is None or value == []:
        if name == "stride":
            return _sizes(call, 1, "kernel_size", dims)
        value = 0 if name == "padding" else 1
    return (value,) * dims if isinstance(value, int) else tuple(value) * (dims // len(value))


def _windows(count: int, kernel: int, stride: int, padding: int, dilation: int) -> list[range]:
    starts = (index * stride - padding for index in range(count))
    return [range(start, start + kernel * dilation, dilation) for start in starts]


def _adaptive_windows(size: int, count: int) -> list[range]:
    return [range(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _most_covered(windows: Sequence[range], size: int) -> int:
    covered = [0] * size
    for window in windows:
        for position in window:
            if 0 <= position < size:
                covered[position] += 1
    return max(covered)


_SPECIAL: dict[str, Callable[[Call, Watched], Constant | Unknown]] = {
    "leaky_relu": _leaky,
    "elu": _elu,
    "prelu": _prelu,
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d"), _dropout),
    **dict.fromkeys(("alpha_dropout", "feature_dropout", "feature_alpha_dropout"), _dropout),
    "batch_norm": _batch_norm,
    "layer_norm": _by_own_statistics(functional.layer_norm, "LayerNorm"),
    "group_norm": _by_own_statistics(functional.group_norm, "GroupNorm"),
    "instance_norm": _by_own_statistics(functional.instance_norm, "InstanceNorm"),
    "rms_norm": _by_own_statistics(functional.rms_norm, "RMSNorm"),
    **{f"{kind}max_pool{d}d": _max_pool for kind in ("", "adaptive_") for d in (1, 2, 3)},
}
