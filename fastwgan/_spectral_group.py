"""All layers under a root module, normalised by one call of the operation per call of the root."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn

from fastwgan._spectral_hook import GroupMark
from fastwgan._spectral_plan import CachedPlan, Plan
from fastwgan.ops.spectral_norm import spectral_norm

_CALL = nn.Module._call_impl.__code__


class SpectralNormGroup:
    """Normalises the layers of a root before its forward; their own hooks then do nothing.

    Layers are held by name, so that copies, pickles and replicas of the root find their own. A
    layer whose hook has been removed, or that is gone from the root, is left out.
    """

    def __init__(self, names: list[str], n_power_iterations: int, eps: float) -> None:
        self.names = names
        self.n_power_iterations = n_power_iterations
        self.eps = eps
        self.mark = GroupMark()
        self._plan: CachedPlan | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_plan": None}

    def attach(self, root: nn.Module) -> None:
        """Registers the two hooks on `root`; the second also runs when its forward raises."""
        root.register_forward_pre_hook(self.begin)
        root.register_forward_hook(self.end, always_call=True)

    def detach(self, root: nn.Module) -> None:
        """Takes the two hooks off `root`; the layers keep theirs."""
        for hooks in (root._forward_pre_hooks, root._forward_hooks):
            for key, hook in list(hooks.items()):
                if getattr(hook, "__self__", None) is self:
                    del hooks[key]
                    root._forward_hooks_always_called.pop(key, None)

    def plan(self, root: nn.Module) -> Plan:
        """The layers of `root` that this group normalises."""
        if torch.compiler.is_compiling() or getattr(root, "_is_replica", False):
            return Plan(root, self.names, self.mark)
        if self._plan is None or not self._plan.holds_for(root):
            self._plan = CachedPlan(root, self.names, self.mark)
        return self._plan

    def begin(self, root: nn.Module, inputs: Any) -> None:
        """Before a forward of the root: normalises every layer, unless a call is under way."""
        plan = self.plan(root)
        # Calls under way mean that the root has called itself; or that an interrupt, or an error in
        # compiled code, has ended a call without `end`.
        calls = _calls_on_stack(root) - 1 if plan.root_calls else 0
        if not calls and plan.modules:
            self._normalise(plan)
        plan.root_calls = calls + 1

    def end(self, root: nn.Module, inputs: Any, output: Any) -> None:
        """After a forward of the root, however it ended: the layers are on their own again."""
        plan = self.plan(root)
        plan.root_calls = max(0, plan.root_calls - 1)

    def _normalise(self, plan: Plan) -> None:
        weights, u, v = plan.tensors()
        training = [module.training for module in plan.modules]
        dtypes = [weight.dtype for weight in weights]
        devices = [weight.device for weight in weights]
        if _alike(training) and _alike(dtypes) and _alike(devices):
            plan.set_weights(self._call(weights, u, v, plan.dims, training[0]))
            return
        kinds = list(zip(training, dtypes, devices, strict=True))
        normalised = list(weights)
        for kind in dict.fromkeys(kinds):
            part = [index for index, other in enumerate(kinds) if other == kind]
            results = self._call(
                [weights[index] for index in part],
                [u[index] for index in part],
                [v[index] for index in part],
                [plan.dims[index] for index in part],
                kind[0],
            )
            for index, result in zip(part, results, strict=True):
                normalised[index] = result
        plan.set_weights(normalised)

    def _call(
        self, weights: list[Tensor], u: list[Tensor], v: list[Tensor], dims: list[int], train: bool
    ) -> list[Tensor]:
        iterations = self.n_power_iterations if train else 0
        return spectral_norm(
            weights, u, v, dims=dims, n_power_iterations=iterations, eps=self.eps, first="v"
        )[0]


def _alike(values: list[Any]) -> bool:
    return values.count(values[0]) == len(values)


def _calls_on_stack(root: nn.Module) -> int:
    """Calls of `root` that are running in this thread; 1 in code that is being compiled.

    A compiler sees no stack. A root that calls itself there is normalised anew by each call.
    """
    if torch.compiler.is_compiling():
        return 1
    calls, frame = 0, sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is _CALL and frame.f_locals.get("self") is root:
            calls += 1
    return calls
