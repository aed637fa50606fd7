// Matrix products C = A B in tiles that stay in registers.
//
// B is packed into slivers, as wide as a tile: packed[s][k][j] = B[k][s * width + j], zeros beyond
// its columns, before or on the way. A is read where it is, by a stride of rows and one of depth. A
// sliver's block of 512 rows stays in the nearest caches while all of A's rows pass by it: smaller
// blocks are nearer, and cost more beginnings and ends of tiles than that gains. Every element of C
// is the same sum in the same order, however the work is split among threads.
#pragma once

#include <type_traits>

#include "capabilities.h"
#include "parallel.h"
#include "simd.h"

namespace fastwgan {

// Rows of a tile, which is two vectors wide: 12 sums, 2 of B and 1 of A fill 16 registers; of
// AVX-512's 32, 24 sums read B half as often and begin and end half as many tiles.
template <int Bytes>
constexpr int tile_rows = Bytes == 64 ? 12 : 6;
constexpr int most_tile_rows = 12;
constexpr int64_t depth_block = 512;

template <class T, int Bytes>
constexpr int64_t sliver_width = 2 * lanes<T, Bytes>;

// Columns of B once packed, for the widest instruction set.
template <class T>
constexpr int64_t padded_columns(int64_t columns) {
  constexpr int64_t widest = 128 / static_cast<int64_t>(sizeof(T));
  return (columns + widest - 1) / widest * widest;
}

inline int64_t tiles_of(int64_t size, int64_t tile) { return (size + tile - 1) / tile; }

// One sliver of B[k][j] = from[k * stride + j], of so many columns or, if fewer, the rest.
template <class T, int Bytes>
FW_INLINE void pack_sliver(const T* from, int64_t stride, int64_t depth, int64_t columns, T* to) {
  constexpr int64_t width = sliver_width<T, Bytes>;
  if (columns >= width) {
    for (int64_t k = 0; k < depth; ++k, from += stride, to += width) {
      store<T, Bytes>(to, load<T, Bytes>(from));
      store<T, Bytes>(to + width / 2, load<T, Bytes>(from + width / 2));
    }
    return;
  }
  for (int64_t k = 0; k < depth; ++k, to += width)
    for (int64_t j = 0; j < width; ++j) to[j] = j < columns ? from[k * stride + j] : T(0);
}

// Slivers of B[k][n] = matrix[k * stride + n].
template <class T, int Bytes>
FW_INLINE void pack_rows(const T* matrix, int64_t stride, int64_t depth, int64_t columns,
                         Range slivers, T* packed) {
  constexpr int64_t width = sliver_width<T, Bytes>;
  for (int64_t s = slivers.begin; s < slivers.end; ++s)
    pack_sliver<T, Bytes>(matrix + s * width, stride, depth, columns - s * width,
                          packed + s * depth * width);
}

#if defined(__GNUC__) && !defined(__clang__)
// A square of vectors, rows for columns, by exchanging ever larger blocks beside the diagonal.
template <class T, int Bytes>
FW_INLINE void transpose_square(Vector<T, Bytes>* rows) {
  constexpr int size = lanes<T, Bytes>;
  using Index = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
#pragma GCC unroll 4
  for (int width = 1; width < size; width *= 2) {
    Vector<Index, Bytes> upper = {}, lower = {};
#pragma GCC unroll 16
    for (int lane = 0; lane < size; ++lane) {
      upper[lane] = (lane & width) != 0 ? size + lane - width : lane;
      lower[lane] = (lane & width) != 0 ? size + lane : lane + width;
    }
#pragma GCC unroll 16
    for (int i = 0; i < size; ++i) {
      if ((i & width) != 0) continue;
      const Vector<T, Bytes> one = rows[i], other = rows[i + width];
      rows[i] = __builtin_shuffle(one, other, upper);
      rows[i + width] = __builtin_shuffle(one, other, lower);
    }
  }
}
#else
template <class T, int Bytes>
FW_INLINE void transpose_square(Vector<T, Bytes>* rows) {
  constexpr int size = lanes<T, Bytes>;
  for (int i = 0; i < size; ++i)
    for (int j = 0; j < i; ++j) {
      const T kept = rows[i][j];
      rows[i][j] = rows[j][i];
      rows[j][i] = kept;
    }
}
#endif

// One sliver of B[k][j] = from[j * stride + k], of so many columns or, if fewer, the rest.
template <class T, int Bytes>
FW_INLINE void pack_sliver_transposed(const T* from, int64_t stride, int64_t depth, int64_t columns,
                                      T* to) {
  constexpr int64_t width = sliver_width<T, Bytes>, size = lanes<T, Bytes>;
  int64_t k = 0;
  for (; columns >= width && k + size <= depth; k += size)
    for (int64_t half = 0; half < width; half += size) {
      Vector<T, Bytes> square[size];
      for (int64_t j = 0; j < size; ++j) square[j] = load<T, Bytes>(from + (half + j) * stride + k);
      transpose_square<T, Bytes>(square);
      for (int64_t j = 0; j < size; ++j) store<T, Bytes>(to + (k + j) * width + half, square[j]);
    }
  for (; k < depth; ++k)
    for (int64_t j = 0; j < width; ++j)
      to[k * width + j] = j < columns ? from[j * stride + k] : T(0);
}

// Slivers of B[k][n] = matrix[n * stride + k].
template <class T, int Bytes>
FW_INLINE void pack_columns(const T* matrix, int64_t stride, int64_t depth, int64_t columns,
                            Range slivers, T* packed) {
  constexpr int64_t width = sliver_width<T, Bytes>;
  for (int64_t s = slivers.begin; s < slivers.end; ++s)
    pack_sliver_transposed<T, Bytes>(matrix + s * width * stride, stride, depth,
                                     columns - s * width, packed + s * depth * width);
}

// A vector, or as many of its elements as there are: `Count` is int64_t or Whole.
struct Whole {};

template <class T, int Bytes>
FW_INLINE Vector<T, Bytes> load_up_to(const T* from, Whole) {
  return load<T, Bytes>(from);
}

template <class T, int Bytes>
FW_INLINE Vector<T, Bytes> load_up_to(const T* from, int64_t count) {
  Vector<T, Bytes> value = {};
  std::memcpy(&value, from, static_cast<size_t>(count) * sizeof(T));
  return value;
}

template <class T, int Bytes>
FW_INLINE void store_up_to(T* to, Vector<T, Bytes> value, Whole) {
  store<T, Bytes>(to, value);
}

template <class T, int Bytes>
FW_INLINE void store_up_to(T* to, Vector<T, Bytes> value, int64_t count) {
  std::memcpy(to, &value, static_cast<size_t>(count) * sizeof(T));
}

template <class T>
struct Left {  // A[i][k] = at[i * row + k * step]
  const T* at;
  int64_t row, step;
};

// sums [Rows, 2 vectors] of a tile over a block of depth, on top of what is there unless is_first.
template <class T, int Bytes, int Rows>
FW_INLINE void sum_rows_of_tile(Left<T> left, const T* right, int64_t depth, bool is_first,
                                T* sums) {
  using V = Vector<T, Bytes>;
  constexpr int64_t step = lanes<T, Bytes>;
  V here[Rows][2];  // not "= {}", which clears memory by a slow string instruction
  if (is_first) {
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) here[i][0] = here[i][1] = V{};
  } else {
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
      here[i][0] = load<T, Bytes>(sums + 2 * i * step);
      here[i][1] = load<T, Bytes>(sums + (2 * i + 1) * step);
    }
  }
  // From one pointer the processor reaches three rows by its own addressing.
  constexpr int pointers = (Rows + 2) / 3;
  const T* at[pointers];
