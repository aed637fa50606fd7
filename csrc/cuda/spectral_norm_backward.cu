#include "fastwgan/spectral_norm.h"
#include "reduce.cuh"
#include "spectral_plan.cuh"

namespace fastwgan {
namespace {

enum Which { which_cotangent = 0, which_normalised = 1, which_gradient = 2 };

struct Tile {
  const Layer& layer;
  int64_t index, begin, end;  // of the layer, and of its elements
};

__device__ inline Tile tile_of_block(const Group& group) {
  const int64_t index =
      layer_of_block(group, [](const Layer& layer) { return layer.first_flat_tile; });
  const Layer& layer = group.layers[index];
  const int64_t begin = (blockIdx.x - layer.first_flat_tile) * layer.flat_size;
  const int64_t end = begin + layer.flat_size;
  return {layer, index, begin, end < layer.size() ? end : layer.size()};
}

template <class T, int N>
__device__ Wide<T> dot_of(const T* x, const T* y, int64_t begin, int64_t end) {
  Wide<T> sum = 0;
  for (int64_t i = begin + threadIdx.x * N; i < end; i += block_threads * N) {
    const Pack<T, N> a = load<N>(x + i), b = load<N>(y + i);
    for (int k = 0; k < N; ++k) sum += widened(a.values[k]) * widened(b.values[k]);
  }
  return sum;
}

// <G, normalised> of each tile.
template <class T>
__global__ void __launch_bounds__(block_threads)
    dot_kernel(const __grid_constant__ Pointers pointers, Group group, double* dots) {
  __shared__ double shared[warps_of_block];
  constexpr int lanes = lanes_of<T>;
  const Tile tile = tile_of_block(group);
  const T* x = static_cast<const T*>(pointer_of(pointers, tile.index, which_cotangent));
  const T* y = static_cast<const T*>(pointer_of(pointers, tile.index, which_normalised));
  int64_t whole = tile.begin;
  double sum = 0;
  if (is_aligned(x) && is_aligned(y)) {
    whole = tile.end - tile.end % lanes;
    sum = static_cast<double>(dot_of<T, lanes>(x, y, tile.begin, whole));
  }
  sum += static_cast<double>(dot_of<T, 1>(x, y, whole, tile.end));
  sum = block_sum(sum, shared);
  if (threadIdx.x == 0) dots[blockIdx.x] = sum;
}

// gradient = G / sigma + rank_one * a b^T, with N elements of one row at a time.
template <class T, int N>
__device__ void write_tile(const Tile& tile, const T* cotangent, const Wide<T>* a, const Wide<T>* b,
                           Wide<T> sigma, double rank_one, T* gradient) {
  using C = Wide<T>;
  const Layer& layer = tile.layer;
  const int64_t piece = tile.begin / layer.inner;  // a row of one of the outer blocks
  const int64_t block = piece / layer.rows;
  const int64_t in_piece = tile.begin - piece * layer.inner;
  const int64_t in_block = piece - block * layer.rows;
  for (int64_t i = tile.begin + threadIdx.x * N; i < tile.end; i += block_threads * N) {
    const Position across = position(in_piece, static_cast<uint32_t>(i - tile.begin), layer.inner);
    const Position down = position(in_block, static_cast<uint32_t>(across.quotient), layer.rows);
    const C* along = b + (block + down.quotient) * layer.inner + across.remainder;
    const C coefficient = static_cast<C>(rank_one * static_cast<double>(a[down.remainder]));
    Pack<T, N> pack = load<N>(cotangent + i);
    for (int k = 0; k < N; ++k)
      pack.values[k] = narrowed<T>((sigma == 0 ? C(0) : widened(pack.values[k]) / sigma) +
                                   coefficient * along[k]);
    store(gradient + i, pack);
  }
}

template <class T>
__global__ void __launch_bounds__(block_threads)
    gradient_kernel(const __grid_constant__ Pointers pointers, Group group, const double* dots,
                    const Wide<T>* sigma, const Wide<T>* sigma_cotangents, const Wide<T>* vectors) {
  using C = Wide<T>;
  __shared__ double shared[warps_of_block];
  constexpr int lanes = lanes_of<T>;
  const Tile tile = tile_of_block(group);
  const Layer& layer = tile.layer;
  double dot = 0;
  for (int64_t i = threadIdx.x; i < layer.flat_tiles; i += block_threads)
    dot += dots[layer.first_flat_tile + i];
  dot = block_sum(dot, shared);
  const C divisor = sigma[tile.index];
  const double given =
      sigma_cotangents == nullptr ? 0.0 : static_cast<double>(sigma_cotangents[tile.index]);
  const C* u = vectors + layer.vectors;
  const C* v = u + (layer.swapped ? layer.columns() : layer.rows);
  const C* a = layer.swapped ? v : u;
  const C* b = layer.swapped ? u : v;
  const T* cotangent = static_cast<const T*>(pointer_of(pointers, tile.index, which_cotangent));
  T* gradient = static_cast<T*>(pointer_of(pointers, tile.index, which_gradient));
  const double rank_one = given - (divisor == 0 ? 0.0 : dot / static_cast<double>(divisor));
  if (layer.inner % lanes == 0 && is_aligned(cotangent) && is_aligned(gradient))
    write_tile<T, lanes>(tile, cotangent, a, b, divisor, rank_one, gradient);
  else
    write_tile<T, 1>(tile, cotangent, a, b, divisor, rank_one, gradient);
}

template <class T>
int backward(const Pointers& pointers, const Group& group, int64_t tiles, const Wide<T>* sigma,
             const Wide<T>* sigma_cotangents, const Wide<T>* vectors, double* dots, void* stream) {
  const int status = launch(dot_kernel<T>, tiles, 0, stream, pointers, group, dots);
  if (status != FW_OK) return status;
  return launch(gradient_kernel<T>, tiles, 0, stream, pointers, group, dots, sigma,
                sigma_cotangents, vectors);
}

}  // namespace
}  // namespace fastwgan

int fw_cuda_spectral_norm_backward(const void* const* pointers,
                                   const fw_cuda_spectral_norm_totals* totals, int dtype,
                                   const void* plan, const void* sigma,
                                   const void* sigma_cotangents, const void* vectors, void* scratch,
                                   const void* table, int device, void* stream) {
  using namespace fastwgan;
  if (!is_valid(pointers, totals, plan, table)) return FW_INVALID_ARGUMENT;
  if (totals->layers == 0) return FW_OK;
  if (sigma == nullptr || scratch == nullptr || (totals->vectors > 0 && vectors == nullptr))
    return FW_INVALID_ARGUMENT;
  const DeviceGuard guard(device);
  if (guard.status() != FW_OK) return guard.status();
  const Group group = {static_cast<const Layer*>(plan), totals->layers};
  return for_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    using C = Wide<T>;
    return backward<T>(gathered(pointers, totals->layers, table), group, totals->flat_tiles,
                       static_cast<const C*>(sigma), static_cast<const C*>(sigma_cotangents),
                       static_cast<const C*>(vectors), static_cast<double*>(scratch), stream);
  });
}
