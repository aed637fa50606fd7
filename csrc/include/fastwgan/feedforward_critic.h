// A feed-forward critic: layers one after another, dense or convolutions; its scores, and the
// gradients of loss and gradient penalty together.
//
// A layer takes samples [height, width, channels] to [out_height, out_width, outputs],
//   mask * act(conv(x, weight) + bias),  act(z) = z > 0 ? z : slope * z,
// out_height = (height + 2 padding - kernel_height) / stride + 1. A dense layer has one position:
// height = width = kernel = 1, or a kernel that covers its input. All samples and activations are
// channels-last, weights and masks in torch's order.
//
// The first loss_rows rows are the loss's, the others the penalty's. With `seeds` s and `start` v,
// forward, backward and tangent in turn give, of every weight and bias,
//   d/dweight (sum over loss rows of <s, scores> + sum over the others of <s, J v>),
// J v the movement of the scores when samples move by v. The critic is piecewise linear: nothing
// else depends on the weights where v is the penalty's derivative by J^T s.
#pragma once

#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fw_feedforward_layer {
  const void* weight;  // [outputs, channels, kernel_height, kernel_width], contiguous
  const void* bias;    // [outputs], or null
  const void* mask;  // [rows, outputs], factors, not negative, of outputs of one position; or null
  int64_t channels, height, width, outputs, kernel_height, kernel_width;
  int64_t stride_height, stride_width, padding_height, padding_width;
  double slope;  // not negative; 1 for no activation, as the last layer's, which has no mask
} fw_feedforward_layer;

typedef struct fw_feedforward_step {
  const fw_feedforward_layer* layers;  // [count]; the outputs of each are the inputs of the next
  int64_t count, rows, loss_rows;      // count, rows >= 1; 0 <= loss_rows <= rows
  void* workspace;                     // of fw_feedforward_critic_workspace elements
  int threads;                         // results do not depend on it
} fw_feedforward_step;

// Elements of the workspace that the calls of one step share; -1 for a step that is not valid, or
// of sizes above what 64 bits can count. The calls below then return FW_INVALID_ARGUMENT and have
// written nothing. Nothing that is written may overlap anything else.
int64_t fw_feedforward_critic_workspace(const fw_feedforward_step* step);

// scores [rows, positions, outputs of the last layer] of samples [rows, height, width, channels].
// NaN in a row stays in that row. All calls of a step run with the same instruction set.
int fw_feedforward_critic_forward_f32(const fw_feedforward_step* step, const float* samples,
                                      float* scores);
int fw_feedforward_critic_forward_f64(const fw_feedforward_step* step, const double* samples,
                                      double* scores);

// seeds as the scores. weight_gradients, bias_gradients [count]: as weight and bias, null for one
// not wanted; gets the loss rows' share, which for weights is complete after tangent. gradient: J^T
// seeds at the rows from loss_rows on, or at all if of_all, as samples.
int fw_feedforward_critic_backward_f32(const fw_feedforward_step* step, const float* samples,
                                       const float* seeds, int of_all,
                                       float* const* weight_gradients, float* const* bias_gradients,
                                       float* gradient);
int fw_feedforward_critic_backward_f64(const fw_feedforward_step* step, const double* samples,
                                       const double* seeds, int of_all,
                                       double* const* weight_gradients,
                                       double* const* bias_gradients, double* gradient);

// The penalty's share of weight_gradients. If `adds`, which loss rows ask for, it is added to what
// the backward of this step, or of another with the same layers, left there: between the two calls
// they are in an order of the kernels' own. start: as samples from row loss_rows on. Leaves the
// workspace of no further use.
int fw_feedforward_critic_tangent_f32(const fw_feedforward_step* step, const float* seeds,
                                      const float* start, int adds, float* const* weight_gradients);
int fw_feedforward_critic_tangent_f64(const fw_feedforward_step* step, const double* seeds,
                                      const double* start, int adds,
                                      double* const* weight_gradients);

#ifdef __cplusplus
}
#endif