#pragma GCC unroll 4
  for (int p = 0; p < pointers; ++p) at[p] = left.at + 3 * p * left.row;
  for (int64_t k = 0; k < depth; ++k) {
    const V low = load<T, Bytes>(right), high = load<T, Bytes>(right + step);
    right += 2 * step;
#pragma GCC unroll 12
    for (int i = 0; i < Rows; ++i) {
      const T factor = at[i / 3][(i % 3) * left.row];
      here[i][0] += factor * low;
      here[i][1] += factor * high;
    }
#pragma GCC unroll 4
    for (int p = 0; p < pointers; ++p) at[p] += left.step;
  }
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i) {
    store<T, Bytes>(sums + 2 * i * step, here[i][0]);
    store<T, Bytes>(sums + (2 * i + 1) * step, here[i][1]);
  }
}

template <class T, int Bytes, int Rows = 1>
FW_INLINE void sum_tile_body(Left<T> left, int rows, const T* right, int64_t depth, bool is_first,
                             T* sums) {
  if constexpr (Rows < tile_rows<Bytes>)
    if (rows > Rows)
      return sum_tile_body<T, Bytes, Rows + 1>(left, rows, right, depth, is_first, sums);
  sum_rows_of_tile<T, Bytes, Rows>(left, right, depth, is_first, sums);
}

