// Spectral normalisation of a group of weights: power iteration, sigma, division, and the backward.
//
// A weight is contiguous memory [outer, rows, inner]: the tensor's shape with the normalised
// dimension in the middle. Its matrix W is [rows, cols], cols = outer * inner, column o * inner +
// i. u is [rows], v is [cols]. Weights, outputs and vectors must not overlap one another.
//
// A norm, and a quotient by sigma, is right to rounding wherever it is itself a normal number: no
// square and no inverse on the way leaves the range. NaN and Inf in a weight reach sigma and the
// output. sigma == 0 gives an output of zeros and a gradient of zeros. Results repeat bit for bit
// for a fixed number of threads and instruction set.
#pragma once

#include <stdint.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fw_spectral_norm_layer {
  const void* weight;  // [outer, rows, inner]
  void* u;             // [rows], updated in place when iterations > 0
  void* v;             // [outer * inner], likewise
  int64_t outer, rows, inner;
} fw_spectral_norm_layer;

typedef struct fw_spectral_norm_options {
  int64_t iterations;  // 0: sigma = u^T W v with u, v as they are
  int u_first;         // 0: v <- W^T u, then u <- W v, each normalised; 1: u first, then v
  double epsilon;      // a vector is divided by max(its norm, epsilon); a zero vector is not taken
} fw_spectral_norm_options;

// normalised [count] pointers to [outer, rows, inner]; sigma [count]; vectors [sum of rows + cols]:
// the u and then the v of each layer as this call leaves them.
int fw_spectral_norm_forward_f32(const fw_spectral_norm_layer* layers, float* const* normalised,
                                 float* sigma, float* vectors, int64_t count,
                                 const fw_spectral_norm_options* options, int threads);
int fw_spectral_norm_forward_f64(const fw_spectral_norm_layer* layers, double* const* normalised,
                                 double* sigma, double* vectors, int64_t count,
                                 const fw_spectral_norm_options* options, int threads);

// gradients = (G - <G, normalised> u v^T) / sigma + sigma_cotangents[i] u v^T, with u and v from
// `vectors`. sigma_cotangents may be null. Of `layers` only the sizes are read. gradients [count]
// may be the same memory as cotangents [count], pairwise.
int fw_spectral_norm_backward_f32(const fw_spectral_norm_layer* layers,
                                  const float* const* cotangents, const float* const* normalised,
                                  const float* sigma, const float* sigma_cotangents,
                                  const float* vectors, float* const* gradients, int64_t count,
                                  int threads);
int fw_spectral_norm_backward_f64(const fw_spectral_norm_layer* layers,
                                  const double* const* cotangents, const double* const* normalised,
                                  const double* sigma, const double* sigma_cotangents,
                                  const double* vectors, double* const* gradients, int64_t count,
                                  int threads);

#ifdef __cplusplus
}
#endif
