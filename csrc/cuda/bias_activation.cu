#include "fastwgan/bias_activation.h"
#include "reduce.cuh"

namespace fastwgan {
namespace {

constexpr int64_t chunk_elements = 4096;

// slope * x where x is not above 0: NaN stays NaN, and 0 times an infinite x is 0, as ReLU has it.
template <class C>
__device__ C below(C x, C slope) {
  return slope == 0 ? (x == x ? C(0) : x) : slope * x;
}

// One block a chunk of the matrix taken as one row.
template <class T, int N>
__global__ void __launch_bounds__(block_threads)
    activate_kernel(T* values, const T* bias, int64_t total, int64_t columns, Wide<T> slope) {
  const int64_t begin = int64_t{blockIdx.x} * chunk_elements;
  const int64_t end = begin + chunk_elements < total ? begin + chunk_elements : total;
  const int64_t first = begin % columns;
  for (int64_t i = begin + threadIdx.x * N; i < end; i += block_threads * N) {
    Pack<T, N> pack = load<N>(values + i);
    Pack<T, N> offsets = {};
    if (bias != nullptr)
      offsets =
          load<N>(bias + position(first, static_cast<uint32_t>(i - begin), columns).remainder);
    for (int k = 0; k < N; ++k) {
      Wide<T> x = widened(pack.values[k]);
      if (bias != nullptr) x += widened(offsets.values[k]);
      pack.values[k] = narrowed<T>(x > 0 ? x : below(x, slope));
    }
    store(values + i, pack);
  }
}

// A block works on a tile: `width` threads side by side, each with N columns, and the others below
// them, over `rows` rows. Sums go to one row of `partial` a tile row, and are added up in order.
struct Tiling {
  int width;
  int64_t strips, rows, splits;
};

Tiling tiling_of(int64_t rows, int64_t columns, int lanes) {
  Tiling tiling = {1, 1, 1, 1};
  const int64_t packs = columns > 0 ? ceil_div(columns, lanes) : 1;
  while (tiling.width < warp_size && tiling.width < packs) tiling.width *= 2;
  tiling.strips = ceil_div(packs, tiling.width);
  const int64_t wanted = 1024 / (tiling.strips < 1024 ? tiling.strips : 1024);  // of splits
  const int64_t least = 4 * block_threads / tiling.width;                       // of rows
  tiling.rows = ceil_div(rows, wanted < 256 ? wanted : 256);
  if (tiling.rows < least) tiling.rows = least;
  tiling.splits = ceil_div(rows, tiling.rows);
  return tiling;
}

template <class T>
struct Matrices {
  const T* cotangents;
  const T* outputs;
  T* results;
  int64_t rows, columns, summed_rows;
};

// Adds up what the threads below one another found, in order; the uppermost have the sums.
template <class C, int N>
__device__ void sum_over_rows(C (&sums)[N], int width, C* shared) {
  for (int k = 0; k < N; ++k) shared[threadIdx.x * N + k] = sums[k];
  __syncthreads();
  if (static_cast<int>(threadIdx.x) < width)
    for (int other = threadIdx.x + width; other < block_threads; other += width)
      for (int k = 0; k < N; ++k) sums[k] += shared[other * N + k];
}

template <class T, int N>
__global__ void __launch_bounds__(block_threads, 4)
    differentiate_kernel(Matrices<T> m, Tiling tiling, Wide<T> slope, Wide<T>* partial) {
  using C = Wide<T>;
  __shared__ C shared[block_threads * N];
  const int64_t split = blockIdx.x / tiling.strips, strip = blockIdx.x % tiling.strips;
  const int64_t column = (strip * tiling.width + threadIdx.x % tiling.width) * N;
  const int64_t last = (split + 1) * tiling.rows;
  const int64_t end = last < m.rows ? last : m.rows;
  const int step = block_threads / tiling.width;
  C sums[N] = {};
  if (column < m.columns)
    for (int64_t r = split * tiling.rows + threadIdx.x / tiling.width; r < end; r += step) {
      const int64_t i = r * m.columns + column;
      const Pack<T, N> given = load<N>(m.cotangents + i), y = load<N>(m.outputs + i);
      Pack<T, N> found;
      for (int k = 0; k < N; ++k) {
        const C d = widened(given.values[k]);
        found.values[k] = narrowed<T>(widened(y.values[k]) > 0 ? d : slope == 0 ? C(0) : slope * d);
        if (r < m.summed_rows) sums[k] += widened(found.values[k]);
      }
      store(m.results + i, found);
    }
  if (partial == nullptr) return;
  sum_over_rows(sums, tiling.width, shared);
  if (static_cast<int>(threadIdx.x) < tiling.width && column < m.columns)
    for (int k = 0; k < N; ++k) partial[split * m.columns + column + k] = sums[k];
}

// 32 columns a block; each warp a share of the splits.
template <class T>
__global__ void __launch_bounds__(block_threads)
    sum_kernel(const Wide<T>* partial, int64_t columns, int64_t splits, T* bias_gradient) {
  using C = Wide<T>;
  __shared__ C shared[block_threads];
  const int64_t column = int64_t{blockIdx.x} * warp_size + threadIdx.x % warp_size;
  C sums[1] = {};
  if (column < columns)
    for (int64_t split = threadIdx.x / warp_size; split < splits; split += warps_of_block)
      sums[0] += partial[split * columns + column];
  sum_over_rows(sums, warp_size, shared);
  if (threadIdx.x < warp_size && column < columns) bias_gradient[column] = narrowed<T>(sums[0]);
}

bool is_valid(const void* first, int64_t rows, int64_t columns, double slope) {
  if (rows < 0 || columns < 0 || !(slope >= 0)) return false;
  return first != nullptr || rows == 0 || columns == 0;
}

template <class T>
int lanes_for(const Matrices<T>& m) {
  const bool packs = m.columns % lanes_of<T> == 0 && is_aligned(m.cotangents) &&
                     is_aligned(m.outputs) && is_aligned(m.results);
  return packs ? lanes_of<T> : 1;
}

template <class T>
int backward(const Matrices<T>& m, double slope, T* bias_gradient, void* scratch, void* stream) {
  using C = Wide<T>;
  const int lanes = lanes_for(m);
  const Tiling tiling = tiling_of(m.rows, m.columns, lanes);
  C* partial = bias_gradient == nullptr ? nullptr : static_cast<C*>(scratch);
  const int status =
      launch(lanes == 1 ? differentiate_kernel<T, 1> : differentiate_kernel<T, lanes_of<T>>,
             m.columns > 0 ? tiling.strips * tiling.splits : 0, 0, stream, m, tiling,
             static_cast<C>(slope), partial);
  if (status != FW_OK || bias_gradient == nullptr) return status;
  return launch(sum_kernel<T>, ceil_div(m.columns, warp_size), 0, stream, partial, m.columns,
                tiling.splits, bias_gradient);
}

}  // namespace
}  // namespace fastwgan

