// Elementwise work over many tensors as if they were one.
//
// A block finds its tensor by bisection of the chunks counted over all tensors. Few tensors travel
// as kernel parameters, up to the 4 KiB that every toolkit allows: no copy, nothing that a graph
// would have to keep alive. More lie in a device table, which the caller uploads and may keep.
#pragma once

#include <cstring>

#include "numbers.cuh"

namespace fastwgan {

template <int Lists>
struct Tensor {
  void* pointers[Lists];
  int64_t size, first_chunk;
};

constexpr int64_t chunk_size = 4096;  // elements: 16 a thread
constexpr int64_t parameter_bytes = 4000;

template <int Lists>
struct Tensors {
  static constexpr int64_t capacity =
      (parameter_bytes - 16) / static_cast<int64_t>(sizeof(Tensor<Lists>));
  const Tensor<Lists>* table;  // null: `own` holds them
  int64_t count;
  Tensor<Lists> own[capacity];
};

// Writes one entry a tensor; returns the number of chunks, or -1 where an argument is not valid.
template <int Lists>
int64_t fill_tensors(const void* const* const* lists, const int64_t* sizes, int64_t count,
                     Tensor<Lists>* entries, int64_t room) {
  if (count < 0 || (count > 0 && (lists == nullptr || sizes == nullptr))) return -1;
  int64_t chunks = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (sizes[i] < 0) return -1;
    Tensor<Lists> entry = {{}, sizes[i], chunks};
    for (int list = 0; list < Lists; ++list) {
      if (lists[list] == nullptr) continue;
      entry.pointers[list] = const_cast<void*>(lists[list][i]);
      if (sizes[i] > 0 && entry.pointers[list] == nullptr) return -1;
    }
    if (i < room) entries[i] = entry;
    chunks += ceil_div(sizes[i], chunk_size);
  }
  return chunks;
}

// What a kernel takes, and on how many blocks; -1 blocks where an argument is not valid.
template <int Lists>
int64_t prepare(const void* const* const* lists, const int64_t* sizes, int64_t count,
                const void* table, Tensors<Lists>* tensors) {
  if (count > Tensors<Lists>::capacity && table == nullptr) return -1;
  std::memset(static_cast<void*>(tensors), 0, sizeof *tensors);
  tensors->table = static_cast<const Tensor<Lists>*>(table);
  tensors->count = count;
  return fill_tensors<Lists>(lists, sizes, count, tensors->own, Tensors<Lists>::capacity);
}

template <int Lists>
struct Chunk {
  const Tensor<Lists>& tensor;
  int64_t begin, end;
};

template <int Lists>
__device__ inline Chunk<Lists> chunk_of_block(const Tensors<Lists>& tensors) {
  const Tensor<Lists>* entries = tensors.table != nullptr ? tensors.table : tensors.own;
  const int64_t own = blockIdx.x;
  int64_t low = 0, high = tensors.count;  // the last entry whose first chunk is not above own
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (entries[middle].first_chunk <= own)
      low = middle;
    else
      high = middle;
  }
  const int64_t begin = (own - entries[low].first_chunk) * chunk_size;
  const int64_t size = entries[low].size;
  return {entries[low], begin, size - begin < chunk_size ? size : begin + chunk_size};
}

}  // namespace fastwgan
