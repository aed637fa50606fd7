// Sums over a warp and over a block, in an order that depends on nothing but the thread's number.
#pragma once

#include "numbers.cuh"

namespace fastwgan {

constexpr unsigned whole_warp = 0xffffffffu;
constexpr int warps_of_block = block_threads / warp_size;

template <class T>
__device__ inline T warp_sum(T value) {
  for (int distance = warp_size / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(whole_warp, value, distance);
  return value;  // the same bits in every lane: addition commutes
}

template <class T>
__device__ inline T warp_max(T value) {
  for (int distance = warp_size / 2; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(whole_warp, value, distance);
    value = other > value ? other : value;
  }
  return value;
}

// The sum over the block, in every thread. `shared` [warps_of_block] may be used again at once.
template <class T>
__device__ inline T block_sum(T value, T* shared) {
  const T own = warp_sum(value);
  __syncthreads();
  if (threadIdx.x % warp_size == 0) shared[threadIdx.x / warp_size] = own;
  __syncthreads();
  T sum = shared[0];
  for (int warp = 1; warp < warps_of_block; ++warp) sum += shared[warp];
  return sum;
}

template <class T>
__device__ inline T block_max(T value, T* shared) {
  const T own = warp_max(value);
  __syncthreads();
  if (threadIdx.x % warp_size == 0) shared[threadIdx.x / warp_size] = own;
  __syncthreads();
  T largest = shared[0];
  for (int warp = 1; warp < warps_of_block; ++warp)
    largest = shared[warp] > largest ? shared[warp] : largest;
  return largest;
}

}  // namespace fastwgan