int fw_cuda_bias_activation_forward(void* values, const void* bias, int64_t rows, int64_t columns,
                                    int dtype, double slope, int device, void* stream) {
  using namespace fastwgan;
  if (!is_valid(values, rows, columns, slope)) return FW_INVALID_ARGUMENT;
  const DeviceGuard guard(device);
  if (guard.status() != FW_OK) return guard.status();
  return for_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t total = rows * columns;
    const bool packs = columns % lanes_of<T> == 0 && is_aligned(values) && is_aligned(bias);
    return launch(packs ? activate_kernel<T, lanes_of<T>> : activate_kernel<T, 1>,
                  ceil_div(total, chunk_elements), 0, stream, static_cast<T*>(values),
                  static_cast<const T*>(bias), total, columns, static_cast<Wide<T>>(slope));
  });
}

int64_t fw_cuda_bias_activation_scratch(int64_t rows, int64_t columns, int dtype) {
  using namespace fastwgan;
  int64_t bytes = 0;
  for_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (const int lanes : {1, lanes_of<T>}) {
      const int64_t splits = tiling_of(rows, columns, lanes).splits;
      const int64_t own = splits * columns * static_cast<int64_t>(sizeof(Wide<T>));
      bytes = own > bytes ? own : bytes;
    }
    return int{FW_OK};
  });
  return bytes;
}

int fw_cuda_bias_activation_backward(const void* cotangents, const void* outputs, void* results,
                                     int64_t rows, int64_t columns, int dtype, double slope,
                                     int64_t summed_rows, void* bias_gradient, void* scratch,
                                     int device, void* stream) {
  using namespace fastwgan;
  if (!is_valid(cotangents, rows, columns, slope) || !is_valid(outputs, rows, columns, slope) ||
      !is_valid(results, rows, columns, slope) || summed_rows < 0 || summed_rows > rows ||
      (bias_gradient != nullptr && scratch == nullptr && rows > 0 && columns > 0))
    return FW_INVALID_ARGUMENT;
  const DeviceGuard guard(device);
  if (guard.status() != FW_OK) return guard.status();
  return for_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    return backward<T>({static_cast<const T*>(cotangents), static_cast<const T*>(outputs),
                        static_cast<T*>(results), rows, columns, summed_rows},
                       slope, static_cast<T*>(bias_gradient), scratch, stream);
  });
}
