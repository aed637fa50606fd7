// As much of CUDA as csrc/cuda uses, on the host: the threads of a block are fibers of one thread.
//
// Blocks run one after the other, threads in an order that a seed shuffles; a thread runs until it
// ends or waits at a barrier or a warp's collective. What would be undefined on a device is a fault
// that ends the launch with an error and a sentence: threads of a block at different barriers or
// past them, lanes of a warp at different collectives, a shuffle from a lane that is not there.
#pragma once

#include <math.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static  // one copy: blocks run one at a time

struct EmulatedIndex {
  unsigned x = 0, y = 0, z = 0;
};
extern EmulatedIndex threadIdx, blockIdx, blockDim, gridDim;

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidDevice = 101, cudaErrorLaunchFailure = 719 };
using cudaStream_t = void*;
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };

cudaError_t cudaGetDevice(int* device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind);

namespace cuda_emulator {

cudaError_t run(int64_t blocks, int threads, int64_t shared_bytes,
                const std::function<void()>& thread);
void* dynamic_shared_memory();

enum class Collective { barrier, shuffle, vote };
// Waits for every lane of `mask`, then returns what each of the 32 brought.
const uint64_t* meet(unsigned mask, Collective kind, int line, uint64_t value);
void block_barrier(int line);
int lane();
void check_source(unsigned mask, int source, int line);

template <class T>
uint64_t as_bits(T value) {
  static_assert(sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}
template <class T>
T from_lane(unsigned mask, T value, int source, int line) {
  const uint64_t* values = meet(mask, Collective::shuffle, line, as_bits(value));
  check_source(mask, source, line);
  T result;
  std::memcpy(&result, values + source, sizeof result);
  return result;
}

}  // namespace cuda_emulator

inline void __syncthreads(int line = __builtin_LINE()) { cuda_emulator::block_barrier(line); }
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) {
  cuda_emulator::meet(mask, cuda_emulator::Collective::barrier, line, 0);
}

// A width below 32 divides the warp into parts of their own, as on the device.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, int line = __builtin_LINE()) {
  const int first = cuda_emulator::lane() / width * width;
  return cuda_emulator::from_lane(mask, value, first + source % width, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, int line = __builtin_LINE()) {
  const int own = cuda_emulator::lane(), first = own / width * width;
  const int source = own ^ bits;
  return cuda_emulator::from_lane(mask, value, source < first + width ? source : own, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32,
                   int line = __builtin_LINE()) {
  const int own = cuda_emulator::lane(), end = own / width * width + width;
  const int source = own + static_cast<int>(distance);
  return cuda_emulator::from_lane(mask, value, source < end ? source : own, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32,
                 int line = __builtin_LINE()) {
  const int own = cuda_emulator::lane(), first = own / width * width;
  const int source = own - static_cast<int>(distance);
  return cuda_emulator::from_lane(mask, value, source >= first ? source : own, line);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  const uint64_t* votes =
      cuda_emulator::meet(mask, cuda_emulator::Collective::vote, line, predicate != 0);
  unsigned ballot = 0;
  for (int i = 0; i < 32; ++i)
    if ((mask >> i & 1u) != 0 && votes[i] != 0) ballot |= 1u << i;
  return ballot;
}
inline int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return __ballot_sync(mask, predicate, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return __ballot_sync(mask, predicate, line) == mask;
}

// Fibers switch at waits alone, so a plain read and write is atomic.
template <class T>
T atomicAdd(T* address, T value) {
  const T before = *address;
  *address = before + value;
  return before;
}
template <class T>
T atomicMax(T* address, T value) {
  const T before = *address;
  if (value > before) *address = value;
  return before;
}
template <class T>
T atomicExch(T* address, T value) {
  const T before = *address;
  *address = value;
  return before;
}
template <class T>
T atomicCAS(T* address, T expected, T value) {
  const T before = *address;
  if (before == expected) *address = value;
  return before;
}
inline void __threadfence() {}

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};

struct __nv_bfloat16 {
  uint16_t bits;
};
struct __half {
  _Float16 value;
};

inline float __bfloat162float(__nv_bfloat16 x) {
  const uint32_t bits = uint32_t{x.bits} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline __nv_bfloat16 __float2bfloat16(float x) {  // to the nearest, ties to even
  if (x != x) return {0x7fff};
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}
inline float __half2float(__half x) { return static_cast<float>(x.value); }
inline __half __float2half(float x) { return {static_cast<_Float16>(x)}; }
