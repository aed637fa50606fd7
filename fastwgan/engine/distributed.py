"""Critics whose gradients or weights are spread over processes.

DistributedDataParallel averages gradients of a backward that it has prepared for, in its own
forward; gradients of its inner module alone stay each process's own, silently. So the whole critic
step runs inside of its forward. DTensor weights (FSDP2, tensor parallelism) are refused.
"""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Result = TypeVar("Result")
_open = threading.local()  # .modules: inner modules of DDP objects that this thread is inside of
_known: weakref.WeakKeyDictionary[nn.Module, int] = weakref.WeakKeyDictionary()


def is_distributed() -> bool:
    """Whether there can be anything of what this file is about."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def refuse_sharded(critic: Any, name: str) -> None:
    """Raises for weights that are DTensors, or are while the critic does not run.

    Raises:
        TypeError: that is the case; `name` is whose argument the critic is.
    """
    if not is_distributed():
        return
    from torch.distributed.fsdp import FSDPModule  # imports much, all of it there by now
    from torch.distributed.tensor import DTensor

    for module in modules_of(critic):
        sharded = any(isinstance(each, FSDPModule) for each in module.modules())
        if sharded or any(isinstance(p, DTensor) for p in module.parameters()):
            raise TypeError(
                f"critic had DTensor parameters (FSDP2, tensor parallelism); for {name} they must "
                f"be plain tensors: use DistributedDataParallel, or engine='never' of "
                f"gradient_penalty."
            )


def refuse_inner(critic: Any) -> None:
    """Raises for a critic whose gradients a DDP object around it would silently not average.

    Raises:
        RuntimeError: that is the case.
    """
    if not is_distributed():
        return
    for module in modules_of(critic):
        if module in getattr(_open, "modules", ()):
            continue
        if any(isinstance(each, DistributedDataParallel) for each in module.modules()):
            continue
        if _is_owned(module):
            raise RuntimeError(
                "critic was a module inside a DistributedDataParallel object, which would not "
                "average these gradients; it must be that object itself: critic_loss(ddp, ...)."
            )


def check_penalty(critic: Any, engine: str) -> None:
    """Raises for critics that `gradient_penalty` cannot take.

    Raises:
        TypeError: weights are DTensors, and the engine may be taken.
        RuntimeError: a DDP object with static_graph, whose hooks wait for the one backward.
    """
    if not is_distributed():
        return
    if engine != "never":
        refuse_sharded(critic, "gradient_penalty")
    for module in modules_of(critic):
        if isinstance(module, DistributedDataParallel) and module.static_graph:
            raise RuntimeError(
                "critic was a DistributedDataParallel object with static_graph=True, which cannot "
                "be differentiated twice; it must be without, or use critic_loss(ddp, ...)."
            )


def through_ddp(
    ddp: DistributedDataParallel, run: Callable[[nn.Module], Result], inputs: tuple[Any, ...]
) -> Result:
    """`run(inner module, *inputs)` as the one forward of a DDP object."""
    inner = ddp._modules["module"]
    assert inner is not None
    ddp._modules["module"] = _Step(run, inner)
    try:
        with _inside(inner):
            result: Result = ddp(*inputs)
            return result
    finally:
        ddp._modules["module"] = inner


class _Step(nn.Module):
    """What a DDP object runs in place of its module."""

    def __init__(self, run: Callable[..., Any], inner: nn.Module) -> None:
        super().__init__()
        self.run = run
        self.inner = inner

    def forward(self, *inputs: Any) -> Any:
        return self.run(self.inner, *inputs)


@contextmanager
def _inside(inner: nn.Module) -> Iterator[None]:
    before = getattr(_open, "modules", ())
    _open.modules = (*before, inner)
    try:
        yield
    finally:
        _open.modules = before


def modules_of(critic: Any) -> list[nn.Module]:
    """The critic, or the modules that a function closes over or finds among its globals."""
    if isinstance(critic, nn.Module):
        return [critic]
    if not isinstance(critic, FunctionType):
        held = [getattr(critic, "func", None), getattr(critic, "__self__", None)]
    else:
        held = [cell.cell_contents for cell in critic.__closure__ or () if _is_filled(cell)]
        held += [critic.__globals__.get(name) for name in critic.__code__.co_names]
    return [each for each in held if isinstance(each, nn.Module)]


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True


def _is_owned(module: nn.Module) -> bool:
    """Whether some living DDP object averages gradients of this module's parameters.

    Looking at every object takes tens of milliseconds, so it is done again only when somebody new
    holds the first trainable parameter: DDP objects hold all of theirs.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        return False
    holders = sys.getrefcount(parameters[0])
    if holders <= _known.get(module, 0):
        return False
    own = set(map(id, parameters))
    for each in gc.get_objects():
        if issubclass(type(each), DistributedDataParallel):
            held: list[Tensor] = each.__dict__.get("_module_parameters", [])
            if any(id(p) in own for p in held):
                return True
    _known[module] = holders
    return False
