"""Names of a spectral-normalised weight in checkpoints, and the way from one form's to the other's.

The hook form keeps `weight_orig`, `weight_u` and `weight_v` beside the module's other parameters,
the parametrization form `parametrizations.weight.original` and `parametrizations.weight.0._u`,
`._v`. The tensors under them are the same.
"""

from __future__ import annotations

from typing import Any

StateDict = dict[str, Any]


def to_hook_form(state_dict: StateDict, prefix: str, name: str) -> None:
    """Renames a parametrization's three entries for weight `name` to the hook form's."""
    _rename(state_dict, _parametrization_keys(prefix, name, 0), _hook_keys(prefix, name))


def to_parametrization_form(state_dict: StateDict, prefix: str, name: str, index: int) -> None:
    """Renames the hook form's three entries to those of the parametrization at `index`."""
    _rename(state_dict, _hook_keys(prefix, name), _parametrization_keys(prefix, name, index))


def _hook_keys(prefix: str, name: str) -> list[str]:
    return [f"{prefix}{name}_{suffix}" for suffix in ("orig", "u", "v")]


def _parametrization_keys(prefix: str, name: str, index: int) -> list[str]:
    stem = f"{prefix}parametrizations.{name}"
    return [f"{stem}.original", f"{stem}.{index}._u", f"{stem}.{index}._v"]


def _rename(state_dict: StateDict, old: list[str], new: list[str]) -> None:
    if all(key in state_dict for key in old) and not any(key in state_dict for key in new):
        for source, target in zip(old, new, strict=True):
            state_dict[target] = state_dict.pop(source)
