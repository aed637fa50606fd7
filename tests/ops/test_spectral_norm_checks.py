"""Bad arguments get one sentence, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fastwgan.ops.spectral_norm import spectral_norm
from tests.ops.spectral_norm_cases import make_group

Change = Callable[[dict[str, Any]], Any]


def _replace(name: str, value: Any, index: int = 1) -> Change:
    def change(arguments: dict[str, Any]) -> None:
        arguments[name][index] = value

    return change


def _set(name: str, value: Any) -> Change:
    def change(arguments: dict[str, Any]) -> None:
        arguments[name] = value

    return change


BAD: dict[str, tuple[Change, type[Exception], str]] = {
    "no weights": (_set("weights", []), ValueError, "lengths 0, 2, 2, 2"),
    "too few u": (lambda a: a["u"].pop(), ValueError, "lengths 2, 1, 2, 2"),
    "too few v": (lambda a: a["v"].pop(), ValueError, "lengths 2, 2, 1, 2"),
    "too few dims": (lambda a: a["dims"].pop(), ValueError, "lengths 2, 2, 2, 1"),
    "not a tensor": (_replace("weights", 1.0), TypeError, r"weights\[1\] was a float"),
    "integer": (
        _replace("weights", torch.ones(3, 4, dtype=torch.int64)),
        TypeError,
        r"weights\[1\] was torch.int64",
    ),
    "sparse": (_replace("weights", torch.eye(4).to_sparse()), TypeError, "torch.sparse_coo"),
    "other dtype": (
        _replace("weights", torch.ones(3, 4, dtype=torch.float64)),
        ValueError,
        "must be torch.float32 on cpu",
    ),
    "other device": (
        _replace("weights", torch.ones(3, 4, device="meta")),
        ValueError,
        r"weights\[1\] was torch.float32 on meta",
    ),
    "scalar": (_replace("weights", torch.tensor(1.0)), ValueError, "number of dimensions"),
    "dim too large": (_set("dims", [0, 2]), ValueError, r"dims\[1\] was 2"),
    "dim negative": (_set("dims", [0, -1]), ValueError, r"dims\[1\] was -1"),
    "u of another dtype": (_replace("u", torch.ones(3).double()), TypeError, r"u\[1\] was .*64"),
    "v of another device": (_replace("v", torch.ones(4, device="meta")), ValueError, "on meta"),
    "u too short": (_replace("u", torch.ones(2)), ValueError, r"u\[1\] had shape \(2,\)"),
    "v too long": (_replace("v", torch.ones(5)), ValueError, r"v\[1\] had shape \(5,\)"),
    "u a matrix": (_replace("u", torch.ones(3, 1)), ValueError, r"shape \(3, 1\)"),
    "u expanded": (_replace("u", torch.ones(1).expand(3)), ValueError, "expanded"),
    "v expanded": (_replace("v", torch.ones(1).expand(4)), ValueError, "expanded"),
    "iterations": (_set("n_power_iterations", -1), ValueError, "n_power_iterations was -1"),
    "eps negative": (_set("eps", -1e-12), ValueError, "eps was -1e-12"),
    "eps nan": (_set("eps", float("nan")), ValueError, "eps was nan"),
    "eps inf": (_set("eps", float("inf")), ValueError, "eps was inf"),
    "first": (_set("first", "w"), ValueError, "first was 'w'"),
}


@pytest.mark.parametrize("warm", [False, True], ids=["first call", "after a good call"])
@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_named_and_nothing_is_written(
    backend: str, name: str, warm: bool
) -> None:
    change, error, said = BAD[name]
    group = make_group([((5, 7), 0), ((3, 4), 0)], torch.float32)
    arguments: dict[str, Any] = {
        "weights": list(group.weights),
        "u": list(group.u),
        "v": list(group.v),
        "dims": list(group.dims),
    }
    if warm:
        spectral_norm(**arguments)
    before = group.copy()
    change(arguments)
    with pytest.raises(error, match=said) as raised:
        spectral_norm(**arguments)
    assert str(raised.value).count("\n") == 0
    for after, old in zip((*group.u, *group.v), (*before.u, *before.v), strict=True):
        assert torch.equal(after, old)


def test_strided_u_and_v_are_right(backend: str) -> None:
    group = make_group([((5, 7), 0)], torch.float32)
    packed = group.copy()
    u, v = torch.zeros(5, 3), torch.zeros(2, 7)
    u[:, 1], v[1] = group.u[0], group.v[0]
    expected, _ = spectral_norm(packed.weights, packed.u, packed.v, dims=[0])
    actual, _ = spectral_norm(group.weights, [u[:, 1]], [v[1]], dims=[0])
    assert torch.equal(actual[0], expected[0])
    assert torch.equal(u[:, 1], packed.u[0])
    assert torch.equal(v[1], packed.v[0])
    assert torch.count_nonzero(u[:, 0]) + torch.count_nonzero(u[:, 2]) == 0
    assert torch.count_nonzero(v[0]) == 0


def test_many_different_groups_are_all_checked() -> None:
    """The memory of calls that passed is bounded, and forgetting it changes nothing."""
    for size in range(1, 1100):
        group = make_group([((1, size), 0)], torch.float32)
        spectral_norm(group.weights, group.u, group.v, dims=[0])
    with pytest.raises(ValueError, match="had shape"):
        spectral_norm(group.weights, group.u, [group.v[0][:-1]], dims=[0])
