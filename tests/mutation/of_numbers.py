"""Mistakes in the last digits and at the ends of the range, which tests/numerics must notice."""

from __future__ import annotations

from tests.mutation.mutation import Mutation

_ULPS = "tests/numerics/test_ulps.py"
_RANGE = "tests/numerics/test_range.py"

MUTATIONS = (
    Mutation(
        "csrc/cpu/gradient_penalty.cpp",
        "*sum = exact_dot<T, Bytes>(row, row, size);",
        "*sum = blocked_dot<T, Bytes>(row, row, size);",
        "float32's squares summed in float32",
        f"{_RANGE}::test_float32_norms_by_kernels_are_rounded_once",
    ),
    Mutation(
        "csrc/cpu/gradient_penalty.cpp",
        "if (sum != sum || (sum >= 1e-280 && sum <= std::numeric_limits<double>::max()))",
        "if (sum != sum || sum >= 0)",
        "a norm of doubles without the scale that keeps their squares in range",
        f"{_ULPS}::test_errors_in_units_in_the_last_place -k gradient_penalty",
    ),
    Mutation(
        "csrc/cpu/gradient_penalty.cpp",
        "if (std::fabs(factor) <= static_cast<double>(std::numeric_limits<T>::max()))",
        "if (std::fabs(factor) >= 0)",
        "a factor above the range, though its product with the row is not",
        f"{_RANGE}::test_cotangent_at_a_norm_whose_inverse_is_out_of_range",
    ),
    Mutation(
        "csrc/cpu/power_iteration.h",
        "square != square || (square >= 1e-280 && square <= 1e300))",
        "square != square || square >= 0)",
        "sigma of doubles without the scale that keeps their squares in range",
        f"{_RANGE}::test_spectral_norm_of_scaled_weights",
    ),
    Mutation(
        "csrc/cpu/power_iteration.h",
        "if (!(square > low && square < high && norm > epsilon)) {",
        "if (!(norm > epsilon)) {",
        "two half-steps in one reading where S^T S b is out of range",
        f"{_RANGE}::test_spectral_norm_of_scaled_weights",
    ),
    Mutation(
        "csrc/cpu/spectral_norm.cpp",
        "if (std::isnormal(factor) || std::isinf(sigma)) return;",
        "if (factor != 0) return;",
        "an inverse of sigma that is infinite or subnormal, used as it is",
        f"{_RANGE}::test_sigma_whose_inverse_is_no_normal_number",
    ),
    Mutation(
        "csrc/cpu/rmsprop.cpp",
        "epsilon(static_cast<T>(options.epsilon))",
        "epsilon(static_cast<T>(options.epsilon * options.epsilon))",
        "eps squared, as beside an average that has not been rooted",
        f"{_ULPS}::test_errors_in_units_in_the_last_place -k rmsprop",
    ),
    Mutation(
        "csrc/cpu/bias_activation.cpp",
        "constexpr int64_t block_rows = 256;",
        "constexpr int64_t block_rows = int64_t{1} << 40;",
        "rows summed one after another, without blocks",
        f"{_ULPS}::test_sums_of_many_equal_rows",
    ),
    Mutation(
        "fastwgan/ops/gradient_penalty/reference.py",
        "scale = torch.where(usable, largest, 1)",
        "scale = torch.ones_like(largest)",
        "the reference's norm without its scale",
        f"{_RANGE}::test_penalty_of_gradients_whose_squares_float32_lacks",
    ),
)
