"""Spectral norm by Triton: 4 launches forward for a whole group at one iteration, 2 backward.

Each further iteration takes two more. No program waits for another: what is summed over many
programs is written as parts by one launch and added up, in a fixed order, by the next, so that
results repeat bit for bit. The programs of each launch are planned once for a group's shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastwgan.ops import _triton
from fastwgan.ops._triton import DTYPES
from fastwgan.ops.spectral_norm._triton_backward import dots_kernel, gradients_kernel
from fastwgan.ops.spectral_norm._triton_division import divide_kernel
from fastwgan.ops.spectral_norm._triton_forward import (
    columns_kernel,
    columns_sum_kernel,
    rows_kernel,
)
from fastwgan.ops.spectral_norm._triton_plan import Plan, plan_of
from fastwgan.ops.spectral_norm.reference import vector_dtype


def forward(
    weights: Sequence[Tensor],
    u: Sequence[Tensor],
    v: Sequence[Tensor],
    dims: Sequence[int],
    n_power_iterations: int,
    eps: float,
    first: str,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """The contract of `reference.forward`, for real weights and contiguous u and v."""
    device, wide = weights[0].device, vector_dtype(weights[0])
    matrices = [weight.contiguous() for weight in weights]
    plan = plan_of(matrices, dims)
    normalised = [torch.empty_like(matrix) for matrix in matrices]
    sigma = torch.empty(len(matrices), dtype=wide, device=device)
    vectors = torch.empty(plan.vectors, dtype=wide, device=device)
    scratch = torch.empty(plan.scratch, dtype=wide, device=device)
    sums = torch.empty(plan.sums, dtype=torch.float64, device=device)
    layers = _triton.table(plan.rows(matrices, u, v, normalised), device)
    run = _Run(plan, device, layers, scratch, sums, eps, DTYPES[weights[0].dtype], DTYPES[wide])
    if first == "u":
        _u_first(run, n_power_iterations)
    else:
        _v_first(run, n_power_iterations)
    _triton.launch(
        divide_kernel,
        len(plan.flat),
        device,
        layers,
        plan.table(plan.flat, device),
        scratch,
        sums,
        sigma,
        vectors,
        eps,
        MATRIX=run.matrix,
        WIDE=run.wide,
        ITERATED=n_power_iterations > 0,
        U_FIRST=first == "u",
    )
    return [_in_layout_of(w, n) for w, n in zip(weights, normalised, strict=True)], sigma, vectors


class _Run:
    """One call's launches but for the last, each over the whole group."""

    def __init__(
        self,
        plan: Plan,
        device: torch.device,
        layers: Tensor,
        scratch: Tensor,
        sums: Tensor,
        eps: float,
        matrix: Any,
        wide: Any,
    ) -> None:
        self.plan, self.device, self.layers = plan, device, layers
        self.scratch, self.sums, self.eps = scratch, sums, eps
        self.matrix, self.wide = matrix, wide

    def columns(self, left: str) -> None:
        """Parts of Wᵀ times u ("given") or times the last W v over its norm ("product")."""
        self._launch(columns_kernel, self.plan.strips, GIVEN=left == "given")

    def rows(self, right: str, *, dots: bool = False) -> None:
        """W times v ("given"), or times the last Wᵀu, summed ("sum") or in parts ("parts")."""
        sources = {"given": 0, "sum": 1, "parts": 2}
        self._launch(rows_kernel, self.plan.bands, SOURCE=sources[right], DOTS=dots)

    def sum_columns(self) -> None:
        """The parts of Wᵀu added up, and parts of their squares' sum."""
        self._launch(columns_sum_kernel, self.plan.columns, eps=False)

    def _launch(self, kernel: Any, programs: list[int], *, eps: bool = True, **others: Any) -> None:
        table = self.plan.table(programs, self.device)
        numbers = (self.eps,) if eps else ()
        tensors = (self.layers, table, self.scratch, self.sums)
        if eps:
            others["MATRIX"] = self.matrix
        programs_count = len(programs)
        _triton.launch(
            kernel, programs_count, self.device, *tensors, *numbers, WIDE=self.wide, **others
        )


def _v_first(run: _Run, iterations: int) -> None:
    if iterations == 0:
        run.rows("given", dots=True)
        return
    run.columns("given")
    for _ in range(iterations - 1):
        run.rows("parts")
        run.columns("product")
    run.sum_columns()
    run.rows("sum")


def _u_first(run: _Run, iterations: int) -> None:
    run.rows("given", dots=iterations == 0)
    for iteration in range(iterations):
        run.columns("product")
        if iteration + 1 < iterations:
            run.rows("parts")
    if iterations:
        run.sum_columns()


def backward(
    grads: Sequence[Tensor],
    normalised: Sequence[Tensor],
    sigma: Tensor,
    vectors: Tensor,
    dims: Sequence[int],
    grad_sigma: Tensor | None,
) -> list[Tensor]:
    """The contract of `reference.backward`, for real weights."""
    device, dtype = grads[0].device, normalised[0].dtype
    cotangents = [grad.contiguous() for grad in grads]
    outputs = [output.contiguous() for output in normalised]
    gradients = [torch.empty_like(output) for output in outputs]
    plan = plan_of(outputs, dims)
    layers = _triton.table(plan.rows(cotangents, outputs, outputs, gradients), device)
    dots = torch.empty(len(plan.weights), dtype=torch.float64, device=device)
    types = {"MATRIX": DTYPES[dtype], "WIDE": DTYPES[sigma.dtype]}
    _triton.launch(
        dots_kernel,
        len(plan.weights),
        device,
        layers,
        plan.table(plan.weights, device),
        dots,
        **types,
    )
    _triton.launch(
        gradients_kernel,
        len(plan.tiles),
        device,
        layers,
        plan.table(plan.tiles, device),
        dots,
        sigma.contiguous(),
        vectors.contiguous(),
        sigma if grad_sigma is None else grad_sigma.contiguous(),
        WITH_SIGMA=grad_sigma is not None,
        **types,
    )
    return [_in_layout_of(w, g) for w, g in zip(normalised, gradients, strict=True)]


def _in_layout_of(weight: Tensor, values: Tensor) -> Tensor:
    """`values` in the memory layout of `weight` (channels-last weights stay so)."""
    return values if weight.is_contiguous() else torch.empty_like(weight).copy_(values)
