// The one seam between kernels and what runs them: nvcc's launch, or the tests' emulator.
#pragma once

#include <cstdint>

#include "fastwgan/cuda.h"

#if defined(FASTWGAN_CUDA_EMULATOR)
#include "cuda_emulator.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

namespace fastwgan {

constexpr int warp_size = 32;
constexpr int block_threads = 256;  // of every kernel

inline int status_of(cudaError_t error) {
  return error == cudaSuccess ? int{FW_OK} : FW_CUDA_ERROR + static_cast<int>(error);
}

// Makes a device current and puts back the one that was.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    if (device < 0) return;
    status_ = status_of(cudaGetDevice(&before_));
    if (status_ == FW_OK && before_ != device) {
      status_ = status_of(cudaSetDevice(device));
      moved_ = status_ == FW_OK;
    }
  }
  ~DeviceGuard() {
    if (moved_) cudaSetDevice(before_);
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;
  int status() const { return status_; }

 private:
  int status_ = FW_OK, before_ = 0;
  bool moved_ = false;
};

// Dynamic shared memory, aligned to 16 bytes.
template <class T>
__device__ T* dynamic_shared() {
#if defined(FASTWGAN_CUDA_EMULATOR)
  return static_cast<T*>(cuda_emulator::dynamic_shared_memory());
#else
  extern __shared__ __align__(16) unsigned char fastwgan_dynamic_shared[];
  return reinterpret_cast<T*>(fastwgan_dynamic_shared);
#endif
}

template <class T>
struct Same {
  using type = T;
};

// Runs `kernel` on `blocks` blocks of block_threads; none is fine.
template <class... Parameters>
int launch(void (*kernel)(Parameters...), int64_t blocks, int64_t shared_bytes,
           [[maybe_unused]] void* stream, typename Same<Parameters>::type... arguments) {
  if (blocks == 0) return FW_OK;
  if (blocks > INT32_MAX) return FW_INVALID_ARGUMENT;
#if defined(FASTWGAN_CUDA_EMULATOR)
  return status_of(
      cuda_emulator::run(blocks, block_threads, shared_bytes, [&] { kernel(arguments...); }));
#else
  // clang-format off
  kernel<<<static_cast<unsigned>(blocks), block_threads, static_cast<size_t>(shared_bytes),
           static_cast<cudaStream_t>(stream)>>>(arguments...);
  // clang-format on
  return status_of(cudaGetLastError());
#endif
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace fastwgan
