"""What a critic's weights say without its samples, and which of its units do nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fastwgan.engine.calls import name_of
from fastwgan.engine.generic import eagerly
from fastwgan.train.lipschitz_calls import Watched
from fastwgan.train.lipschitz_gradients import Points, parts

_BINS = 60
_TIED = 8  # weights with the largest magnitude, from which on it is taken for a clip bound
_AT = 1 - 1e-6


@dataclass(frozen=True)
class Weights:
    """Of all the critic's parameters.

    Attributes:
        count: How many numbers.
        not_finite: How many of them are NaN or infinite.
        broken: The parameters that hold those.
        largest: The largest magnitude of the others.
        clip: The bound of weight clipping, given or found; None where there is none.
        at_clip: The share of numbers at the bound; None without one.
        beyond_clip: The share beyond it.
        edges: Of the bins of their histogram.
        counts: Of its bins.
    """

    count: int
    not_finite: int
    broken: tuple[str, ...]
    largest: float
    clip: float | None
    at_clip: float | None
    beyond_clip: float | None
    edges: tuple[float, ...]
    counts: tuple[int, ...]


def weights_of(parameters: Mapping[str, Tensor], clip: float | None = None) -> Weights:
    """What can be said of parameters.

    Args:
        parameters: By name.
        clip: The bound of weight clipping; None to look for one.
    """
    real = {name: p.detach() for name, p in parameters.items() if not p.is_complex()}
    flat = [p.flatten().cpu().double() for p in real.values()]
    values = torch.cat(flat) if flat else torch.empty(0, dtype=torch.float64)
    finite = values[torch.isfinite(values)]
    magnitudes = finite.abs()
    largest = float(magnitudes.max()) if len(finite) else 0.0
    clip = _found(real, largest) if clip is None else clip
    end = max(largest, clip or 0.0) or 1.0
    edges = torch.linspace(-end, end, _BINS + 1, dtype=torch.float64)
    edges[-1] = math.nextafter(end, math.inf)
    at = beyond = None
    if clip is not None and len(finite):
        beyond = float((magnitudes > clip / _AT).double().mean())
        at = float((magnitudes >= clip * _AT).double().mean()) - beyond
    return Weights(
        count=len(values),
        not_finite=len(values) - len(finite),
        broken=tuple(name for name, p in real.items() if not bool(torch.isfinite(p).all())),
        largest=largest,
        clip=clip,
        at_clip=at,
        beyond_clip=beyond,
        edges=tuple(edges.tolist()),
        counts=tuple(int(count) for count in torch.histogram(finite, edges).hist),
    )


def _found(parameters: Mapping[str, Tensor], largest: float) -> float | None:
    """The largest magnitude, where clipping alone explains that so many weights have it.

    It must occur with both signs in weights that aren't all of one magnitude, as gains of ones are.
    """
    at = above = 0
    for parameter in parameters.values():
        wide = parameter.cpu().double()
        if parameter.dim() >= 2 and not bool((wide.abs() == largest).all()):
            at += int((wide == -largest).sum())
            above += int((wide == largest).sum())
    return largest if min(at, above) > 0 and at + above >= _TIED else None


@dataclass(frozen=True)
class Units:
    """The units of one layer of ReLU, LeakyReLU, PReLU or ELU.

    Attributes:
        name: Path of its module; that of the critic itself is "".
        kind: Its class, or the function's name.
        units: Channels, or features behind a linear layer.
        dead: Those whose input was positive at no sample and no place.
        linear: Those whose input was positive at every one.
    """

    name: str
    kind: str
    units: int
    dead: int
    linear: int


def units_of(
    critic: Callable[..., Tensor], points: Sequence[Points], watched: Watched
) -> tuple[Units, ...]:
    """Counts units that do nothing, or nothing but pass on, at all of the points.

    Args:
        critic: In evaluation mode.
        points: Where to look.
        watched: What the critic does.
    """
    watch = _SignWatch()
    with torch.no_grad(), eagerly():
        for several in points:
            for part in parts(several):
                watch.begin()
                with watch:
                    critic(part.samples, *(() if part.labels is None else (part.labels,)))
    calls = [call for call in watched.calls if call.inputs and call.name in _RECTIFIERS]
    if watch.differs or len(calls) != len(watch.positive):
        return ()  # it went another way for some samples
    return tuple(
        Units(
            name=call.module,
            kind=call.kind,
            units=len(positive),
            dead=int((~positive).sum()),
            linear=int((positive & ~other).sum()),
        )
        for call, positive, other in zip(calls, watch.positive, watch.other, strict=True)
    )


_RECTIFIERS = frozenset({"relu", "relu_", "leaky_relu", "leaky_relu_", "prelu", "elu", "elu_"})


class _SignWatch(TorchFunctionMode):
    """Notes by rectifier, in the order called, which units were ever positive, and ever not."""

    def __init__(self) -> None:
        super().__init__()
        self.positive: list[Tensor] = []
        self.other: list[Tensor] = []
        self.differs = False
        self._next = 0
        self._features_last = False

    def begin(self) -> None:
        """Before the critic is called once more."""
        self._next, self._features_last = 0, False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = name_of(func)
        if name in _RECTIFIERS:
            self._note(args[0] if args else kwargs["input"])
        elif name == "linear" or name.startswith("conv"):
            self._features_last = name == "linear"
        return func(*args, **kwargs)

    def _note(self, x: Tensor) -> None:
        if x.dim() < 2:
            x = x.reshape(-1, 1)  # one number a row
        dim = x.dim() - 1 if self._features_last else 1
        others = [d for d in range(x.dim()) if d != dim]
        positive = (x > 0).amax(others)
        other = (x <= 0).amax(others)
        index, self._next = self._next, self._next + 1
        if index == len(self.positive):
            self.positive.append(positive.cpu())
            self.other.append(other.cpu())
        elif len(positive) == len(self.positive[index]):
            self.positive[index] |= positive.cpu()
            self.other[index] |= other.cpu()
        else:
            self.differs = True
