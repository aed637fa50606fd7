"""Feed-forward critics: the passes as three calls of one operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F

from fastwgan.engine.direct import Call, calls_of
from fastwgan.engine.masks import drawn_mask
from fastwgan.ops import feedforward_critic
from fastwgan.ops._library import no_mode_active
from fastwgan.ops.feedforward_critic import Layer, Pass

_EXACT = (Tensor, Parameter)
Shape = tuple[int, ...]


class Described(NamedTuple):
    """A layer before it runs: `form` is the operation's, its mask not drawn yet."""

    form: Layer
    weight: Tensor
    bias: Tensor | None
    p: float  # the share of outputs that dropout sets to zero


class Feedforward(NamedTuple):
    """A critic of dense layers and convolutions with LeakyReLU, ReLU or nothing between them.

    The last has neither activation nor dropout.

    Attributes:
        image: The shape of a sample as the first layer takes it, [channels, height, width].
        score_shape: Of a row's scores, as the critic returns them.
    """

    layers: list[Described]
    image: Shape
    score_shape: Shape

    def score(self, rows: Tensor, loss_rows: int, *, masks_as_torch: bool) -> Pass:
        """Its run on [rows, *sample].

        Args:
            rows: The loss's, then the penalty's.
            loss_rows: How many are the loss's.
            masks_as_torch: Whether dropout draws what `F.dropout` would, or by a faster way.
        """
        images = rows.reshape(rows.shape[0], *self.image)
        images = images.contiguous(memory_format=torch.channels_last)
        layers = [_with_mask(layer, rows, masks_as_torch) for layer in self.layers]
        return feedforward_critic.score(images, layers, loss_rows)

    def scores(self, run: Pass) -> Tensor:
        """The run's scores in the critic's own shape and memory order."""
        return run.scores.reshape(run.scores.shape[0], *self.score_shape)

    def backward(self, run: Pass, seeds: Tensor, *, of_all: bool) -> Tensor:
        """The gradient at the penalty's rows or all, [rows, channels, height, width]."""
        like = seeds.reshape(run.scores.shape).contiguous(memory_format=torch.channels_last)
        wanted = [
            (each.weight.requires_grad, each.bias is not None and each.bias.requires_grad)
            for each in self.layers
        ]
        return run.backward(like, wanted, of_all=of_all)

    def parameters(self) -> list[Tensor]:
        """Those that require grad, as `gradients` lists theirs."""
        given = [tensor for each in self.layers for tensor in (each.weight, each.bias)]
        return [tensor for tensor in given if tensor is not None and tensor.requires_grad]

    def gradients(self, run: Pass, start: Tensor) -> list[Tensor | None]:
        """Of `parameters`, by the last of the run's calls; start as the gradient at the points."""
        found: list[Tensor | None] = []
        for (weight, bias), each in zip(run.tangent(start), self.layers, strict=True):
            if weight is not None:
                found.append(weight.view(each.weight.shape))
            if bias is not None:
                found.append(bias)
        return found


def feedforward_of(critic: Callable[..., Tensor], samples: Tensor) -> Feedforward | None:
    """The critic as such layers, where it is that and a kernel runs it on such samples."""
    if not feedforward_critic.runs_natively(samples) or torch.is_autocast_enabled("cpu"):
        return None
    if type(samples) not in _EXACT or samples.dim() not in (2, 4) or not samples.numel():
        return None
    if samples.layout is not torch.strided or not no_mode_active():
        return None
    calls = calls_of(critic)
    return _Reader(samples).read(calls) if calls else None


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


def _with_mask(layer: Described, rows: Tensor, as_torch: bool) -> Layer:
    if layer.p == 0:
        return layer.form
    shape = rows.shape[0], layer.weight.shape[0]
    if as_torch:
        return layer.form._replace(mask=F.dropout(rows.new_ones(shape), layer.p, True))
    return layer.form._replace(mask=drawn_mask(*shape, layer.p, rows.dtype))
