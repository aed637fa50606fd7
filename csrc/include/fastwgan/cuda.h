// The CUDA backend's C ABI. What an operation computes, and its rules for NaN, zero and aliasing,
// stand in the header of its name; here stands what differs from the CPU.
//
// Every pointer to numbers is device memory, of any alignment a tensor of the dtype can have; lists
// of pointers and sizes are host memory, read before the call returns. `device` is made current for
// the call (-1: the one that is) and `stream` is a cudaStream_t. No call waits for the device or
// allocates: scratch memory is the caller's, uninitialised. So every call can be captured in a
// graph. Halves are computed in float and rounded once; `wide` is float for halves, else the dtype.
//
// Calls return FW_OK, FW_INVALID_ARGUMENT with nothing launched, or FW_CUDA_ERROR plus the number
// of the runtime's error.
#pragma once

#include <stdint.h>

#include "rmsprop.h"
#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FW_CUDA_ERROR 1000

typedef enum fw_dtype { FW_F32 = 0, FW_F64 = 1, FW_BF16 = 2, FW_F16 = 3 } fw_dtype;

// Versions as 1000 * major + 10 * minor; the driver's is 0 where there is none.
int fw_cuda_driver_version(void);
int fw_cuda_runtime_version(void);
int fw_cuda_device_count(void);
const char* fw_cuda_error_text(int status);  // of a status above FW_CUDA_ERROR

// Copies host memory to device memory by way of kernel parameters: no host memory needs to outlive
// the call, and a graph that captures it holds the bytes. `bytes` is a multiple of 8.
int fw_cuda_upload(const void* from, int64_t bytes, void* to, int device, void* stream);

// Multi-tensor calls take `table`: null while fw_cuda_table_bytes is 0, since few tensors travel as
// kernel parameters; else device memory of so many bytes, uploaded from what fw_cuda_table_fill
// writes. `lists` is how many pointers a tensor has: 1 for clipping, 5 for RMSprop, in its order.
int64_t fw_cuda_table_bytes(int lists, int64_t count);
int fw_cuda_table_fill(const void* const* const* pointers, int lists, const int64_t* sizes,
                       int64_t count, void* table);

int fw_cuda_weight_clip(void* const* tensors, const int64_t* sizes, int64_t count, int dtype,
                        double bound, const void* table, int device, void* stream);

int fw_cuda_rmsprop(void* const* parameters, const void* const* gradients,
                    void* const* square_averages, void* const* momentum_buffers,
                    void* const* gradient_averages, const int64_t* sizes, int64_t count, int dtype,
                    const fw_rmsprop_options* options, const void* table, int device, void* stream);

// alpha is wide.
int fw_cuda_gradient_penalty_interpolate(const void* real, const void* fake, const void* alpha,
                                         void* interpolates, int64_t rows, int64_t size,
                                         int64_t groups, int dtype, int device, void* stream);

// penalty, norms and cotangent are wide; the cotangent is not null, and is gradient's memory at
// most where the dtype is wide itself. scratch: fw_cuda_gradient_penalty_scratch bytes, aligned to
// 16. Two launches.
int64_t fw_cuda_gradient_penalty_scratch(int64_t rows, int64_t size);
int fw_cuda_gradient_penalty_norm(const void* gradient, int64_t rows, int64_t size, int dtype,
                                  int kind, double target, double weight, void* penalty,
                                  void* norms, void* cotangent, void* scratch, int device,
                                  void* stream);

int fw_cuda_bias_activation_forward(void* values, const void* bias, int64_t rows, int64_t columns,
                                    int dtype, double slope, int device, void* stream);

// scratch: fw_cuda_bias_activation_scratch bytes, read only with a bias_gradient.
int64_t fw_cuda_bias_activation_scratch(int64_t rows, int64_t columns, int dtype);
int fw_cuda_bias_activation_backward(const void* cotangents, const void* outputs, void* results,
                                     int64_t rows, int64_t columns, int dtype, double slope,
                                     int64_t summed_rows, void* bias_gradient, void* scratch,
                                     int device, void* stream);

// A group's plan: where each layer's tiles, sums and vectors lie. It depends on `extents` [count,
// 3], the outer, rows and inner of every layer, and on the dtype alone; it is filled once into host
// memory of fw_cuda_spectral_norm_plan_bytes, and uploaded once. `totals` is what the calls below
// need of it on the host.
typedef struct fw_cuda_spectral_norm_totals {
  int64_t layers;
  int64_t tiles[2];    // of the half-steps that make v and u
  int64_t flat_tiles;  // of the division, and of the backward
  int64_t vectors;     // numbers in all u and v
  int64_t scratch;     // bytes, aligned to 16
} fw_cuda_spectral_norm_totals;

int64_t fw_cuda_spectral_norm_plan_bytes(int64_t count);
int fw_cuda_spectral_norm_plan(const int64_t* extents, int64_t count, int dtype, void* plan,
                               fw_cuda_spectral_norm_totals* totals);

// pointers [count, 4], host: weight, u, v, normalised; u, v, sigma, vectors are wide. `table`:
// null up to fw_cuda_spectral_norm_by_value layers, else the pointers in device memory.
// 2 * iterations + 2 launches, 3 without an iteration.
int64_t fw_cuda_spectral_norm_by_value(void);
int fw_cuda_spectral_norm_forward(const void* const* pointers,
                                  const fw_cuda_spectral_norm_totals* totals, int dtype,
                                  int64_t iterations, int u_first, double epsilon, const void* plan,
                                  void* sigma, void* vectors, void* scratch, const void* table,
                                  int device, void* stream);

// pointers [count, 4], host: cotangent, normalised, gradient, anything. sigma_cotangents may be
// null; a gradient may be its cotangent's memory. Two launches.
int fw_cuda_spectral_norm_backward(const void* const* pointers,
                                   const fw_cuda_spectral_norm_totals* totals, int dtype,
                                   const void* plan, const void* sigma,
                                   const void* sigma_cotangents, const void* vectors, void* scratch,
                                   const void* table, int device, void* stream);

#ifdef __cplusplus
}
#endif
