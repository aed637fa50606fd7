"""The layers of a critic one by one, and the bound that they give together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm as TorchSpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm as SpectralNormHook

from fastwgan.parametrizations import SpectralNorm
from fastwgan.train.lipschitz_calls import Call, Watched
from fastwgan.train.lipschitz_constants import Constants, Found, combined
from fastwgan.train.lipschitz_rules import Constant, Unknown

_CONVERGED = 1e-3  # of the residual
_ALIKE = 0.005


@dataclass(frozen=True)
class Layer:
    """One layer as it was met: one with a weight, or whose Lipschitz constant isn't 1.

    Attributes:
        name: Path of its module, or of its parameter.
        kind: Its class, or the function's name.
        weight: Shape of its effective weight; () without one.
        input: Shape of one sample of its input.
        sigma: Largest singular value of the weight as a matrix, by SVD; None where there is no
            matrix, or its decomposition would take too long.
        sigma_power: The same by power iteration.
        sigma_residual: What is left of that iteration.
        norm: Its Lipschitz constant; of a linear layer the operator norm at this input size, with
            padding, stride, dilation and groups as they are. None where none is known.
        norm_residual: What is left of the iteration that found it; None without one.
        normalised: Whether spectral norm divides the weight.
        note: What is to be said of it.
    """

    name: str
    kind: str
    weight: tuple[int, ...]
    input: tuple[int, ...]
    sigma: float | None
    sigma_power: float | None
    sigma_residual: float | None
    norm: float | None
    norm_residual: float | None
    normalised: bool
    note: str


@dataclass(frozen=True)
class Bound:
    """What the layers say of the whole critic.

    Attributes:
        product: Of all layers' constants in the order met; None where one is unknown.
        value: A Lipschitz constant of the critic that holds everywhere, as exact as the layers'
            residuals are small; None where none is known.
        note: How it was found, or why not.
    """

    product: float | None
    value: float | None
    note: str


def layers_of(
    watched: Watched, modules: Mapping[str, nn.Module], seed: int, device: torch.device
) -> tuple[tuple[Layer, ...], Bound]:
    """Every layer with a weight or a constant other than 1, and the bound of all.

    Args:
        watched: What the critic does.
        modules: The critic's modules by name.
        seed: Of the vectors that iterations start from.
        device: Where to compute.
    """
    constants = Constants(watched, seed, device)
    found = [constants.find(call) for call in watched.calls]
    merged = {id(each.source) for each in found if each.source is not each.call}
    shown = [each for each in found if id(each.call) not in merged and _is_shown(each)]
    names = {
        id(parameter): f"{name}.{key}".lstrip(".")
        for name, module in modules.items()
        for key, parameter in module.named_parameters(recurse=False)
    }
    layers = tuple(_layer(each, watched, modules, names) for each in shown)
    on_path = [each.constant for each in shown if each.call.inputs]
    values = [c.value if isinstance(c, Constant) else None for c in on_path]
    product = None if None in values else math.prod(v for v in values if v is not None)
    return layers, _bound(watched, found, product)


def _is_shown(found: Found) -> bool:
    constant = found.constant
    if found.weight is not None or isinstance(constant, Unknown):
        return True
    return constant is not None and not math.isclose(constant.value, 1, rel_tol=1e-9)


def _layer(
    found: Found, watched: Watched, modules: Mapping[str, nn.Module], names: Mapping[int, str]
) -> Layer:
    call, matrix, constant = found.call, found.matrix, found.constant
    known = constant if isinstance(constant, Constant) else None
    own = next((names[id(t)] for t in call.constants() if id(t) in names), call.module)
    module = None if found.weight is None else modules.get(call.module)
    inputs = watched.shapes[found.source.inputs[0]][1:] if call.inputs else ()
    return Layer(
        name=call.module if call.kind != call.name else own,
        kind=call.kind,
        weight=() if found.weight is None else tuple(found.weight.shape),
        input=tuple(inputs),
        sigma=matrix.sigma if matrix else None,
        sigma_power=matrix.sigma_power if matrix else None,
        sigma_residual=matrix.residual if matrix else None,
        norm=known.value if known else None,
        norm_residual=found.residual,
        normalised=module is not None and is_normalised(module),
        note=_note(found),
    )


def is_normalised(module: nn.Module) -> bool:
    """Whether spectral norm, of torch or ours, in either form, is on a weight of the module."""
    hooks = module._forward_pre_hooks.values()
    if any(isinstance(hook, SpectralNormHook) for hook in hooks):
        return True
    if not parametrize.is_parametrized(module):
        return False
    parametrizations = module.get_submodule("parametrizations").modules()
    return any(isinstance(each, (TorchSpectralNorm, SpectralNorm)) for each in parametrizations)


def _note(found: Found) -> str:
    if not found.call.inputs:
        return "reads labels; its rows enter the score by what reads them"
    if found.matrix is None and found.weight is not None:
        return "its weight holds NaN or Inf"
    if isinstance(found.constant, Unknown):
        return found.constant.reason
    if found.constant is None or found.matrix is None or found.residual is None:
        return found.constant.note if found.constant else ""
    sigma = found.matrix.sigma_power
    if found.residual > _CONVERGED:
        return "at least: its iteration was ended before it had converged"
    ratio = found.constant.value / sigma if sigma > 0 else 1.0
    if abs(ratio - 1) < _ALIKE:
        return ""
    shared = found.call.name.startswith("conv") and ratio > 1
    return f"{ratio:.2f} times its reshaped σ" + (": windows share pixels" if shared else "")


def _bound(watched: Watched, found: Sequence[Found], product: float | None) -> Bound:
    reach = _reach_of_scores(watched, found)
    if isinstance(reach, Unknown):
        return Bound(product, None, f"no bound is known: {reach.reason}")
    return Bound(product, reach, _CHAIN if _is_chain(watched.calls) else _GRAPH)


_CHAIN = "the product of all layers' constants"
_GRAPH = "products along the layers, sums over branches that join"


def _reach_of_scores(watched: Watched, found: Sequence[Found]) -> float | Unknown:
    """A Lipschitz constant of the scores, summed where a sample has several."""
    if watched.doubt:
        return Unknown(watched.doubt)
    assert watched.score is not None  # no call returned them: that is a doubt
    reaches: dict[int, float | Unknown] = {0: 1.0}
    for each in found:
        reach = _reach(each, reaches, watched)
        reaches.update(dict.fromkeys(each.call.outputs, reach))
    reach = reaches[watched.score]
    scores = watched.shapes[watched.score].numel() / watched.rows
    return reach if isinstance(reach, Unknown) else reach * math.sqrt(scores)


def _reach(
    found: Found, reaches: Mapping[int, float | Unknown], watched: Watched
) -> float | Unknown:
    before: list[float] = []
    for slot in found.source.inputs:
        reach = reaches[slot]
        if isinstance(reach, Unknown):
            return reach
        before.append(reach)
    if isinstance(found.constant, Unknown):
        return found.constant
    if found.residual is not None and found.residual > _CONVERGED:
        return Unknown(f"the iteration for a {found.call.kind} was ended before it had converged")
    if found.constant is not None:
        return before[0] * found.constant.value
    return combined(found.call, before, watched) if before else 0.0


def _is_chain(calls: Sequence[Call]) -> bool:
    """Whether no activation is read twice, so that none of the branches has to join another."""
    reads = Counter(slot for call in calls for slot in call.inputs)
    return max(reads.values(), default=1) == 1
