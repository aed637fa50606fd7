// Element types, what they are computed in, and 16-byte packs of them.
#pragma once

#include "launch.cuh"

namespace fastwgan {

template <class T>
struct WideOf {
  using type = T;
};
template <>
struct WideOf<__nv_bfloat16> {
  using type = float;
};
template <>
struct WideOf<__half> {
  using type = float;
};
template <class T>
using Wide = typename WideOf<T>::type;

__host__ __device__ inline float widened(float x) { return x; }
__host__ __device__ inline double widened(double x) { return x; }
__host__ __device__ inline float widened(__nv_bfloat16 x) { return __bfloat162float(x); }
__host__ __device__ inline float widened(__half x) { return __half2float(x); }

template <class T>
__host__ __device__ inline T narrowed(Wide<T> x) {
  return x;
}
template <>
__host__ __device__ inline __nv_bfloat16 narrowed<__nv_bfloat16>(float x) {
  return __float2bfloat16(x);
}
template <>
__host__ __device__ inline __half narrowed<__half>(float x) {
  return __float2half(x);
}

// The number that a tensor of T would hold, as torch rounds it.
template <class T>
Wide<T> rounded_to(double x) {
  return widened(narrowed<T>(static_cast<Wide<T>>(x)));
}

constexpr int pack_bytes = 16;
template <class T>
constexpr int lanes_of = pack_bytes / static_cast<int>(sizeof(T));

template <class T, int N>
struct alignas(sizeof(T) * N < pack_bytes ? sizeof(T) * N : pack_bytes) Pack {
  T values[N];
};

template <int N, class T>
__device__ inline Pack<T, N> load(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}
template <class T, int N>
__device__ inline void store(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

__host__ __device__ inline bool is_aligned(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % pack_bytes == 0;
}

// Quotient and remainder of first + offset by size, the first known to lie in [0, size): a division
// of 32 bits where it can be, since one of 64 takes as long as a cache miss.
struct Position {
  uint64_t quotient, remainder;
};
__device__ inline Position position(uint64_t first, uint32_t offset, uint64_t size) {
  const uint64_t at = first + offset;
  if (size > UINT32_MAX / 2) return at >= size ? Position{1, at - size} : Position{0, at};
  const uint32_t quotient = static_cast<uint32_t>(at) / static_cast<uint32_t>(size);
  return {quotient, static_cast<uint32_t>(at) - quotient * static_cast<uint32_t>(size)};
}

// Calls body(T{}) for the type of a dtype; an unknown one is an invalid argument.
template <class Body>
int for_dtype(int dtype, const Body& body) {
  switch (dtype) {
    case FW_F32:
      return body(float{});
    case FW_F64:
      return body(double{});
    case FW_BF16:
      return body(__nv_bfloat16{});
    case FW_F16:
      return body(__half{});
    default:
      return FW_INVALID_ARGUMENT;
  }
}

}  // namespace fastwgan
