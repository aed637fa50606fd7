"""How near our numbers must be to plain torch's in float64, after each step from one state."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tests.tolerances import SEQUENCES, Nearness


def nearness(*dtypes: torch.dtype) -> Nearness:
    """Of results that the coarsest of these dtypes went into."""
    return max((SEQUENCES[dtype] for dtype in dtypes), key=lambda each: each.bound)


def _norms(actual: Tensor, expected: Tensor, where: str) -> tuple[float, float]:
    assert actual.shape == expected.shape, where
    wide = actual.detach().double()
    assert torch.isfinite(expected).all(), f"{where}: torch's own is not finite"
    assert torch.isfinite(wide).all(), f"{where}: not finite"
    return float((wide - expected.detach()).norm()), float(expected.detach().norm())


def assert_near(actual: Tensor, expected: Tensor, near: Nearness, where: str) -> None:
    difference, size = _norms(actual, expected, where)
    assert difference <= near.bound * (size + near.floor), (
        f"{where}: {difference:.3e} from torch's, whose norm is {size:.3e}"
    )


def assert_gradients_near(
    actual: Sequence[tuple[str, Tensor | None]],
    expected: Sequence[Tensor | None],
    near: Nearness,
    where: str,
) -> None:
    """The whole gradient, relative to its norm; None where None is expected."""
    differences, sizes, apart = [0.0], [0.0], []
    for (name, got), want in zip(actual, expected, strict=True):
        assert (got is None) == (want is None), f"{where}: {name}.grad was {got}, torch's {want}"
        if got is not None and want is not None:
            difference, size = _norms(got, want, f"{where}: {name}.grad")
            differences.append(difference)
            sizes.append(size)
            apart.append(f"{name} {difference:.3e}")
    assert math.hypot(*differences) <= near.bound * (math.hypot(*sizes) + near.floor), (
        f"{where}: gradients apart: {', '.join(apart)}, of norm {math.hypot(*sizes):.3e}"
    )


def assert_same_critic(ours: nn.Module, theirs: nn.Module, near: Nearness, where: str) -> None:
    """Parameters, buffers in the order of the state dict, and gradients."""
    mine, other = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(other), where
    for name, value in mine.items():
        assert_near(value, other[name], near, f"{where}: {name}")
    names = [(name, p.requires_grad) for name, p in ours.named_parameters()]
    assert names == [(name, p.requires_grad) for name, p in theirs.named_parameters()], where
    assert_gradients_near(
        [(name, p.grad) for name, p in ours.named_parameters()],
        [p.grad for p in theirs.parameters()],
        near,
        where,
    )


def assert_same_optimizer(
    ours: torch.optim.Optimizer, theirs: torch.optim.Optimizer, near: Nearness, where: str
) -> None:
    """The parameters it holds, still a critic's or not, and its state."""
    for mine, other in zip(held(ours), held(theirs), strict=True):
        assert_near(mine, other, near, f"{where}: parameter of the optimizer")
        state, expected = ours.state.get(mine, {}), theirs.state.get(other, {})
        assert state.keys() == expected.keys(), where
        for name, value in state.items():
            assert_near(value, expected[name], near, f"{where}: {name}")


def held(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
