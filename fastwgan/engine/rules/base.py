"""What the engine asks of a kind of layer: four rules, on tensors alone.

A layer y = F(z₁, …, z_k) has activations and weights among its inputs. A rule never sees autograd:
every tensor it gets is detached, and every tensor it returns is new unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

Tensors = tuple[Tensor | None, ...]


class Bound(NamedTuple):
    """One call of an operation, its tensors set apart from the rest of its arguments.

    Attributes:
        inputs: The tensors, None for one that is absent.
        options: All else.
        row_wise: Row i of the output depends on row i of each input and on nothing else, whatever
            the number of rows.
    """

    inputs: Tensors
    options: Any
    row_wise: bool = True


class Site(NamedTuple):
    """One layer at one set of rows, as its rules see it.

    Where a rule does not read a layer's inputs or outputs, those can be None or overwritten.
    """

    options: Any
    inputs: Tensors
    outputs: Tensors
    saved: tuple[Any, ...]

    @property
    def output(self) -> Tensor:
        """The only output."""
        assert self.outputs[0] is not None
        return self.outputs[0]

    def input(self, index: int = 0) -> Tensor:
        """Input `index`, which is present."""
        tensor = self.inputs[index]
        assert tensor is not None
        return tensor


class Rule:
    """The four rules of one kind of layer, and what they need.

    Adjoints come as lists with one entry an input, None for those not wanted or zero; cotangents
    and tangents as tuples with None for zero.

    Attributes:
        kind: The layer's name in reports.
        piecewise_linear: The adjoint does not vary with the activations, so that `second_order`
            has terms for weights alone.
        reads_inputs: Whether adjoint, tangent or second order read activations among the inputs.
        reads_outputs: Likewise for outputs.
        weights: Positions of inputs that have no dimension of rows, and are no activations.
        unread: Those of them that only the forward reads, as it does a bias.
        lends: Adjoints and second-order terms can be the cotangent's or tangent's own memory.
        fresh: The output never shares memory with an input.
        merges: The term of input 1 is one sum over rows of products of cotangent and input 0, and
            the second-order term the same sum of cotangent and tangent: several can be one call.
        places: One input, one output; `adjoint_at` and `tangent_at` can write where they are told.
        in_place: One input; `forward_in_place` overwrites it, and saves nothing.
    """

    kind = ""
    piecewise_linear = False
    reads_inputs = True
    reads_outputs = True
    weights: tuple[int, ...] = ()
    unread: tuple[int, ...] = ()
    fresh = True
    lends = False
    merges = False
    places = False
    in_place = False

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """The call in this rule's own form, or None for one that it does not cover."""
        raise NotImplementedError

    def record(
        self, bound: Bound, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, tuple[Any, ...]]:
        """Runs the critic's own call under autograd: its result, and what the rule saves."""
        return function(*args, **kwargs), ()

    def forward(self, options: Any, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """Rule 1: the outputs, and what is saved for the other rules."""
        raise NotImplementedError

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Rule 2: Σ ⟨cotangent, dy⟩ as a linear function of each wanted input."""
        raise NotImplementedError

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """Rule 3: dy for inputs that move by `tangents`, which are zero for weights."""
        raise NotImplementedError

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Rule 4: the derivative of Σ ⟨cotangent, tangent of y⟩ for each wanted input.

        Cotangents and tangents are constants.
        """
        raise NotImplementedError

    def forward_in_place(self, options: Any, inputs: Tensors) -> Tensors:
        """The outputs, over the only input; for rules in place."""
        raise NotImplementedError

    def forward_activated(
        self, options: Any, inputs: Tensors, activation: Rule, activation_options: Any
    ) -> Tensors | None:
        """The outputs of the activation that follows, or None where two calls are as good."""
        return None

    def adjoint_at(self, site: Site, cotangent: Tensor, out: Tensor | None) -> Tensor:
        """The adjoint, in `out` if given; for rules that place."""
        raise NotImplementedError

    def adjoint_and_sum(
        self, site: Site, cotangent: Tensor, out: Tensor | None, summed_rows: int | None
    ) -> tuple[Tensor, Tensor | None]:
        """The adjoint as `adjoint_at`, and its sum over the first rows where that costs nothing."""
        return self.adjoint_at(site, cotangent, out), None

    def tangent_at(self, site: Site, tangent: Tensor, out: Tensor | None) -> Tensor:
        """The tangent, in `out` if given, which can be the output itself; for rules that place."""
        raise NotImplementedError

    def row_option(self, options: Any, rows: int) -> Any:
        """The options for another number of rows, where they name it."""
        return options
