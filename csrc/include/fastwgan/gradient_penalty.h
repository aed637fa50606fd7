// The gradient penalty's own arithmetic: the points it is taken at, and from the gradient there its
// norms, the penalty and the cotangent d penalty / d gradient.
#pragma once

#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fw_penalty_kind {
  FW_PENALTY_TWO_SIDED = 0,  // phi(n) = (n - target)^2          WGAN-GP, DRAGAN
  FW_PENALTY_ONE_SIDED = 1,  // phi(n) = max(0, n - target)^2    WGAN-LP
  FW_PENALTY_SQUARE = 2,     // phi(n) = n^2                     R1, R2
} fw_penalty_kind;

// interpolates[r, i] = alpha[r / (rows / groups)] * real[r, i] + (1 - alpha[..]) * fake[r, i]
// real, fake, interpolates [rows, size], contiguous; alpha [groups], groups divides rows.
int fw_gradient_penalty_interpolate_f32(const float* real, const float* fake, const float* alpha,
                                        float* interpolates, int64_t rows, int64_t size,
                                        int64_t groups, int threads);
int fw_gradient_penalty_interpolate_f64(const double* real, const double* fake, const double* alpha,
                                        double* interpolates, int64_t rows, int64_t size,
                                        int64_t groups, int threads);

// norms[r] = |gradient[r, :]|, penalty[0] = weight * mean over r of phi(norms[r]) and
// cotangent[r, :] = weight / rows * phi'(norms[r]) / norms[r] * gradient[r, :], 0 where the norm is
// 0. gradient, cotangent [rows, size], contiguous; norms [rows]; cotangent may be null, and may be
// gradient's own memory. A norm is exact to rounding wherever it is itself finite and normal.
// rows == 0: the penalty is NaN, as the mean of nothing. Any number of threads gives the same
// result.
int fw_gradient_penalty_norm_f32(const float* gradient, int64_t rows, int64_t size, int kind,
                                 double target, double weight, float* penalty, float* norms,
                                 float* cotangent, int threads);
int fw_gradient_penalty_norm_f64(const double* gradient, int64_t rows, int64_t size, int kind,
                                 double target, double weight, double* penalty, double* norms,
                                 double* cotangent, int threads);

#ifdef __cplusplus
}
#endif
