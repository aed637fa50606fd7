// Forward: one launch a half-step, one to finish, one to divide. A half-step leaves its product
// unnormalised, since a norm needs every block; each block of the next takes the norm anew.
#include "fastwgan/spectral_norm.h"
#include "reduce.cuh"
#include "spectral_plan.cuh"

namespace fastwgan {
namespace {

constexpr int column_chunk = 1024;  // of a vector, in shared memory
constexpr int most_rows_per_warp = 4;

template <class C>
struct Scratch {
  C* products;  // S b [rows]
  C* partial;   // S^T a [splits, columns]
};

// A vector a half-step starts from: the product before it over its norm, or, before any product or
// where that is zero, the vector as it lies in memory.
template <class C>
struct Source {
  const C* vector;
  bool fresh;  // the product's
  C divisor;
};

// The sum of the squares of n numbers, scale * product(i) each, by the whole block.
template <class Product>
__device__ double block_squares(int64_t n, const Product& product, double scale, double* shared) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += block_threads) {
    const double x = scale * static_cast<double>(product(i));
    sum += x * x;
  }
  return block_sum(sum, shared);
}

// The norm of n numbers of type C, product(i) each, by the whole block. Doubles whose squares leave
// the range of doubles are scaled by a power of two, exactly.
template <class C, class Product>
__device__ double block_norm(int64_t n, const Product& product, double* shared) {
  const double square = block_squares(n, product, 1.0, shared);
  if constexpr (sizeof(C) == sizeof(double)) {
    if (square < 1e-280 || square > 1e300) {
      const double scale = square < 1 ? 0x1p600 : 0x1p-600;
      return sqrt(block_squares(n, product, scale, shared)) / scale;
    }
  }
  return sqrt(square);
}

template <class C, class Product>
__device__ Source<C> source_of(const C* vector, int64_t n, const Product& product, bool has_product,
                               double epsilon, double* shared) {
  if (!has_product) return {vector, false, C(1)};
  const double norm = block_norm<C>(n, product, shared);
  return {vector, norm != 0, static_cast<C>(norm < epsilon ? epsilon : norm)};  // NaN is kept
}

// S^T a of one column, its splits added in order.
template <class C>
__device__ C column_total(const Layer& layer, const C* partial, int64_t column) {
  C total = 0;
  for (int64_t split = 0; split < layer.splits; ++split)
    total += partial[split * layer.columns() + column];
  return total;
}

template <class T, int N, bool Packed>
__device__ void add_columns(const Layer& layer, const T* weight, const int64_t (&offsets)[N],
                            const bool (&inside)[N], int64_t row, Wide<T> factor,
                            Wide<T> (&sums)[N]) {
  const T* from = weight + row * layer.inner;
  if constexpr (Packed) {
    const Pack<T, N> pack = load<N>(from + offsets[0]);
    for (int k = 0; k < N; ++k) sums[k] += factor * widened(pack.values[k]);
  } else {
    for (int k = 0; k < N; ++k)
      if (inside[k]) sums[k] += factor * widened(from[offsets[k]]);
  }
}

