"""Feed-forward critics of any sizes, and their passes by autograd and by `feedforward_critic`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.ops.feedforward_critic import Layer, score


class Conv(NamedTuple):
    """A convolution of images."""

    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)


class Case(NamedTuple):
    """A critic's sizes, and the rows of a step."""

    rows: int
    image: tuple[int, int, int]  # channels, height, width
    layers: tuple[Conv | int, ...]  # an int is a dense layer's outputs
    slope: float = 0.2  # of all but the last
    biased: bool = True
    masked: bool = False  # where the output has one position, but for the last
    loss_rows: int | None = None  # None: two thirds of the rows
    of_all: bool = False


class Given(NamedTuple):
    samples: Tensor
    layers: list[Layer]
    seeds: Tensor
    start: Tensor
    loss_rows: int
    of_all: bool


class Found(NamedTuple):
    scores: Tensor
    adjoint: Tensor
    gradients: list[Tensor | None]


def given(case: Case, dtype: torch.dtype) -> Given:
    """The case in numbers, images channels-last."""
    g = torch.Generator().manual_seed(sum(case.image) + len(case.layers) + 1000 * case.rows)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)

    def images(rows: int, image: Sequence[int]) -> Tensor:
        channels, height, width = image
        return normal(rows, height, width, channels).permute(0, 3, 1, 2)

    layers, image = [], list(case.image)
    for index, each in enumerate(case.layers):
        is_last = index + 1 == len(case.layers)
        conv = each if isinstance(each, Conv) else Conv(each, (image[1], image[2]))
        weight = normal(conv.outputs, image[0], *conv.kernel)
        weight /= weight[0].numel() ** 0.5
        sizes = zip(image[1:], conv.kernel, conv.stride, conv.padding, strict=True)
        image = [conv.outputs, *((s + 2 * p - k) // step + 1 for s, k, step, p in sizes)]
        mask = None
        if case.masked and not is_last and image[1:] == [1, 1]:
            mask = torch.rand(case.rows, conv.outputs, generator=g).gt(0.5).to(dtype) * 2
        bias = normal(conv.outputs) if case.biased else None
        slope = 1.0 if is_last else case.slope
        layers.append(Layer(weight, bias, slope, mask, conv.stride, conv.padding))
    loss_rows = 2 * case.rows // 3 if case.loss_rows is None else case.loss_rows
    samples, start = images(case.rows, case.image), images(case.rows - loss_rows, case.image)
    return Given(samples, layers, images(case.rows, image), start, loss_rows, case.of_all)


def critic(x: Tensor, layers: Sequence[Layer]) -> Tensor:
    for layer in layers:
        z = F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)
        x = torch.where(z > 0, z, layer.slope * z)
        if layer.mask is not None:
            x = x * layer.mask.view(z.shape)
    return x


def autograd(one: Given) -> Found:
    """⟨seeds, scores⟩ over the loss's rows and ⟨start, Jᵀ seeds⟩ over the others, in float64."""
    layers = [
        layer._replace(
            weight=layer.weight.double().requires_grad_(),
            bias=None if layer.bias is None else layer.bias.double().requires_grad_(),
            mask=None if layer.mask is None else layer.mask.double(),
        )
        for layer in one.layers
    ]
    leaves = [tensor for layer in layers for tensor in layer[:2] if tensor is not None]
    samples, seeds = one.samples.double().requires_grad_(), one.seeds.double()
    weighed = seeds * critic(samples, layers)
    (adjoint,) = torch.autograd.grad(weighed.sum(), samples, create_graph=True)
    moving = (adjoint[one.loss_rows :] * one.start.double()).sum()
    loss = weighed[: one.loss_rows].sum()
    gradients = torch.autograd.grad(loss + moving, leaves, allow_unused=True)
    filled: list[Tensor | None] = [
        torch.zeros_like(leaf) if g is None else g
        for g, leaf in zip(gradients, leaves, strict=True)
    ]
    at = adjoint.detach() if one.of_all else adjoint.detach()[one.loss_rows :]
    return Found(critic(samples, layers).detach(), at, filled)


def found(one: Given, wanted: Sequence[tuple[bool, bool]] | None = None) -> Found:
    """The same by the operation; gradients for each pair, or of all tensors there are."""
    flags = wanted or [(True, True)] * len(one.layers)
    run = score(one.samples, one.layers, one.loss_rows)
    adjoint = run.backward(one.seeds, flags, of_all=one.of_all)
    pairs = run.tangent(one.start)
    gradients = [g for pair in pairs for g in pair]
    if wanted is None:
        given_tensors = [tensor for layer in one.layers for tensor in layer[:2]]
        for g, tensor in zip(gradients, given_tensors, strict=True):
            assert (g is None) == (tensor is None)
        gradients = [g for g in gradients if g is not None]
    return Found(run.scores, adjoint, gradients)


def found_apart(one: Given) -> Found:
    """The same by a run of the loss's rows, and one of the penalty's that completes it."""
    first = one.loss_rows
    rows = slice(first), slice(first, None)
    layers = [
        [
            layer if layer.mask is None else layer._replace(mask=layer.mask[each])
            for layer in one.layers
        ]
        for each in rows
    ]
    losses = score(one.samples[rows[0]], layers[0], first)
    of_losses = losses.backward(one.seeds[rows[0]], [(True, True)] * len(layers[0]), of_all=True)
    losses.release()
    run = score(one.samples[rows[1]], layers[1], 0)
    adjoint = run.backward(one.seeds[rows[1]], [(False, False)] * len(layers[1]), of_all=False)
    gradients = [g for pair in run.tangent(one.start, after=losses) for g in pair]
    return Found(
        torch.cat((losses.scores, run.scores)),
        torch.cat((of_losses, adjoint)) if one.of_all else adjoint,
        [g for g in gradients if g is not None],
    )
