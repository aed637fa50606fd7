#include <cfloat>
#include <cstring>
#include <initializer_list>

#include "fastwgan/gradient_penalty.h"
#include "reduce.cuh"

namespace fastwgan {
namespace {

constexpr int64_t chunk_elements = 4096;

// One block a chunk of the samples taken as one row; `share` is how many elements an alpha serves.
template <class T, int N>
__global__ void __launch_bounds__(block_threads)
    interpolate_kernel(const T* real, const T* fake, const Wide<T>* alpha, T* interpolates,
                       int64_t total, int64_t share) {
  const int64_t begin = int64_t{blockIdx.x} * chunk_elements;
  const int64_t end = begin + chunk_elements < total ? begin + chunk_elements : total;
  const int64_t group = begin / share, first = begin - group * share;
  for (int64_t i = begin + threadIdx.x * N; i < end; i += block_threads * N) {
    const Position at = position(first, static_cast<uint32_t>(i - begin), share);
    const Wide<T> a = alpha[group + at.quotient], b = Wide<T>(1) - a;
    const Pack<T, N> x = load<N>(real + i), y = load<N>(fake + i);
    Pack<T, N> mixed;
    for (int k = 0; k < N; ++k)
      mixed.values[k] = narrowed<T>(a * widened(x.values[k]) + b * widened(y.values[k]));
    store(interpolates + i, mixed);
  }
}

// A row's sum of squares, in parts: sum * 4^exponent, so that no double leaves its range.
struct Part {
  double sum;
  int64_t exponent;
};
constexpr int64_t no_exponent = -4096;  // of a sum of zero, below that of any other

// Rows are cut into at most 256 spans of whole packs, one block each.
int64_t span_of(int64_t size) { return ceil_div(size > 0 ? size : 1, int64_t{2048} * 256) * 2048; }
int64_t spans_of(int64_t size) { return size > 0 ? ceil_div(size, span_of(size)) : 1; }

struct Rows {
  int64_t rows, size, span, spans;
};

template <class T, int N, class Body>
__device__ inline void for_each_of_span(const T* row, int64_t begin, int64_t end, Body body) {
  for (int64_t i = begin + threadIdx.x * N; i < end; i += block_threads * N) {
    const Pack<T, N> pack = load<N>(row + i);
    for (int k = 0; k < N; ++k) body(static_cast<double>(widened(pack.values[k])));
  }
}

// x * 2^n for any n: three factors reach every double from every other.
__device__ inline double times_power_of_two(double x, int n) {
  n = n < -2200 ? -2200 : n > 2200 ? 2200 : n;
  const int third = n / 3;
  for (const int part : {third, third, n - 2 * third}) {
    const uint64_t bits = static_cast<uint64_t>(1023 + part) << 52;
    double factor;
    memcpy(&factor, &bits, sizeof factor);
    x *= factor;
  }
  return x;
}

// An n with |x| < 2^n that is close, for finite x above 0.
__device__ inline int exponent_above(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return static_cast<int>(bits >> 52) - 1022;
}

// The squares of doubles can leave the range of doubles: then they are scaled by a power of two.
template <class T, int N>
__device__ Part scaled_part(const T* row, int64_t begin, int64_t end, double* shared) {
  double largest = 0;
  for_each_of_span<T, N>(row, begin, end, [&](double x) {
    const double magnitude = fabs(x);
    largest = magnitude > largest ? magnitude : largest;
  });
  largest = block_max(largest, shared);
  if (largest == 0) return {0, no_exponent};
  if (largest > DBL_MAX) return {largest, 0};
  const int exponent = exponent_above(largest);
  double sum = 0;
  for_each_of_span<T, N>(row, begin, end, [&](double x) {
    const double scaled = times_power_of_two(x, -exponent);
    sum += scaled * scaled;
  });
  return {block_sum(sum, shared), exponent};
}

template <class T, int N>
__global__ void __launch_bounds__(block_threads)
    squares_kernel(const T* gradient, Rows shape, Part* parts) {
  __shared__ double shared[warps_of_block];
  const int64_t r = blockIdx.x / shape.spans, span = blockIdx.x % shape.spans;
  const int64_t begin = span * shape.span;
  const int64_t end = begin + shape.span < shape.size ? begin + shape.span : shape.size;
  const T* row = gradient + r * shape.size;
  double sum = 0;
  for_each_of_span<T, N>(row, begin, end, [&](double x) { sum += x * x; });
  sum = block_sum(sum, shared);
  Part part = {sum, sum == 0 ? no_exponent : 0};
  if constexpr (sizeof(T) == sizeof(double))
    if (!(sum != sum || (sum >= 1e-280 && sum <= 1e280)))
      part = scaled_part<T, N>(row, begin, end, shared);
  if (threadIdx.x == 0) parts[blockIdx.x] = part;
}

__device__ inline double norm_of(double sum, int64_t exponent) {
  return times_power_of_two(sqrt(sum), static_cast<int>(exponent));
}

// A part's sum in units of 4^top.
__device__ inline double part_beside(const Part& part, int64_t top) {
  return times_power_of_two(part.sum, 2 * static_cast<int>(part.exponent - top));
}

// The norm of a row from its parts, by the whole block.
__device__ inline double row_norm(const Part* parts, int64_t spans, double* shared) {
  double top = no_exponent;
  for (int64_t i = threadIdx.x; i < spans; i += block_threads)
    top =
        static_cast<double>(parts[i].exponent) > top ? static_cast<double>(parts[i].exponent) : top;
  top = block_max(top, shared);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < spans; i += block_threads)
    sum += part_beside(parts[i], static_cast<int64_t>(top));
  return norm_of(block_sum(sum, shared), static_cast<int64_t>(top));
}

// The same by one thread, for the sum over the rows.
__device__ inline double row_norm_alone(const Part* parts, int64_t spans) {
  int64_t top = no_exponent;
  for (int64_t i = 0; i < spans; ++i) top = parts[i].exponent > top ? parts[i].exponent : top;
  double sum = 0;
  for (int64_t i = 0; i < spans; ++i) sum += part_beside(parts[i], top);
  return norm_of(sum, top);
}

struct Profile {
  int kind;
  double target, share;  // share: weight over rows
};

// phi(n), phi'(n) / n and phi'(n). At n = 0 the second is 0: the norm's subgradient 0 is taken.
struct Penalty {
  double value, factor, slope;
};

__device__ inline Penalty penalty_at(double n, const Profile& profile) {
  if (profile.kind == FW_PENALTY_SQUARE) return {n * n, 2.0, 2.0 * n};
  double excess = n - profile.target;
  if (profile.kind == FW_PENALTY_ONE_SIDED && excess <= 0) excess = 0;  // NaN is kept
  return {excess * excess, n == 0 ? 0.0 : 2.0 * excess / n, 2.0 * excess};
}

template <class C>
__device__ double largest_number() {
  return sizeof(C) == sizeof(float) ? double{FLT_MAX} : DBL_MAX;
}

// Close to a norm of zero the factor leaves C's range though the cotangent does not, which is the
// slope times a unit vector; then it is computed as that.
template <class T, int N>
__device__ void write_cotangent(const T* row, Wide<T>* cotangent, int64_t begin, int64_t end,
                                double n, const Profile& profile) {
  using C = Wide<T>;
  const Penalty at = penalty_at(n, profile);
  const double factor = profile.share * at.factor;
  const bool usual = fabs(factor) <= largest_number<C>();
  const C narrow = static_cast<C>(usual ? factor : 0.0);
  for (int64_t i = begin + threadIdx.x * N; i < end; i += block_threads * N) {
    const Pack<T, N> x = load<N>(row + i);
    Pack<C, N> result;
    for (int k = 0; k < N; ++k)
      result.values[k] = usual ? narrow * widened(x.values[k])
                               : static_cast<C>(profile.share * at.slope *
                                                (static_cast<double>(widened(x.values[k])) / n));
    store(cotangent + i, result);
  }
}

// The last block sums over the rows, each by one thread, in an order that is always the same.
template <class C>
__device__ void write_penalty(const Part* parts, const Rows& shape, const Profile& profile,
                              C* penalty, double* shared) {
  double sum = 0;
  for (int64_t r = threadIdx.x; r < shape.rows; r += block_threads) {
    const C norm = static_cast<C>(row_norm_alone(parts + r * shape.spans, shape.spans));
    sum += penalty_at(static_cast<double>(norm), profile).value;
  }
  sum = block_sum(sum, shared);
  // The mean of nothing is NaN, as 0 / 0 is.
  if (threadIdx.x == 0)
    *penalty = static_cast<C>(shape.rows == 0 ? sum / sum : profile.share * sum);
}

template <class T, int N>
__global__ void __launch_bounds__(block_threads)
    cotangent_kernel(const T* gradient, Rows shape, Profile profile, const Part* parts,
                     Wide<T>* penalty, Wide<T>* norms, Wide<T>* cotangent) {
  __shared__ double shared[warps_of_block];
  const int64_t r = blockIdx.x / shape.spans, span = blockIdx.x % shape.spans;
  if (r == shape.rows) {
    write_penalty(parts, shape, profile, penalty, shared);
    return;
  }
  const double n = row_norm(parts + r * shape.spans, shape.spans, shared);
  if (span == 0 && threadIdx.x == 0) norms[r] = static_cast<Wide<T>>(n);
  const int64_t begin = span * shape.span;
  const int64_t end = begin + shape.span < shape.size ? begin + shape.span : shape.size;
  write_cotangent<T, N>(gradient + r * shape.size, cotangent + r * shape.size, begin, end, n,
                        profile);
}

template <class T, int N>
int launch_norm(const T* gradient, const Rows& shape, const Profile& profile, Wide<T>* penalty,
                Wide<T>* norms, Wide<T>* cotangent, Part* parts, void* stream) {
  const int64_t blocks = shape.rows * shape.spans;
  const int status = launch(squares_kernel<T, N>, blocks, 0, stream, gradient, shape, parts);
  if (status != FW_OK) return status;
  return launch(cotangent_kernel<T, N>, blocks + 1, 0, stream, gradient, shape, profile, parts,
                penalty, norms, cotangent);
}

}  // namespace
}  // namespace fastwgan

