// The two products of power iteration over rows [begin, end) of S, stored as [outer, rows, inner]
// with columns (o, i): row r is `outer` pieces of `inner` elements, `rows * inner` apart.
#pragma once

#include "simd.h"

namespace fastwgan {

template <class T>
struct Matrix {
  const T* data;  // [outer, rows, inner]
  int64_t outer, rows, inner;
  int64_t cols() const { return outer * inner; }
  int64_t size() const { return outer * rows * inner; }
  const T* piece(int64_t o, int64_t r) const { return data + (o * rows + r) * inner; }
};

// products[k] = sum over columns of S[r + k, :] * b for k in [0, Rows).
template <class T, int Bytes, int Rows>
FW_INLINE void row_products(const Matrix<T>& s, int64_t r, const T* b, T* products) {
  constexpr int step = lanes<T, Bytes>;
  Vector<T, Bytes> sums[Rows][2] = {};
  T tails[Rows] = {};
  for (int64_t o = 0; o < s.outer; ++o) {
    const T* piece = s.piece(o, r);     // [Rows, inner]
    const T* factor = b + o * s.inner;  // [inner]
    int64_t i = 0;
    for (; i + 2 * step <= s.inner; i += 2 * step) {
      const auto low = load<T, Bytes>(factor + i), high = load<T, Bytes>(factor + i + step);
      for (int k = 0; k < Rows; ++k) {
        sums[k][0] += load<T, Bytes>(piece + k * s.inner + i) * low;
        sums[k][1] += load<T, Bytes>(piece + k * s.inner + i + step) * high;
      }
    }
    for (; i + step <= s.inner; i += step) {
      const auto low = load<T, Bytes>(factor + i);
      for (int k = 0; k < Rows; ++k) sums[k][0] += load<T, Bytes>(piece + k * s.inner + i) * low;
    }
    for (; i < s.inner; ++i)
      for (int k = 0; k < Rows; ++k) tails[k] += piece[k * s.inner + i] * factor[i];
  }
  for (int k = 0; k < Rows; ++k)
    products[k] = horizontal_sum<T, Bytes>(sums[k][0] + sums[k][1]) + tails[k];
}

// products[r] = S[r, :] . b for r in [begin, end)
template <class T, int Bytes>
FW_INLINE void row_step_body(const Matrix<T>& s, int64_t begin, int64_t end, const T* b,
                             T* products) {
  int64_t r = begin;
  for (; r + 4 <= end; r += 4) row_products<T, Bytes, 4>(s, r, b, products + r);
  for (; r < end; ++r) row_products<T, Bytes, 1>(s, r, b, products + r);
}

// sums[0, inner) += a[r] * S[r, piece o] for r in [r, r + Rows)
template <class T, int Bytes, int Rows>
FW_INLINE void add_rows(const T* piece, int64_t inner, const T* a, T* sums) {
  constexpr int step = lanes<T, Bytes>;
  int64_t i = 0;
  for (; i + step <= inner; i += step) {
    auto sum = load<T, Bytes>(sums + i);
    for (int k = 0; k < Rows; ++k) sum += a[k] * load<T, Bytes>(piece + k * inner + i);
    store<T, Bytes>(sums + i, sum);
  }
  for (; i < inner; ++i) {
    T sum = sums[i];
    for (int k = 0; k < Rows; ++k) sum += a[k] * piece[k * inner + i];
    sums[i] = sum;
  }
}

// sums [outer * inner] += sum over r in [begin, end) of a[r] * S[r, :]
template <class T, int Bytes>
FW_INLINE void column_step_body(const Matrix<T>& s, int64_t begin, int64_t end, const T* a,
                                T* sums) {
  for (int64_t o = 0; o < s.outer; ++o) {
    T* piece_sums = sums + o * s.inner;
    int64_t r = begin;
    for (; r + 8 <= end; r += 8) add_rows<T, Bytes, 8>(s.piece(o, r), s.inner, a + r, piece_sums);
    for (; r < end; ++r) add_rows<T, Bytes, 1>(s.piece(o, r), s.inner, a + r, piece_sums);
  }
}

// Both in one reading of S: products = S b and sums += S^T products, eight rows at a time.
template <class T, int Bytes>
FW_INLINE void row_and_column_step_body(const Matrix<T>& s, int64_t begin, int64_t end, const T* b,
                                        T* products, T* sums) {
  for (int64_t r = begin; r < end; r += 8) {
    const int64_t block_end = r + 8 < end ? r + 8 : end;
    row_step_body<T, Bytes>(s, r, block_end, b, products);
    column_step_body<T, Bytes>(s, r, block_end, products, sums);
  }
}

FW_DISPATCH(row_step, (const Matrix<T>& s, int64_t begin, int64_t end, const T* b, T* products),
            (s, begin, end, b, products))
FW_DISPATCH(column_step, (const Matrix<T>& s, int64_t begin, int64_t end, const T* a, T* sums),
            (s, begin, end, a, sums))
FW_DISPATCH(row_and_column_step,
            (const Matrix<T>& s, int64_t begin, int64_t end, const T* b, T* products, T* sums),
            (s, begin, end, b, products, sums))

}  // namespace fastwgan
