// How a group of weights is cut into tiles, and where its sums lie.
//
// A layer's stored matrix S is [rows, outer * inner] with element (r, o * inner + i) at (o * rows +
// r) * inner + i; `a` are the vectors along its rows, `b` those along its columns: u and v, or v
// and u where a weight [outer, rows, 1] is taken as the transposed matrix that it is in memory.
#pragma once

#include <cstring>

#include "numbers.cuh"

namespace fastwgan {

enum Half { half_v = 0, half_u = 1 };  // which vector a half-step makes

struct Layer {
  int64_t outer, rows, inner;
  int64_t swapped;         // a is v, b is u
  int64_t rows_per_split;  // of S^T a, whose sums over rows are cut into splits
  int64_t splits, strips;
  int64_t rows_per_warp;  // of S b
  int64_t flat_size;      // elements of a flat tile, whole packs
  int64_t flat_tiles;
  int64_t first_tile[2], first_flat_tile;  // counted over the group
  int64_t vectors;                         // where u begins in `vectors`; v follows
  int64_t products, partial;               // S b [rows] and the splits of S^T a [splits, columns]

  __host__ __device__ int64_t columns() const { return outer * inner; }
  __host__ __device__ int64_t size() const { return rows * outer * inner; }
  // True where a half-step multiplies S b, false where S^T a.
  __host__ __device__ bool is_row_step(int half) const {
    return (half == half_u) != (swapped != 0);
  }
};

struct LayerPointers {
  void* at[4];
};

constexpr int64_t layers_by_value = 120;

struct Pointers {
  const LayerPointers* table;  // null: `own` holds them
  LayerPointers own[layers_by_value];
};

struct Group {  // what every kernel takes
  const Layer* layers;
  int64_t count;
};

__device__ inline void* pointer_of(const Pointers& pointers, int64_t layer, int which) {
  const LayerPointers* all = pointers.table != nullptr ? pointers.table : pointers.own;
  return all[layer].at[which];
}

// The last layer whose first tile, by `first`, is not above the block's.
template <class First>
__device__ int64_t layer_of_block(const Group& group, const First& first) {
  int64_t low = 0, high = group.count;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (first(group.layers[middle]) <= int64_t{blockIdx.x})
      low = middle;
    else
      high = middle;
  }
  return low;
}

inline bool is_valid(const void* const* pointers, const fw_cuda_spectral_norm_totals* totals,
                     const void* plan, const void* table) {
  if (totals == nullptr || totals->layers < 0) return false;
  if (totals->layers == 0) return true;
  return pointers != nullptr && plan != nullptr &&
         (totals->layers <= layers_by_value || table != nullptr);
}

inline Pointers gathered(const void* const* pointers, int64_t count, const void* table) {
  Pointers result = {};
  result.table = static_cast<const LayerPointers*>(table);
  const int64_t own = count < layers_by_value ? count : layers_by_value;
  for (int64_t i = 0; i < 4 * own; ++i)
    result.own[i / 4].at[i % 4] = const_cast<void*>(pointers[i]);
  return result;
}

}  // namespace fastwgan
