// One RMSprop step for every parameter, with clipping in the same pass (torch.optim.RMSprop's
// arithmetic, Hinton's lecture 6e with torch's centered and momentum forms).
//
//   g = maximize ? -gradient : gradient
//   weight_decay != 0: g += weight_decay * parameter
//   square_average = alpha * square_average + (1 - alpha) * g^2
//   centered: gradient_average += (1 - alpha) * (g - gradient_average)
//   d = g / (sqrt(square_average [- gradient_average^2]) + epsilon)
//   momentum > 0: momentum_buffer = d = momentum * momentum_buffer + d
//   parameter = clip(parameter - learning_rate * d, weight_clip)
//
// Each of the pointer arrays is [count]; tensor i of each has sizes[i] elements and none overlap.
// momentum_buffers may be null when momentum is 0, gradient_averages when not centered. weight_clip
// is above zero, infinity for no clipping; NaN stays NaN. Any number of threads gives the same
// result.
#pragma once

#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fw_rmsprop_options {
  double learning_rate, alpha, epsilon, weight_decay, momentum, weight_clip;
  int centered, maximize;
} fw_rmsprop_options;

int fw_rmsprop_f32(float* const* parameters, const float* const* gradients,
                   float* const* square_averages, float* const* momentum_buffers,
                   float* const* gradient_averages, const int64_t* sizes, int64_t count,
                   const fw_rmsprop_options* options, int threads);
int fw_rmsprop_f64(double* const* parameters, const double* const* gradients,
                   double* const* square_averages, double* const* momentum_buffers,
                   double* const* gradient_averages, const int64_t* sizes, int64_t count,
                   const fw_rmsprop_options* options, int threads);

#ifdef __cplusplus
}
#endif