// A function of its own, so that its loop has all registers.
FW_DISPATCH(sum_tile,
            (Left<T> left, int rows, const T* right, int64_t depth, bool is_first, T* sums),
            (left, rows, right, depth, is_first, sums))

// finish(row, column, sum, count) takes a tile's sums [rows, 2 vectors], vector by vector.
template <class T, int Bytes, class Finish>
FW_INLINE void finish_tile(const T* sums, int rows, int64_t row, int64_t column, int64_t columns,
                           const Finish& finish) {
  constexpr int64_t step = lanes<T, Bytes>;
  if (columns - column >= 2 * step) {
    for (int i = 0; i < rows; ++i, sums += 2 * step) {
      finish(row + i, column, load<T, Bytes>(sums), Whole());
      finish(row + i, column + step, load<T, Bytes>(sums + step), Whole());
    }
    return;
  }
  for (int i = 0; i < rows; ++i)
    for (int h = 0; h < 2; ++h, sums += step) {
      const int64_t rest = columns - column - h * step;
      if (rest > 0)
        finish(row + i, column + h * step, load<T, Bytes>(sums), rest < step ? rest : step);
    }
}

// Where slivers come from: all of B packed before, or packed as they are needed, by blocks of depth
// that stay in the first-level cache. block(s, begin, size, buffer) is sliver s from depth begin
// on.
template <class T, int Bytes>
struct Packed {
  const T* slivers;
  int64_t depth;
  FW_INLINE const T* block(int64_t s, int64_t begin, int64_t, T*) const {
    return slivers + (s * depth + begin) * sliver_width<T, Bytes>;
  }
};

template <class T, int Bytes>
struct Rows {  // B[k][n] = matrix[k * stride + n]
  const T* matrix;
  int64_t stride, columns;
  FW_INLINE const T* block(int64_t s, int64_t begin, int64_t size, T* buffer) const {
    const int64_t first = s * sliver_width<T, Bytes>;
    pack_sliver<T, Bytes>(matrix + begin * stride + first, stride, size, columns - first, buffer);
    return buffer;
  }
};

template <class T, int Bytes>
struct Transposed {  // B[k][n] = matrix[n * stride + k]
  const T* matrix;
  int64_t stride, columns;
  FW_INLINE const T* block(int64_t s, int64_t begin, int64_t size, T* buffer) const {
    const int64_t first = s * sliver_width<T, Bytes>;
    pack_sliver_transposed<T, Bytes>(matrix + first * stride + begin, stride, size, columns - first,
                                     buffer);
    return buffer;
  }
};

// Elements of scratch that multiply asks for: a sliver's block, and the sums of one tile or, where
// the depth is more than a block's, of all rows.
template <class T>
constexpr int64_t multiply_scratch(int64_t rows, int64_t depth) {
  return (depth_block + (depth > depth_block ? rows : most_tile_rows)) * padded_columns<T>(1);
}

// C[first_row + r] = A[r] B for r < rows and some columns, the first a multiple of every sliver's
// width; A [rows, depth], B [depth, all_columns].
template <class T, int Bytes, class Right, class Finish>
FW_INLINE void multiply(Left<T> left, int64_t rows, const Right& right, int64_t depth,
                        Range columns, int64_t all_columns, int64_t first_row, T* scratch,
                        const Finish& finish) {
  constexpr int64_t width = sliver_width<T, Bytes>, height = tile_rows<Bytes>;
  T* partials = scratch + depth_block * width;  // [rows, width], or of a tile
  for (int64_t s = columns.begin / width; s < tiles_of(columns.end, width); ++s)
    for (int64_t begin = 0; begin < depth; begin += depth_block) {
      const int64_t size = depth - begin < depth_block ? depth - begin : depth_block;
      const T* block = right.block(s, begin, size, scratch);
      for (int64_t r = 0; r < rows; r += height) {
        const int some = static_cast<int>(rows - r < height ? rows - r : height);
        T* sums = depth > depth_block ? partials + r * width : partials;
        sum_tile<T>({left.at + r * left.row + begin * left.step, left.row, left.step}, some, block,
                    size, begin == 0, sums);
        if (begin + size == depth)
          finish_tile<T, Bytes>(sums, some, first_row + r, s * width, all_columns, finish);
      }
    }
}

}  // namespace fastwgan