// One tile of S^T a: N columns a lane, over a split's rows, which the warps share.
template <class T, int N, bool Packed>
__device__ void column_tile(const Layer& layer, const T* weight, const Source<Wide<T>>& a,
                            const Wide<T>* products, int64_t tile, Wide<T>* partial,
                            Wide<T>* shared) {
  using C = Wide<T>;
  const int64_t split = tile / layer.strips, strip = tile % layer.strips;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  int64_t columns[N], offsets[N];
  bool inside[N];
  for (int k = 0; k < N; ++k) {
    columns[k] = strip * warp_size * N + (Packed ? lane * N + k : lane + k * warp_size);
    inside[k] = columns[k] < layer.columns();
    const int64_t outer = layer.outer == 1 ? 0 : columns[k] / layer.inner;
    offsets[k] = columns[k] + outer * (layer.rows - 1) * layer.inner;
  }
  const int64_t begin = split * layer.rows_per_split;
  const int64_t last = begin + layer.rows_per_split;
  const int64_t end = last < layer.rows ? last : layer.rows;
  C sums[N] = {};
  if (inside[0])
    for (int64_t r = begin + warp; r < end; r += warps_of_block) {
      const C factor = a.fresh ? products[r] / a.divisor : a.vector[r];
      add_columns<T, N, Packed>(layer, weight, offsets, inside, r, factor, sums);
    }
  for (int k = 0; k < N; ++k) shared[(warp * N + k) * warp_size + lane] = sums[k];
  __syncthreads();
  if (warp != 0) return;
  for (int k = 0; k < N; ++k) {
    for (int other = 1; other < warps_of_block; ++other)
      sums[k] += shared[(other * N + k) * warp_size + lane];
    if (inside[k]) partial[split * layer.columns() + columns[k]] = sums[k];
  }
}

// The columns [first, last) of the rows of one warp, times b's, which lie in shared memory.
template <class T, int N>
__device__ void add_rows(const Layer& layer, const T* weight, int64_t row, int count, int64_t first,
                         int64_t last, const Wide<T>* b, Wide<T> (&sums)[most_rows_per_warp]) {
  const int64_t lane = threadIdx.x % warp_size;
  for (int64_t column = first + lane * N; column < last; column += warp_size * N) {
    const int64_t outer = layer.outer == 1 ? 0 : column / layer.inner;
    const T* from = weight + column + (outer * (layer.rows - 1) + row) * layer.inner;
    for (int i = 0; i < most_rows_per_warp; ++i) {
      if (i >= count) break;
      const Pack<T, N> pack = load<N>(from + i * layer.inner);
      for (int k = 0; k < N; ++k) sums[i] += widened(pack.values[k]) * b[column - first + k];
    }
  }
}

// One tile of S b: rows_per_warp whole rows a warp. The block takes b in chunks.
template <class T, int N>
__device__ void row_tile(const Layer& layer, const T* weight, const Source<Wide<T>>& b,
                         const Wide<T>* partial, int64_t tile, Wide<T>* products, Wide<T>* chunk) {
  using C = Wide<T>;
  const int64_t warp = threadIdx.x / warp_size;
  const int64_t row = (tile * warps_of_block + warp) * layer.rows_per_warp;
  const int64_t left = layer.rows - row;
  const int count = static_cast<int>(left < 0                     ? 0
                                     : left < layer.rows_per_warp ? left
                                                                  : layer.rows_per_warp);
  C sums[most_rows_per_warp] = {};
  for (int64_t first = 0; first < layer.columns(); first += column_chunk) {
    const int64_t end = first + column_chunk;
    const int64_t last = end < layer.columns() ? end : layer.columns();
    __syncthreads();
    for (int64_t c = first + threadIdx.x; c < last; c += block_threads)
      chunk[c - first] = b.fresh ? column_total(layer, partial, c) / b.divisor : b.vector[c];
    __syncthreads();
    add_rows<T, N>(layer, weight, row, count, first, last, chunk, sums);
  }
  for (int i = 0; i < most_rows_per_warp; ++i) {
    const C sum = warp_sum(sums[i]);
    if (i < count && threadIdx.x % warp_size == 0) products[row + i] = sum;
  }
}

template <class T>
struct HalfStep {
  int half;
  bool has_product;  // false for the first half-step of a call
  bool keeps;        // without iterations u and v stay as they are
  double epsilon;
  Wide<T>* sums;  // scratch of the group
};