int fw_cuda_gradient_penalty_interpolate(const void* real, const void* fake, const void* alpha,
                                         void* interpolates, int64_t rows, int64_t size,
                                         int64_t groups, int dtype, int device, void* stream) {
  using namespace fastwgan;
  if (rows < 0 || size < 0 || groups < 0 || (rows > 0 && (groups == 0 || rows % groups != 0)))
    return FW_INVALID_ARGUMENT;
  const int64_t total = rows * size;
  if (total == 0) return FW_OK;
  if (real == nullptr || fake == nullptr || alpha == nullptr || interpolates == nullptr)
    return FW_INVALID_ARGUMENT;
  const DeviceGuard guard(device);
  if (guard.status() != FW_OK) return guard.status();
  return for_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t share = total / groups;
    const bool packs = share % lanes_of<T> == 0 && is_aligned(real) && is_aligned(fake) &&
                       is_aligned(interpolates);
    return launch(packs ? interpolate_kernel<T, lanes_of<T>> : interpolate_kernel<T, 1>,
                  ceil_div(total, chunk_elements), 0, stream, static_cast<const T*>(real),
                  static_cast<const T*>(fake), static_cast<const Wide<T>*>(alpha),
                  static_cast<T*>(interpolates), total, share);
  });
}

int64_t fw_cuda_gradient_penalty_scratch(int64_t rows, int64_t size) {
  return rows * fastwgan::spans_of(size) * static_cast<int64_t>(sizeof(fastwgan::Part));
}

