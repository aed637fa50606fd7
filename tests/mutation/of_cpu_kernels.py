"""Mistakes in csrc/cpu."""

from __future__ import annotations

from tests.mutation.mutation import Mutation

_RMSPROP = "tests/ops/test_rmsprop.py"
_SPECTRAL = "tests/ops/test_spectral_norm.py"
_INSIDE = "tests/concurrency/test_threads.py::test_all_inside_at_once"
_PENALTY = "tests/ops/test_gradient_penalty.py"

MUTATIONS = (
    Mutation(
        "csrc/cpu/rmsprop.cpp",
        "gradient / (square_root<T, Bytes>(average) + c.epsilon)",
        "gradient / square_root<T, Bytes>(average + c.epsilon)",
        "eps inside of the root, as some frameworks have it",
        f"{_RMSPROP}::test_every_option",
    ),
    Mutation(
        "csrc/cpu/rmsprop.cpp",
        "    mean += c.one_minus_alpha * (gradient - mean);\n"
        "    store<T, Bytes>(slice.gradient_average + i, mean);\n"
        "    average -= mean * mean;\n",
        "    average -= mean * mean;\n"
        "    mean += c.one_minus_alpha * (gradient - mean);\n"
        "    store<T, Bytes>(slice.gradient_average + i, mean);\n",
        "the centered form with the mean of the step before",
        f"{_RMSPROP}::test_every_option",
    ),
    Mutation(
        "csrc/cpu/rmsprop.cpp",
        "parameter = parameter < low ? low : parameter;",
        "parameter = parameter > low ? parameter : low;",
        "max with its operands exchanged: NaN becomes the bound",
        f"{_RMSPROP}::test_special_values_stay_special",
    ),
    Mutation(
        "csrc/cpu/rmsprop.cpp",
        "for (; i < slice.size; ++i) step_at",
        "for (; i + 1 < slice.size; ++i) step_at",
        "the tail of a vector loop one short",
        f"{_RMSPROP}::test_equals_the_equations_and_writes_nothing_else",
    ),
    Mutation(
        "csrc/cpu/rmsprop.cpp",
        "static_cast<T>(1.0 - options.alpha)",
        "T(1) - static_cast<T>(options.alpha)",
        "1 - alpha in the element's type, 1e-6 off in float32",
        f"{_RMSPROP}::test_one_minus_alpha_is_taken_before_it_is_rounded",
    ),
    Mutation(
        "csrc/cpu/rmsprop.cpp",
        "  if (c.weight_decay != 0) gradient += c.weight_decay * parameter;",
        "  gradient += c.weight_decay * parameter;",
        "0 times a parameter of Inf, added to the state",
        f"{_RMSPROP}::test_special_values_stay_special",
    ),
    Mutation(
        "csrc/cpu/rmsprop.cpp",
        "    store<T, Bytes>(slice.momentum_buffer + i, direction);\n  }\n"
        "  parameter -= c.learning_rate * direction;",
        "    store<T, Bytes>(slice.momentum_buffer + i, c.learning_rate * direction);\n  }\n"
        "  parameter -= c.learning_rate * direction;",
        "a buffer that holds the learning rate, as TensorFlow's does",
        f"{_RMSPROP}::test_every_option",
    ),
    Mutation(
        "csrc/cpu/weight_clip.cpp",
        "return x > high ? high : x;",
        "return x < high ? x : high;",
        "min with its operands exchanged: NaN becomes the bound",
        "tests/ops/test_weight_clip.py::test_any_values_and_shapes",
    ),
    Mutation(
        "csrc/cpu/multi_tensor.h",
        "mine.begin > first ? mine.begin - first : 0",
        "mine.begin > first ? mine.begin - first + 1 : 0",
        "a thread's share that begins one too late, which one thread never shows",
        "tests/ops/test_weight_clip.py::test_threads_give_the_same_bits "
        f"{_RMSPROP}::test_threads_give_the_same_bits",
    ),
    Mutation(
        "csrc/cpu/spectral_norm.cpp",
        "dot = 0;\n    for (int other = 0; other < team.size(); ++other) dot += sums[other * 8];",
        "dot = 0;\n    for (int other = 1; other < team.size(); ++other) dot += sums[other * 8];",
        "the team's sum without the first thread's",
        f"{_SPECTRAL}::test_large_weights_on_any_number_of_threads",
    ),
    Mutation(
        "csrc/cpu/spectral_norm.cpp",
        "swap ? v : u, swap ? u : v, gradients[i], sums.data());",
        "u, v, gradients[i], sums.data());",
        "u and v not exchanged in the backward of a weight that is stored transposed",
        f"{_SPECTRAL}::test_equals_the_definition",
    ),
    Mutation(
        "csrc/cpu/spectral_norm.cpp",
        "(sigma == 0 ? 0.0 : dot / sigma)",
        "(sigma == 0 ? 0.0 : dot)",
        "a missing 1/sigma in the backward's second term",
        f"{_SPECTRAL}::test_equals_the_definition",
    ),
    Mutation(
        "csrc/cpu/power_iteration.h",
        "return norm == 0 ? 0.0 : norm * (norm / divisor);",
        "return norm == 0 ? 0.0 : norm;",
        "sigma as the norm, though eps has divided instead",
        f"{_SPECTRAL}::test_sigma_is_the_product_with_u_and_v_even_where_eps_divides",
    ),
    Mutation(
        "csrc/cpu/power_iteration.h",
        "const double divisor = norm < epsilon ? epsilon : norm;",
        "const double divisor = norm + epsilon;",
        "eps added, where torch takes the larger",
        f"{_SPECTRAL}::test_eps_bounds_the_divisor_from_below",
    ),
    Mutation(
        "csrc/cpu/power_iteration.h",
        "if (norm != 0) divide(product, vector, range, divisor);",
        "divide(product, vector, range, divisor);",
        "u and v that a weight of zeros makes zeros for good",
        f"{_SPECTRAL}::test_zero_weight_gives_zeros_and_keeps_u_and_v",
    ),
    Mutation(
        "csrc/cpu/matrix_vector.h",
        "    for (; i < s.inner; ++i)\n      for (int k = 0; k < Rows; ++k) tails[k]",
        "    for (; i + 1 < s.inner; ++i)\n      for (int k = 0; k < Rows; ++k) tails[k]",
        "the last column of a row left out of its product",
        f"{_SPECTRAL}::test_equals_the_definition",
    ),
    Mutation(
        "csrc/cpu/simd.h",
        "      sums[k] += __builtin_convertvector(x, Vector<double, Bytes>) *\n"
        "                 __builtin_convertvector(y, Vector<double, Bytes>);",
        "      sums[k] += __builtin_convertvector(x * y, Vector<double, Bytes>);",
        "squares in float32, widened when their bits are lost",
        f"{_PENALTY}::test_neither_overflow_nor_underflow",
    ),
    Mutation(
        "csrc/cpu/gradient_penalty.cpp",
        "n == 0 ? 0.0 : 2.0 * excess / n,",
        "n == 0 ? 0.0 : excess / n,",
        "a missing factor 2 in the derivative of a square",
        f"{_PENALTY}::test_norms_of_every_size",
    ),
    Mutation(
        "csrc/cpu/gradient_penalty.cpp",
        "alpha[r / rows_per_group]",
        "alpha[r % groups]",
        "groups of neighbours taken for interleaved ones",
        f"{_PENALTY}::test_interpolates_of_every_size {_PENALTY}::test_any_shape",
    ),
    Mutation(
        "csrc/cpu/gradient_penalty.cpp",
        "kind == FW_PENALTY_ONE_SIDED && excess <= 0) excess = 0;",
        "kind == FW_PENALTY_ONE_SIDED && !(excess > 0)) excess = 0;",
        "a comparison turned round: NaN becomes a penalty of 0",
        f"{_PENALTY}::test_nan_in_a_row_is_seen_in_that_row_alone",
    ),
    Mutation(
        "csrc/cpu/gradient_penalty.cpp",
        "interpolates[i] = alpha * real[i] + beta * fake[i];",
        "interpolates[i] = beta * real[i] + alpha * fake[i];",
        "real and fake exchanged in the tail alone",
        f"{_PENALTY}::test_interpolates_of_every_size",
    ),
    Mutation(
        "csrc/cpu/gradient_penalty.cpp",
        "const double share = weight / static_cast<double>(rows);",
        "const double share = weight * weight / static_cast<double>(rows);",
        "the penalty's weight squared",
        f"{_PENALTY}::test_norms_of_every_size",
    ),
    Mutation(
        "csrc/cpu/bias_activation.cpp",
        "const T found = y[c] > 0 ? d[c] :",
        "const T found = y[c] >= 0 ? d[c] :",
        "≥ for > at ReLU's kink, in the tail alone",
        "tests/ops/test_bias_activation.py::test_derivative_and_sums",
    ),
    Mutation(
        "csrc/cpu/bias_activation.cpp",
        "const int64_t summed = summed_rows - mine.begin;",
        "const int64_t summed = summed_rows;",
        "the number of summed rows counted from each thread's first row",
        "tests/ops/test_bias_activation.py::test_threads_do_not_show_in_the_results",
    ),
    Mutation(
        "csrc/cpu/plain_rmsprop.cpp",
        "!same_layout(tensor, model)",
        "!same_shape(tensor, model)",
        "a state of other strides stepped as if it lay as the parameter",
        "tests/test_optim_plain.py::test_a_change_between_steps_is_noticed "
        "tests/test_optim.py::test_gradients_of_other_strides",
    ),
    Mutation(
        "csrc/cpu/plain_spectral_norm.cpp",
        "own != bits) || !row_major(tensors[i]) ||",
        "own != bits) ||",
        "a channels-last weight read as if it were contiguous",
        "tests/spectral/test_spectral.py::test_to_channels_last "
        "tests/spectral/test_spectral.py::test_weights_in_any_memory",
    ),
    Mutation(
        "csrc/cpu/patches.h",
        "(y * window.width + place.left + first) * window.channels,",
        "(y * window.width + place.left) * window.channels,",
        "the offset of a patch that begins outside of its sample forgotten",
        "tests/ops/test_feedforward_critic.py",
    ),
    Mutation(
        "csrc/cpu/feedforward_sums.h",
        "finish = {sum.results, depth, sum.is_first};",
        "finish = {sum.results, depth, true};",
        "each block of rows written over the sum of those before it",
        "tests/ops/test_feedforward_critic.py",
    ),
    Mutation(
        "csrc/cpu/feedforward_critic.cpp",
        "layer.cotangents : given.seeds + first * layer.elements();",
        "layer.cotangents : given.seeds;",
        "the penalty's rows given the seeds of the loss's",
        "tests/ops/test_feedforward_critic.py",
    ),
    Mutation(
        "csrc/cpu/spectral_norm.cpp",
        "    char* at = memory.get();\n",
        "    static char kept[1 << 22];\n"
        "    char* at = stride * team < (1 << 21) ? kept : memory.get();\n",
        "one workspace for all calls, though two threads can be inside",
        _INSIDE,
    ),
    Mutation(
        "csrc/cpu/plain_feedforward_critic.cpp",
        "    next_ = static_cast<T*>(block_.data);\n",
        "    alignas(64) static char kept[1 << 24];\n"
        "    next_ = static_cast<T*>(sum * int64_t{sizeof(T)} < (1 << 24) ? kept : block_.data);\n",
        "one workspace for all calls, though two threads can be inside",
        _INSIDE,
    ),
    Mutation(
        "csrc/cpu/bias_activation.cpp",
        "differentiate_blocks<T>(part, static_cast<T>(slope), block, block + columns);",
        "{\n"
        "      static T kept[1 << 12];\n"
        "      T* const sums = columns <= (1 << 12) ? kept : block;\n"
        "      differentiate_blocks<T>(part, static_cast<T>(slope), sums, block + columns);\n"
        "    }",
        "one block of sums for all calls, though two threads can be inside",
        _INSIDE,
    ),
)
