"""Finds out whether a critic is feed-forward, by reading its modules; what was read is kept."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn import functional as F

from fastwgan._cpu import plain_memory
from fastwgan.engine.direct import Call, calls_of
from fastwgan.engine.feedforward import Described, Feedforward, Shape
from fastwgan.ops import feedforward_critic
from fastwgan.ops._library import no_mode_active
from fastwgan.ops._pointers import is_aligned
from fastwgan.ops.feedforward_critic import Layer

_EXACT = (Tensor, Parameter)


def feedforward_of(critic: Callable[..., Tensor], samples: Tensor) -> Feedforward | None:
    """The critic as such layers, where it is that and a kernel runs it on such samples."""
    if not feedforward_critic.runs_natively(samples) or torch.is_autocast_enabled("cpu"):
        return None
    if type(samples) not in _EXACT or samples.dim() not in (2, 4) or not samples.numel():
        return None
    if samples.layout is not torch.strided or not no_mode_active():
        return None
    calls = calls_of(critic)
    if not calls:
        return None
    assert isinstance(critic, nn.Module)  # or there were no calls
    kept = _read.get(critic)
    if kept is None or not kept.is_of(calls, samples):
        found = _Reader(samples).read(calls)
        if found is None:
            return None
        kept = _read[critic] = _Kept(calls, samples, found)
    return kept.found


class _Kept:
    """A critic as it was read, and what was read."""

    def __init__(self, calls: list[Call], samples: Tensor, found: Feedforward) -> None:
        self.found = found
        self._calls = calls
        self._dtype, self._shape = samples.dtype, samples.shape[1:]
        self._flat = _flat(calls)
        self._tensors = [t for _, args in calls for t in args if isinstance(t, Tensor)]
        # What a kernel takes for granted of weights: `.data` can be another from call to call.
        self._memory = plain_memory(self._tensors)

    def is_of(self, calls: list[Call], samples: Tensor) -> bool:
        """Whether reading again would find the same."""
        return (
            samples.dtype is self._dtype
            and samples.shape[1:] == self._shape
            and self._has(calls)
            and plain_memory(self._tensors) == self._memory
        )

    def _has(self, calls: list[Call]) -> bool:
        flat = _flat(calls)
        if len(flat) == len(self._flat) and all(map(is_, flat, self._flat)):
            return True  # as nearly always, and sooner known
        return len(calls) == len(self._calls) and all(map(_is_same, calls, self._calls))


_read: WeakKeyDictionary[nn.Module, _Kept] = WeakKeyDictionary()


def _flat(calls: list[Call]) -> list[object]:
    return [each for function, args in calls for each in (function, len(args), *args)]


def _is_same(call: Call, before: Call) -> bool:
    (function, args), (other, others) = call, before
    return (
        function is other
        and len(args) == len(others)
        and all(
            a is b or (not isinstance(a, Tensor) and not isinstance(b, Tensor) and a == b)
            for a, b in zip(args, others, strict=True)
        )
    )


class _Reader:
    """Reads the calls of a critic one by one, with the shape of a row before each."""

    def __init__(self, samples: Tensor) -> None:
        self._dtype = samples.dtype
        self._shape: Shape = tuple(samples.shape[1:])  # as the critic sees it
        self._image: Shape = _image(self._shape)  # as the operation does
        self._layers: list[Described] = []
        self._seen: set[int] = set()
        self._first: Shape | None = None

    def read(self, calls: list[Call]) -> Feedforward | None:
        at = 0
        while at < len(calls):
            function, args = calls[at]
            at += 1
            if function is torch.flatten:
                if args != (1, -1):
                    return None
                self._flatten()
                continue
            layer = self._layer(function, args)
            if layer is None:
                return None
            at, layer = self._and_after(calls, at, layer)
            self._layers.append(layer)
        if self._first is None or not self._layers:
            return None
        if self._layers[-1].form.slope != 1 or self._layers[-1].p > 0:
            return None  # seeds are the cotangents of the operation's last layer
        return Feedforward(self._layers, self._first, self._shape)

    def _flatten(self) -> None:
        size = 1
        for each in self._shape:
            size *= each
        self._shape = (size,)
        if not self._layers:
            self._image = _image(self._shape)

    def _layer(self, function: Callable[..., Tensor], args: tuple[object, ...]) -> Described | None:
        if function not in (F.linear, torch.conv2d):
            return None
        weight, bias, *window = args
        if not isinstance(weight, Tensor) or not self._is_plain(weight):
            return None
        if bias is not None and not (isinstance(bias, Tensor) and self._is_plain(bias)):
            return None
        form = _dense(weight, self._shape, self._image)
        if function is torch.conv2d:
            form = _convolution(weight, self._image, *window) if len(self._shape) == 3 else None
        if form is None:
            return None
        space = [
            (size + 2 * pad - kernel) // step + 1
            for size, kernel, step, pad in zip(
                self._image[1:], form.weight.shape[2:], form.stride, form.padding, strict=True
            )
        ]
        if min(space) < 1:
            return None
        self._first = self._first or self._image
        self._image = (weight.shape[0], *space)
        self._shape = self._image if function is torch.conv2d else (weight.shape[0],)
        own = None if bias is None else bias.detach()
        return Described(form._replace(bias=own), weight, bias, 0.0)

    def _and_after(self, calls: list[Call], at: int, layer: Described) -> tuple[int, Described]:
        """The layer with the activation and the dropout that follow it."""
        slope = _slope(calls[at]) if at < len(calls) else None
        if slope is not None:
            at, layer = at + 1, layer._replace(form=layer.form._replace(slope=slope))
        p = _dropped(calls[at]) if at < len(calls) and self._image[1:] == (1, 1) else None
        return (at, layer) if p is None else (at + 1, layer._replace(p=p))

    def _is_plain(self, tensor: Tensor) -> bool:
        """Whether a kernel can read it, and it is met here alone."""
        fits = (
            type(tensor) in _EXACT
            and tensor.layout is torch.strided
            and not tensor.is_neg()
            and tensor.dtype is self._dtype
            and tensor.is_cpu
            and tensor.is_contiguous()
            and is_aligned(tensor)
            and tensor.numel() > 0
            and id(tensor) not in self._seen
        )
        self._seen.add(id(tensor))
        return fits


def _image(shape: Shape) -> Shape:
    return shape if len(shape) == 3 else (shape[0], 1, 1)


def _dense(weight: Tensor, shape: Shape, image: Shape) -> Layer | None:
    """A product over all of a row: a convolution whose kernel covers its input."""
    if weight.dim() != 2 or shape != (weight.shape[1],):
        return None
    return Layer(weight.detach().view(weight.shape[0], *image), None, 1.0)


def _convolution(
    weight: Tensor, image: Shape, stride: object, padding: object, dilation: object, groups: object
) -> Layer | None:
    steps, pads = _pair(stride), _pair(padding)
    if steps is None or pads is None or _pair(dilation) != (1, 1) or groups != 1:
        return None
    if weight.dim() != 4 or weight.shape[1] != image[0]:
        return None
    return Layer(weight.detach(), None, 1.0, None, steps, pads)


def _pair(given: object) -> tuple[int, int] | None:
    if isinstance(given, int):
        return given, given
    if isinstance(given, tuple) and len(given) == 2:
        return int(given[0]), int(given[1])
    return None


def _slope(call: Call) -> float | None:
    function, args = call
    if function is F.relu:
        return 0.0
    return float(args[0]) if function is F.leaky_relu and args[0] >= 0 else None


def _dropped(call: Call) -> float | None:
    function, args = call
    return float(args[0]) if function is F.dropout and args[1] and 0 <= args[0] < 1 else None
