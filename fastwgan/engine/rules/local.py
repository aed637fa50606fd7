"""Any differentiable operation: its four rules by autograd, applied to that operation alone.

With ⟨δ, J t⟩ = S, the adjoint Jᵀδ is one backward of the operation; and one backward of ⟨Jᵀδ, t⟩
gives both ∂S/∂δ, which is the tangent, and ∂S/∂z, which are the second-order terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from fastwgan.engine.casting import Casting, casting
from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors


class Call:
    """A call with holes for its tensors, and the casts that autocast made in it."""

    __slots__ = ("casting", "function", "holes", "leaves", "structure")

    def __init__(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        self.leaves, self.structure = tree_flatten((args, kwargs))
        self.holes = [i for i, leaf in enumerate(self.leaves) if isinstance(leaf, Tensor)]
        device = self.leaves[self.holes[0]].device if self.holes else torch.get_default_device()
        self.casting: Casting = casting(device.type)

    def take_tensors(self) -> Tensors:
        """The tensors, which are then no longer kept here."""
        tensors = tuple(self.leaves[i] for i in self.holes)
        for i in self.holes:
            self.leaves[i] = None
        return tensors

    def run(self, tensors: Tensors) -> Any:
        """The result for these tensors; those that the function writes to are the caller's."""
        leaves = list(self.leaves)
        for i, tensor in zip(self.holes, tensors, strict=True):
            leaves[i] = tensor
        args, kwargs = tree_unflatten(leaves, self.structure)
        with self.casting.restored():
            result = self.function(*args, **kwargs)
        return args[0] if result is None else result  # None: __setitem__


class LocalGraph:
    """Autograd's graph of one call, from leaves of its own to its outputs."""

    def __init__(self, call: Call, inputs: Tensors, wanted: Sequence[bool]) -> None:
        with torch.enable_grad():
            self.leaves = [
                None
                if z is None
                else z.detach().requires_grad_(want and (z.is_floating_point() or z.is_complex()))
                for z, want in zip(inputs, wanted, strict=True)
            ]
            # Cloned, since a leaf must not be written and an in-place call writes.
            own = tuple(z.clone() if z is not None and z.requires_grad else z for z in self.leaves)
            self.outputs: tuple[Tensor, ...] = tensors_in(call.run(own))
        self.cotangents: list[Tensor] = []
        self.adjoints: list[Tensor | None] = []

    def targets(self, wanted: Sequence[bool]) -> tuple[list[int], list[Tensor]]:
        """The wanted leaves that can have a gradient: their positions, and they themselves."""
        chosen = [
            (i, leaf)
            for i, (leaf, want) in enumerate(zip(self.leaves, wanted, strict=True))
            if want and leaf is not None and leaf.requires_grad
        ]
        return [i for i, _ in chosen], [leaf for _, leaf in chosen]

    def adjoint(self, cotangents: Tensors, wanted: Sequence[bool], twice: bool) -> list[Any]:
        """One backward; with `twice`, kept for the one through it."""
        found: list[Tensor | None] = [None] * len(self.leaves)
        places, targets = self.targets(wanted)
        pairs = [
            (y, d)
            for y, d in zip(self.outputs, cotangents, strict=True)
            if d is not None and y.requires_grad
        ]
        if not places or not pairs:
            return found
        ds = [d.detach().requires_grad_(twice) for _, d in pairs]
        with torch.enable_grad():
            gradients = torch.autograd.grad(
                [y for y, _ in pairs],
                targets,
                ds,
                create_graph=twice,
                retain_graph=True,
                allow_unused=True,
            )
        for i, gradient in zip(places, gradients, strict=True):
            found[i] = gradient
        if twice:
            self.cotangents, self.adjoints = ds, found
        return [None if g is None else g.detach() for g in found]


class Local(Rule):
    """The rules of whatever autograd can differentiate twice.

    The graph is built when the adjoint asks for it, by running the operation once more on detached
    inputs; hence none for operations with randomness or side effects.
    """

    kind = "local double backward"
    reads_outputs = False
    fresh = False
    lends = True

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound:
        """Any call; its tensors in the order in which they stand in the arguments."""
        call = Call(function, args, kwargs)
        return Bound(call.take_tensors(), call, row_wise=False)

    def forward(self, options: Call, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """Clones what an in-place call would write."""
        own = tuple(z.clone() if z is not None and may_write(options, z) else z for z in inputs)
        return tensors_in(options.run(own)), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """By one local backward."""
        graph = LocalGraph(site.options, site.inputs, wanted)
        return graph.adjoint(cotangents, wanted, twice=False)

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """Not without the cotangents: `tangent_and_second_order` has both."""
        raise NotImplementedError

    def tangent_and_second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> tuple[Tensors, list[Tensor | None]]:
        """By one local double backward."""
        moving = [t is not None for t in tangents]
        watched = [a or b for a, b in zip(moving, wanted, strict=True)]
        graph = LocalGraph(site.options, site.inputs, watched)
        # A cotangent of zeros where there is none: the tangent does not depend on it.
        full = tuple(
            (torch.zeros_like(y) if d is None else d) if y.requires_grad else None
            for y, d in zip(graph.outputs, cotangents, strict=True)
        )
        graph.adjoint(full, moving, twice=True)
        pairs = [
            (a, t.to(a.dtype))
            for a, t in zip(graph.adjoints, tangents, strict=True)
            if a is not None and t is not None and a.requires_grad
        ]
        terms: list[Tensor | None] = [None] * len(wanted)
        if not pairs:
            return (None,) * len(graph.outputs), terms
        places, targets = graph.targets(wanted)
        gradients = torch.autograd.grad(
            [a for a, _ in pairs],
            [*graph.cotangents, *targets],
            [t for _, t in pairs],
            allow_unused=True,
        )
        flowing = iter(gradients[: len(graph.cotangents)])
        moved = tuple(next(flowing) if d is not None else None for d in full)
        for i, term in zip(places, gradients[len(graph.cotangents) :], strict=True):
            terms[i] = term
        return moved, terms


def may_write(call: Call, tensor: Tensor) -> bool:
    """True for functions that could write their arguments, told by name as torch names them."""
    name = getattr(call.function, "__name__", "")
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name in _WRITERS or any(leaf is True for leaf in call.leaves)


_WRITERS = frozenset(
    f"__{name}__"
    for name in ("setitem", "iadd", "isub", "imul", "itruediv", "ipow", "imatmul", "imod")
)


def tensors_in(result: Any) -> tuple[Tensor, ...]:
    """The tensors of a result, in order."""
    if isinstance(result, Tensor):
        return (result,)
    return tuple(leaf for leaf in tree_flatten(result)[0] if isinstance(leaf, Tensor))
