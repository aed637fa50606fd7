// Vectors of a fixed number of lanes by the compiler's vector extension: one source for every
// instruction set. A width wider than the target's registers is split by the compiler, so results
// depend on the width alone.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "capabilities.h"

#if FW_X86
#include <emmintrin.h>
#endif

namespace fastwgan {

template <class T, int Bytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(Bytes)));
};
template <class T, int Bytes>
using Vector = typename VectorOf<T, Bytes>::type;

template <class T, int Bytes>
constexpr int lanes = Bytes / static_cast<int>(sizeof(T));

template <class T, int Bytes>
FW_INLINE Vector<T, Bytes> load(const T* from) {
  Vector<T, Bytes> value;
  std::memcpy(&value, from, Bytes);
  return value;
}

template <class T, int Bytes>
FW_INLINE void store(T* to, Vector<T, Bytes> value) {
  std::memcpy(to, &value, Bytes);
}

// Stores past the caches, 16 bytes at a time whatever the width, where the processor can. `to` is a
// multiple of 16 bytes; other threads see the values after stream_fence and a barrier.
template <class T, int Bytes>
FW_INLINE void stream(T* to, Vector<T, Bytes> value) {
#if FW_X86
  constexpr int parts = Bytes / static_cast<int>(sizeof(__m128));
  __m128 part[parts];
  std::memcpy(part, &value, Bytes);
  for (int i = 0; i < parts; ++i)
    _mm_stream_ps(reinterpret_cast<float*>(reinterpret_cast<__m128*>(to) + i), part[i]);
#else
  store<T, Bytes>(to, value);
#endif
}

FW_INLINE void stream_fence() {
#if FW_X86
  _mm_sfence();
#endif
}

template <class T, int Bytes>
FW_INLINE Vector<T, Bytes> broadcast(T value) {
  return Vector<T, Bytes>{} + value;
}

template <class T, int Bytes>
FW_INLINE Vector<T, Bytes> square_root(Vector<T, Bytes> value) {
  Vector<T, Bytes> root;
  for (int lane = 0; lane < lanes<T, Bytes>; ++lane) root[lane] = std::sqrt(value[lane]);
  return root;
}

// Halves are added to halves: a fixed order, and log2(lanes) roundings.
template <class T, int Bytes>
FW_INLINE T horizontal_sum(Vector<T, Bytes> value) {
  T part[lanes<T, Bytes>];
  std::memcpy(part, &value, Bytes);
  for (int width = lanes<T, Bytes> / 2; width > 0; width /= 2)
    for (int lane = 0; lane < width; ++lane) part[lane] += part[lane + width];
  return part[0];
}

// Sum of a[i] * b[i] in T: lanes within blocks of 4096, the blocks' sums in double, so that the
// rounding error does not grow with the size.
template <class T, int Bytes>
FW_INLINE double blocked_dot(const T* a, const T* b, int64_t size) {
  constexpr int step = lanes<T, Bytes>;
  constexpr int64_t block = 4096;
  double sum = 0;
  for (int64_t first = 0; first < size; first += block) {
    const int64_t end = first + block < size ? first + block : size;
    Vector<T, Bytes> sums[4] = {};
    int64_t i = first;
    for (; i + 4 * step <= end; i += 4 * step)
      for (int k = 0; k < 4; ++k)
        sums[k] += load<T, Bytes>(a + i + k * step) * load<T, Bytes>(b + i + k * step);
    for (; i + step <= end; i += step) sums[0] += load<T, Bytes>(a + i) * load<T, Bytes>(b + i);
    T part = horizontal_sum<T, Bytes>((sums[0] + sums[1]) + (sums[2] + sums[3]));
    for (; i < end; ++i) part += a[i] * b[i];
    sum += static_cast<double>(part);
  }
  return sum;
}

// Sum of a[i] * b[i] for i in [0, size), in double whatever T is: for float the products are exact
// and the sum neither overflows nor loses small terms.
template <class T, int Bytes>
FW_INLINE double exact_dot(const T* a, const T* b, int64_t size) {
  constexpr int step = Bytes / static_cast<int>(sizeof(double));
  typedef T Part __attribute__((vector_size(step * sizeof(T))));
  Vector<double, Bytes> sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * step <= size; i += 4 * step) {
    for (int k = 0; k < 4; ++k) {
      Part x, y;
      std::memcpy(&x, a + i + k * step, sizeof x);
      std::memcpy(&y, b + i + k * step, sizeof y);
      sums[k] += __builtin_convertvector(x, Vector<double, Bytes>) *
                 __builtin_convertvector(y, Vector<double, Bytes>);
    }
  }
  double sum = horizontal_sum<double, Bytes>((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < size; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

}  // namespace fastwgan