template <class T>
__global__ void __launch_bounds__(block_threads, 2)
    half_step_kernel(const __grid_constant__ Pointers pointers, Group group, HalfStep<T> step) {
  using C = Wide<T>;
  constexpr int lanes = lanes_of<T>;
  constexpr int needed = warps_of_block * lanes * warp_size;
  __shared__ C shared[needed > column_chunk ? needed : column_chunk];
  __shared__ double sums[warps_of_block];
  const int64_t index =
      layer_of_block(group, [&](const Layer& layer) { return layer.first_tile[step.half]; });
  const Layer& layer = group.layers[index];
  const int64_t tile = blockIdx.x - layer.first_tile[step.half];
  const T* weight = static_cast<const T*>(pointer_of(pointers, index, 0));
  C* a = static_cast<C*>(pointer_of(pointers, index, layer.swapped ? 2 : 1));
  C* b = static_cast<C*>(pointer_of(pointers, index, layer.swapped ? 1 : 2));
  C* products = step.sums + layer.products;
  C* partial = step.sums + layer.partial;
  const bool packed = layer.inner % lanes == 0 && is_aligned(weight);
  // Tile 0 alone writes the vector down; the others read it where there was no product to take.
  if (layer.is_row_step(step.half)) {
    const auto total = [&](int64_t c) { return column_total(layer, partial, c); };
    const Source<C> source =
        source_of<C>(b, layer.columns(), total, step.has_product, step.epsilon, sums);
    if (source.fresh && tile == 0)
      for (int64_t c = threadIdx.x; c < layer.columns(); c += block_threads)
        b[c] = total(c) / source.divisor;
    if (packed)
      row_tile<T, lanes>(layer, weight, source, partial, tile, products, shared);
    else
      row_tile<T, 1>(layer, weight, source, partial, tile, products, shared);
  } else {
    const auto product = [&](int64_t r) { return products[r]; };
    const Source<C> source =
        source_of<C>(a, layer.rows, product, step.has_product, step.epsilon, sums);
    if (source.fresh && tile == 0)
      for (int64_t r = threadIdx.x; r < layer.rows; r += block_threads)
        a[r] = products[r] / source.divisor;
    if (packed)
      column_tile<T, lanes, true>(layer, weight, source, products, tile, partial, shared);
    else
      column_tile<T, lanes, false>(layer, weight, source, products, tile, partial, shared);
  }
}

// The last half-step's vector and sigma, one block a layer; then the call's own copy of u and v.
template <class T>
__global__ void __launch_bounds__(block_threads)
    finish_kernel(const __grid_constant__ Pointers pointers, Group group, HalfStep<T> step,
                  Wide<T>* sigma, Wide<T>* vectors) {
  using C = Wide<T>;
  __shared__ double sums[warps_of_block];
  const int64_t index = blockIdx.x;
  const Layer& layer = group.layers[index];
  C* u = static_cast<C*>(pointer_of(pointers, index, 1));
  C* v = static_cast<C*>(pointer_of(pointers, index, 2));
  const C* products = step.sums + layer.products;
  const C* partial = step.sums + layer.partial;
  const bool by_rows = layer.is_row_step(step.half);
  C* vector = step.half == half_u ? u : v;
  const int64_t n = by_rows ? layer.rows : layer.columns();
  const auto product = [&](int64_t i) {
    return by_rows ? products[i] : column_total(layer, partial, i);
  };
  double found = 0;
  if (step.keeps) {
    for (int64_t i = threadIdx.x; i < n; i += block_threads)
      found += static_cast<double>(vector[i]) * static_cast<double>(product(i));
    found = block_sum(found, sums);
  } else {
    const double norm = block_norm<C>(n, product, sums);
    const double divisor = norm < step.epsilon ? step.epsilon : norm;
    if (norm != 0) {
      found = norm * (norm / divisor);
      for (int64_t i = threadIdx.x; i < n; i += block_threads)
        vector[i] = product(i) / static_cast<C>(divisor);
    }
  }
  if (threadIdx.x == 0) sigma[index] = static_cast<C>(found);
  __syncthreads();
  const int64_t length = layer.swapped ? layer.columns() : layer.rows;  // of u
  C* own = vectors + layer.vectors;
  for (int64_t i = threadIdx.x; i < layer.rows + layer.columns(); i += block_threads)
    own[i] = i < length ? u[i] : v[i - length];
}

