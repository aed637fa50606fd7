"""The modules of a critic, and how to look at them without leaving a trace."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def modules_of(critic: Callable[..., Any]) -> dict[str, nn.Module]:
    """Every module of a critic by its path, none twice.

    Args:
        critic: A module; or a function, whose modules are those that it closes over, is bound to,
            or knows by a global name.
    """
    found: dict[int, tuple[str, nn.Module]] = {}
    for prefix, root in _roots(critic, depth=0).items():
        for name, module in root.named_modules(prefix=prefix):
            found.setdefault(id(module), (name.replace("_orig_mod.", ""), module))
    return dict(found.values())


def _roots(critic: Any, depth: int) -> dict[str, nn.Module]:
    if isinstance(critic, nn.Module):
        return {"": getattr(critic, "_orig_mod", critic)}  # of torch.compile
    held: dict[str, Any] = {}
    if isinstance(critic, functools.partial):
        held = {str(i): each for i, each in enumerate((critic.func, *critic.args))}
        held |= critic.keywords
    elif inspect.ismethod(critic):
        held = {"": critic.__self__}
    elif inspect.isfunction(critic):
        variables = inspect.getclosurevars(critic)
        held = {**variables.globals, **variables.nonlocals}
    elif depth == 0:
        held = dict(getattr(critic, "__dict__", {}))
    roots: dict[str, nn.Module] = {}
    for name, value in held.items():
        if isinstance(value, nn.Module):
            roots[name] = getattr(value, "_orig_mod", value)
        elif depth < _DEPTH and _may_hold_modules(value):
            roots |= {f"{name}.{key}".strip("."): m for key, m in _roots(value, depth + 1).items()}
    return roots


_DEPTH = 2


def _may_hold_modules(value: Any) -> bool:
    return isinstance(value, functools.partial) or inspect.ismethod(value)


@contextmanager
def undisturbed(
    modules: Mapping[str, nn.Module], device: torch.device, seed: int
) -> Iterator[None]:
    """Inside, modules are in evaluation mode and draws start from a seed; after, all is as before.

    Args:
        modules: Of the critic, all of them.
        device: Whose random generator is restored, beside the CPU's.
        seed: Of torch's generators inside.
    """
    modes = [(module, module.training) for module in modules.values()]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in modules.values()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.inference_mode(False), torch.enable_grad():
        torch.default_generator.manual_seed(seed)
        try:
            for module, _ in modes:
                module.training = False
            yield
        finally:
            for module, training in modes:
                module.training = training
            _put_back(buffers)


def _put_back(buffers: list[tuple[nn.Module, str, Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for module, name, buffer, before in buffers:
            if module._buffers.get(name) is not buffer:
                module._buffers[name] = buffer
            if not torch.equal(buffer, before):
                buffer.copy_(before)
