"""The hook form's errors: torch's where torch has one, else one sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm as torch_spectral_norm

from fastwgan import spectral_norm

ERRORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "no iterations": (lambda: nn.Linear(3, 4), {"n_power_iterations": 0}),
    "negative iterations": (lambda: nn.Linear(3, 4), {"n_power_iterations": -2}),
    "missing name": (lambda: nn.Linear(3, 4), {"name": "wight"}),
    "weight of a module without": (nn.ReLU, {}),
    "weight of a container without": (lambda: nn.Sequential(nn.ReLU(), nn.Flatten()), {}),
    "other name of a container": (lambda: nn.Sequential(nn.Linear(3, 4)), {"name": "bias"}),
    "None": (lambda: nn.Linear(3, 4, bias=False), {"name": "bias"}),
    "uninitialized": (lambda: nn.LazyLinear(4), {}),
    "twice": (lambda: spectral_norm(nn.Linear(3, 4)), {}),
    "twice, torch's first": (lambda: torch_spectral_norm(nn.Linear(3, 4)), {}),
    "parametrized": (
        lambda: torch.nn.utils.parametrizations.orthogonal(nn.Linear(3, 4)),
        {},
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_torchs(name: str) -> None:
    make, settings = ERRORS[name]
    raised = []
    for normalise in (spectral_norm, torch_spectral_norm):
        with pytest.raises(Exception) as error:  # noqa: PT011 - compared with torch's below
            normalise(make(), **settings)
        raised.append((error.type, str(error.value)))
    assert raised[0] == raised[1]


BAD: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "module": (lambda: torch.ones(3), {}, TypeError, "module was a Tensor"),
    "name": (lambda: nn.Linear(3, 4), {"name": 1}, TypeError, "name was a int"),
    "iterations": (lambda: nn.Linear(3, 4), {"n_power_iterations": 1.5}, TypeError, "was a float"),
    "eps": (lambda: nn.Linear(3, 4), {"eps": "0"}, TypeError, "eps was a str"),
    "eps negative": (lambda: nn.Linear(3, 4), {"eps": -1.0}, ValueError, "eps was -1.0"),
    "eps nan": (lambda: nn.Linear(3, 4), {"eps": float("nan")}, ValueError, "eps was nan"),
    "dim": (lambda: nn.Linear(3, 4), {"dim": 0.0}, TypeError, "dim was a float"),
    "dim too large": (lambda: nn.Linear(3, 4), {"dim": 2}, IndexError, "dim was 2"),
    "integer": (
        lambda: _with_weight(torch.ones(3, 4, dtype=torch.int32)),
        {},
        TypeError,
        "torch.int32",
    ),
    "sparse": (lambda: _with_weight(torch.eye(3).to_sparse()), {}, TypeError, "sparse_coo"),
    "scalar": (lambda: _with_weight(torch.tensor(1.0)), {}, ValueError, "was a scalar"),
}


def _with_weight(weight: Tensor) -> nn.Module:
    module = nn.Module()
    module.weight = nn.Parameter(weight, requires_grad=False)
    return module


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_named_and_nothing_changes(name: str) -> None:
    make, settings, error, said = BAD[name]
    module = make()
    before = set(vars(module))
    with pytest.raises(error, match=said) as raised:
        spectral_norm(module, **settings)
    assert "\n" not in str(raised.value)
    assert set(vars(module)) == before
    if isinstance(module, nn.Module):
        assert "weight" in module._parameters
        assert not module._forward_pre_hooks
