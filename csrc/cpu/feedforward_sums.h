// Gradients of a feed-forward critic's weights and biases: sums over rows and positions.
#pragma once

#include "feedforward_layers.h"

namespace fastwgan {

constexpr int64_t block_rows = depth_block;  // positions at a time
constexpr int64_t group_outputs = 192;       // whose cotangents stay in a near cache

// scratch of a thread, in elements, that the sums below ask for at most.
template <class T>
int64_t sum_scratch(const Layer<T>& layer, int64_t rows) {
  const int64_t sliver = padded_columns<T>(1);
  const int64_t count = std::min(block_rows, rows * layer.window.positions());
  const int64_t outputs =
      std::min(group_outputs, tiles_of(layer.outputs, most_tile_rows) * most_tile_rows);
  return count * (outputs + sliver) + most_tile_rows * sliver + layer.outputs;
}

template <class T, int Bytes>
struct Add {
  T* results;
  int64_t columns;
  bool is_first;

  template <class Count>
  FW_INLINE void operator()(int64_t row, int64_t column, Vector<T, Bytes> sum, Count some) const {
    T* to = results + row * columns + column;
    if (!is_first) sum += load_up_to<T, Bytes>(to, some);
    store_up_to<T, Bytes>(to, sum, some);
  }
};

// A sum over positions of products of cotangents and patches, [outputs, depth].
template <class T>
struct Sum {
  const T* cotangents;  // [positions, outputs], from the first position
  const T* inputs;      // samples, of which the positions are counted
  Range positions;
  bool is_first;
  T* results;
};

// left [strip][count][height] of these strips of outputs, a tile high.
template <class T, int Bytes>
FW_INLINE void pack_strips(const T* cotangents, int64_t outputs, int64_t count, Range strips,
                           T* left) {
  constexpr int64_t height = tile_rows<Bytes>;
  for (int64_t s = strips.begin; s < strips.end; ++s) {
    const int64_t some = std::min(height, outputs - s * height);
    const T* from = cotangents + s * height;
    for (int64_t r = 0; r < count; ++r, from += outputs, left += height) {
      if (some == height)  // a size that the compiler knows: a few moves, and no call
        std::memcpy(left, from, height * sizeof(T));
      else
        std::memcpy(left, from, static_cast<size_t>(some) * sizeof(T));
    }
  }
}

// This thread's part of a sum over a block of positions. Strips of outputs or slivers of columns
// are split, whichever are more: each thread packs all of the other.
template <class T, int Bytes>
FW_INLINE void add_products_body(const Layer<T>& layer, const Sum<T>& sum, int thread, int threads,
                                 T* scratch) {
  constexpr int64_t width = sliver_width<T, Bytes>, height = tile_rows<Bytes>;
  constexpr int64_t strip_group = group_outputs / height;
  const int64_t depth = layer.window.depth(), outputs = layer.outputs;
  const int64_t count = sum.positions.end - sum.positions.begin;
  const int64_t all_strips = tiles_of(outputs, height), all_slivers = tiles_of(depth, width);
  const bool by_strips = all_strips > all_slivers;
  const Range strips = by_strips ? part_of(all_strips, thread, threads) : Range{0, all_strips};
  const Range slivers = by_strips ? Range{0, all_slivers} : part_of(all_slivers, thread, threads);
  T* right = scratch;               // [count, width]
  T* sums = right + count * width;  // [height, width]
  T* left = sums + height * width;  // [strip][count][height]
  const Add<T, Bytes> finish = {sum.results, depth, sum.is_first};
  for (int64_t first = strips.begin; first < strips.end; first += strip_group) {
    const Range group = {first, std::min(first + strip_group, strips.end)};
    pack_strips<T, Bytes>(sum.cotangents, outputs, count, group, left);
    for (int64_t s = slivers.begin; s < slivers.end; ++s) {
      if (layer.window.is_whole())
        pack_sliver<T, Bytes>(sum.inputs + sum.positions.begin * depth + s * width, depth, count,
                              depth - s * width, right);
      else
        pack_patches<T, Bytes>(layer.window, sum.inputs, sum.positions, s, right);
      for (int64_t strip = group.begin; strip < group.end; ++strip) {
        const int64_t row = strip * height;
        const int some = static_cast<int>(std::min(height, outputs - row));
        for (int i = 0; i < some; ++i)
          __builtin_prefetch(sum.results + (row + i) * depth + s * width, 1);
        sum_tile<T>({left + (strip - first) * count * height, 1, height}, some, right, count, true,
                    sums);
        finish_tile<T, Bytes>(sums, some, row, s * width, depth, finish);
      }
    }
  }
}

FW_DISPATCH(add_products,
            (const Layer<T>& layer, const Sum<T>& sum, int thread, int threads, T* scratch),
            (layer, sum, thread, threads, scratch))

template <class T, int Bytes>
FW_INLINE void add_rows_body(const T* matrix, int64_t stride, int64_t rows, Range columns,
                             T* sums) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = columns.begin; c < columns.end; ++c) sums[c] += matrix[r * stride + c];
}

FW_DISPATCH(add_rows, (const T* matrix, int64_t stride, int64_t rows, Range columns, T* sums),
            (matrix, stride, rows, columns, sums))

}  // namespace fastwgan