int fw_cuda_gradient_penalty_norm(const void* gradient, int64_t rows, int64_t size, int dtype,
                                  int kind, double target, double weight, void* penalty,
                                  void* norms, void* cotangent, void* scratch, int device,
                                  void* stream) {
  using namespace fastwgan;
  if (rows < 0 || size < 0 || penalty == nullptr || kind < FW_PENALTY_TWO_SIDED ||
      kind > FW_PENALTY_SQUARE || (rows > 0 && (norms == nullptr || scratch == nullptr)) ||
      (rows > 0 && size > 0 && (gradient == nullptr || cotangent == nullptr)))
    return FW_INVALID_ARGUMENT;
  const DeviceGuard guard(device);
  if (guard.status() != FW_OK) return guard.status();
  const Rows shape = {rows, size, span_of(size), spans_of(size)};
  const Profile profile = {kind, target, rows > 0 ? weight / static_cast<double>(rows) : weight};
  return for_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    using C = Wide<T>;
    const bool packs = size % lanes_of<T> == 0 && is_aligned(gradient) && is_aligned(cotangent);
    return (packs ? launch_norm<T, lanes_of<T>>
                  : launch_norm<T, 1>)(static_cast<const T*>(gradient), shape, profile,
                                       static_cast<C*>(penalty), static_cast<C*>(norms),
                                       static_cast<C*>(cotangent), static_cast<Part*>(scratch),
                                       stream);
  });
}
