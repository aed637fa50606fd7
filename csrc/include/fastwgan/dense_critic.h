// A fully connected critic: its scores, and the gradients of loss and gradient penalty together.
//
// Layer l takes inputs [rows, inputs] to mask * act(inputs weight^T + bias), act(x) = x > 0 ? x :
// slope * x. The first rows are the loss's, the others the penalty's: for `seeds` s and `start` v
// the three calls in turn give, of every weight and bias,
//   d/dweight (sum over loss rows of <s, scores> + sum over the others of <s, J v>),
// J v the movement of the scores when the inputs move by v. The critic is piecewise linear, so that
// nothing else depends on the weights where v is the penalty's derivative by J^T s.
#pragma once

#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fw_dense_layer {
  const void* weight;  // [outputs, inputs], contiguous
  const void* bias;    // [outputs], or null
  const void* mask;    // [rows, outputs], a factor of the activation, or null for ones
  int64_t inputs, outputs;
  double slope;  // not negative; 1 for no activation
} fw_dense_layer;

// Elements of the workspace that the calls of one step share; -1 for arguments that do not fit:
// layers [count >= 1], the outputs of each the inputs of the next; rows, threads >= 1.
int64_t fw_dense_critic_workspace(const fw_dense_layer* layers, int64_t count, int64_t rows,
                                  int threads);

// scores [rows, outputs of the last layer] of the samples [rows, inputs of the first]. NaN in a row
// stays in that row. The same `threads`, rows and instruction set go into all calls of a step;
// results do not depend on their number.
int fw_dense_critic_forward_f32(const fw_dense_layer* layers, int64_t count, const float* samples,
                                int64_t rows, float* workspace, float* scores, int threads);
int fw_dense_critic_forward_f64(const fw_dense_layer* layers, int64_t count, const double* samples,
                                int64_t rows, double* workspace, double* scores, int threads);

// gradient [rows - first_row, inputs]: J^T seeds, seeds as the scores, at the rows from first_row.
int fw_dense_critic_transpose_f32(const fw_dense_layer* layers, int64_t count, const float* seeds,
                                  int64_t rows, int64_t first_row, float* workspace,
                                  float* gradient, int threads);
int fw_dense_critic_transpose_f64(const fw_dense_layer* layers, int64_t count, const double* seeds,
                                  int64_t rows, int64_t first_row, double* workspace,
                                  double* gradient, int threads);

// weight_gradients, bias_gradients [count]: pointers as weight and bias, null for one not wanted.
// samples and seeds as before; start [rows - loss_rows, inputs]. Comes after transpose, and leaves
// the workspace of no further use.
int fw_dense_critic_gradients_f32(const fw_dense_layer* layers, int64_t count, const float* samples,
                                  const float* seeds, const float* start, int64_t rows,
                                  int64_t loss_rows, float* workspace,
                                  float* const* weight_gradients, float* const* bias_gradients,
                                  int threads);
int fw_dense_critic_gradients_f64(const fw_dense_layer* layers, int64_t count,
                                  const double* samples, const double* seeds, const double* start,
                                  int64_t rows, int64_t loss_rows, double* workspace,
                                  double* const* weight_gradients, double* const* bias_gradients,
                                  int threads);

#ifdef __cplusplus
}
#endif
