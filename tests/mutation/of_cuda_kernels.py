"""Mistakes in csrc/cuda, which the tests run over their emulator."""

from __future__ import annotations

from tests.mutation.mutation import Mutation

_EMULATED = "--only-backend cuda-emulated"
_ULPS = "tests/numerics/test_ulps.py"

MUTATIONS = (
    Mutation(
        "csrc/cuda/rmsprop.cu",
        "    C gradient = c.sign * widened(gradients.values[k]);\n"
        "    // Not added as a product with 0: a parameter of NaN or Inf must stay out of "
        "the state.\n"
        "    if (c.weight_decay != 0) gradient += c.weight_decay * parameter;\n",
        "    C gradient = widened(gradients.values[k]);\n"
        "    // Not added as a product with 0: a parameter of NaN or Inf must stay out of "
        "the state.\n"
        "    if (c.weight_decay != 0) gradient += c.weight_decay * parameter;\n"
        "    gradient *= c.sign;\n",
        "maximize that turns the weight decay round too",
        f"{_EMULATED} tests/ops/test_rmsprop.py::test_every_option",
    ),
    Mutation(
        "csrc/cuda/rmsprop.cu",
        "for (; i < chunk.end; i += block_threads) step_at",
        "for (; i + 1 < chunk.end; i += block_threads) step_at",
        "the elements behind the last pack one short",
        f"{_EMULATED} tests/ops/test_rmsprop.py::test_equals_the_equations_and_writes_nothing_else",
    ),
    Mutation(
        "csrc/cuda/gradient_penalty.cu",
        "rows > 0 ? weight / static_cast<double>(rows) : weight};",
        "rows > 0 ? weight / static_cast<double>(rows * size) : weight};",
        "the mean over all elements, not over the samples",
        f"{_EMULATED} tests/ops/test_gradient_penalty.py::test_norms_of_every_size",
    ),
    Mutation(
        "csrc/cuda/gradient_penalty.cu",
        "alpha[group + at.quotient]",
        "alpha[group + 0 * at.quotient]",
        "one alpha for a block's whole chunk, though it holds several samples",
        f"{_EMULATED} tests/ops/test_gradient_penalty.py::test_interpolates_of_every_size",
    ),
    Mutation(
        "csrc/cuda/spectral_norm_backward.cu",
        "(block + down.quotient) * layer.inner",
        "down.quotient * layer.inner",
        "the offset of a tile that does not begin in the first of the outer blocks",
        f"{_EMULATED} tests/ops/test_spectral_norm.py",
    ),
    Mutation(
        "csrc/cuda/spectral_norm.cu",
        "for (int other = 1; other < warps_of_block; ++other)",
        "for (int other = 1; other + 1 < warps_of_block; ++other)",
        "a reduction over warps without the last",
        f"{_EMULATED} tests/ops/test_spectral_norm.py::test_equals_the_definition",
    ),
    Mutation(
        "csrc/cuda/spectral_norm.cu",
        "  if (threadIdx.x == 0) sigma[index] = static_cast<C>(found);\n  __syncthreads();\n",
        "  if (threadIdx.x == 0) sigma[index] = static_cast<C>(found);\n",
        "a missing barrier between a block's writing and its reading",
        f"{_EMULATED} tests/ops/test_spectral_norm.py::test_equals_the_definition",
    ),
    Mutation(
        "csrc/cuda/spectral_plan.cu",
        "layer.partial = sums + layer.rows;",
        "layer.partial = sums;",
        "two of a layer's scratch arrays in the same memory",
        f"{_EMULATED} tests/ops/test_spectral_norm.py::test_equals_the_definition",
    ),
    Mutation(
        "csrc/cuda/weight_clip.cu",
        "x = x < -bound ? -bound : x;",
        "x = x > -bound ? x : -bound;",
        "max with its operands exchanged: NaN becomes the bound",
        f"{_EMULATED} tests/ops/test_weight_clip.py",
    ),
    Mutation(
        "csrc/cuda/bias_activation.cu",
        "if (r < m.summed_rows) sums[k] +=",
        "if (r <= m.summed_rows) sums[k] +=",
        "≤ for <: one row of the penalty's in the bias's gradient",
        f"{_EMULATED} tests/ops/test_bias_activation.py::test_derivative_and_sums",
    ),
    Mutation(
        "csrc/cuda/rmsprop.cu",
        "averages.values[k] = narrowed<T>(average);",
        "average = widened(averages.values[k] = narrowed<T>(average));",
        "the average rounded to bfloat16 before its root is taken: two roundings, not one",
        f"{_EMULATED} {_ULPS}::test_steps_of_halves_by_kernels_are_rounded_once",
    ),
)
