// to = factor * from, into the caches or past them.
#pragma once

#include "simd.h"

namespace fastwgan {

template <class T, int Bytes>
FW_INLINE void scaled_copy_body(const T* from, T factor, T* to, int64_t size) {
  constexpr int step = lanes<T, Bytes>;
  int64_t i = 0;
  for (; i + step <= size; i += step) store<T, Bytes>(to + i, factor * load<T, Bytes>(from + i));
  for (; i < size; ++i) to[i] = factor * from[i];
}

template <class T, int Bytes>
FW_INLINE void scaled_stream_body(const T* from, T factor, T* to, int64_t size) {
  constexpr int step = lanes<T, Bytes>;
  int64_t i = 0;
  for (; i < size && reinterpret_cast<uintptr_t>(to + i) % 16 != 0; ++i) to[i] = factor * from[i];
  for (; i + step <= size; i += step) stream<T, Bytes>(to + i, factor * load<T, Bytes>(from + i));
  for (; i < size; ++i) to[i] = factor * from[i];
  stream_fence();
}

FW_DISPATCH(scaled_copy, (const T* from, T factor, T* to, int64_t size), (from, factor, to, size))
FW_DISPATCH(scaled_stream, (const T* from, T factor, T* to, int64_t size), (from, factor, to, size))

}  // namespace fastwgan
