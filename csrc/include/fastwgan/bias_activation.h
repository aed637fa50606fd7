// A layer's bias and LeakyReLU forward, and the activation's derivative with the bias's gradient.
#pragma once

#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

// values[r, c] = act(values[r, c] + bias[c]), act(x) = x > 0 ? x : slope * x; in place.
// values [rows, columns], contiguous; bias [columns], or null for none; slope >= 0. NaN stays NaN;
// with slope 0 all else not above 0 is 0. Any number of threads gives the same result.
int fw_bias_activation_forward_f32(float* values, const float* bias, int64_t rows, int64_t columns,
                                   double slope, int threads);
int fw_bias_activation_forward_f64(double* values, const double* bias, int64_t rows,
                                   int64_t columns, double slope, int threads);

// results[r, c] = cotangents[r, c] * (outputs[r, c] > 0 ? 1 : slope), and
// bias_gradient[c] = sum over r < summed_rows of results[r, c].
// cotangents, outputs, results [rows, columns], contiguous; results may be the memory of either of
// the others. bias_gradient [columns], or null for none; it overlaps nothing. With
// slope 0 the factor 0 makes 0 of any cotangent. Results are the same for any number of threads,
// sums for a fixed one.
int fw_bias_activation_backward_f32(const float* cotangents, const float* outputs, float* results,
                                    int64_t rows, int64_t columns, double slope,
                                    int64_t summed_rows, float* bias_gradient, int threads);
int fw_bias_activation_backward_f64(const double* cotangents, const double* outputs,
                                    double* results, int64_t rows, int64_t columns, double slope,
                                    int64_t summed_rows, double* bias_gradient, int threads);

#ifdef __cplusplus
}
#endif