template <class T, int N>
__device__ void divide_tile(const T* weight, T* normalised, int64_t begin, int64_t end,
                            Wide<T> sigma) {
  for (int64_t i = begin + threadIdx.x * N; i < end; i += block_threads * N) {
    Pack<T, N> pack = load<N>(weight + i);
    for (int k = 0; k < N; ++k)
      pack.values[k] = narrowed<T>(sigma == 0 ? Wide<T>(0) : widened(pack.values[k]) / sigma);
    store(normalised + i, pack);
  }
}

template <class T>
__global__ void __launch_bounds__(block_threads)
    divide_kernel(const __grid_constant__ Pointers pointers, Group group, const Wide<T>* sigma) {
  const int64_t index =
      layer_of_block(group, [](const Layer& layer) { return layer.first_flat_tile; });
  const Layer& layer = group.layers[index];
  const T* weight = static_cast<const T*>(pointer_of(pointers, index, 0));
  T* normalised = static_cast<T*>(pointer_of(pointers, index, 3));
  const int64_t begin = (blockIdx.x - layer.first_flat_tile) * layer.flat_size;
  const int64_t last = begin + layer.flat_size;
  const int64_t end = last < layer.size() ? last : layer.size();
  constexpr int lanes = lanes_of<T>;
  int64_t whole = begin;
  if (is_aligned(weight) && is_aligned(normalised)) {
    whole = end - end % lanes;
    divide_tile<T, lanes>(weight, normalised, begin, whole, sigma[index]);
  }
  divide_tile<T, 1>(weight, normalised, whole, end, sigma[index]);
}

template <class T>
int forward(const Pointers& pointers, const Group& group,
            const fw_cuda_spectral_norm_totals& totals, int64_t iterations, int first,
            double epsilon, Wide<T>* sigma, Wide<T>* vectors, void* scratch, void* stream) {
  HalfStep<T> step = {half_u, false, iterations == 0, epsilon, static_cast<Wide<T>*>(scratch)};
  const int64_t steps = iterations == 0 ? 1 : 2 * iterations;
  int status = FW_OK;
  for (int64_t i = 0; i < steps && status == FW_OK; ++i) {
    if (iterations > 0) step.half = i % 2 == 0 ? first : 1 - first;
    step.has_product = i > 0;
    status = launch(half_step_kernel<T>, totals.tiles[step.half], 0, stream, pointers, group, step);
  }
  if (status == FW_OK)
    status =
        launch(finish_kernel<T>, group.count, 0, stream, pointers, group, step, sigma, vectors);
  if (status == FW_OK)
    status = launch(divide_kernel<T>, totals.flat_tiles, 0, stream, pointers, group, sigma);
  return status;
}

}  // namespace
}  // namespace fastwgan

int fw_cuda_spectral_norm_forward(const void* const* pointers,
                                  const fw_cuda_spectral_norm_totals* totals, int dtype,
                                  int64_t iterations, int u_first, double epsilon, const void* plan,
                                  void* sigma, void* vectors, void* scratch, const void* table,
                                  int device, void* stream) {
  using namespace fastwgan;
  if (!is_valid(pointers, totals, plan, table) || iterations < 0 || !(epsilon >= 0))
    return FW_INVALID_ARGUMENT;
  if (totals->layers == 0) return FW_OK;
  if (sigma == nullptr || scratch == nullptr || (totals->vectors > 0 && vectors == nullptr))
    return FW_INVALID_ARGUMENT;
  const DeviceGuard guard(device);
  if (guard.status() != FW_OK) return guard.status();
  const Group group = {static_cast<const Layer*>(plan), totals->layers};
  return for_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    using C = Wide<T>;
    return forward<T>(gathered(pointers, totals->layers, table), group, *totals, iterations,
                      u_first != 0 ? half_u : half_v, epsilon, static_cast<C*>(sigma),
                      static_cast<C*>(vectors), scratch, stream);
  });
}
