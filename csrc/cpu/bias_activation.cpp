#include "fastwgan/bias_activation.h"

#include <memory>
#include <new>

#include "arguments.h"
#include "parallel.h"
#include "simd.h"

namespace fastwgan {
namespace {

// slope * x where x is not above 0: NaN stays NaN, and 0 times an infinite x is 0, as ReLU has it.
template <class V, class T>
FW_INLINE V below(V x, T slope) {
  return slope == 0 ? (x == x ? V{} : x) : slope * x;
}

template <class T, int Bytes>
FW_INLINE void activate_row_body(T* row, const T* bias, T slope, int64_t columns) {
  using V = Vector<T, Bytes>;
  constexpr int step = lanes<T, Bytes>;
  const V zero = {};
  int64_t c = 0;
  for (; c + step <= columns; c += step) {
    V x = load<T, Bytes>(row + c);
    if (bias != nullptr) x += load<T, Bytes>(bias + c);
    store<T, Bytes>(row + c, x > zero ? x : below(x, slope));
  }
  for (; c < columns; ++c) {
    const T x = bias != nullptr ? row[c] + bias[c] : row[c];
    row[c] = x > 0 ? x : below(x, slope);
  }
}

FW_DISPATCH(activate_row, (T * row, const T* bias, T slope, int64_t columns),
            (row, bias, slope, columns))

template <class T>
struct Rows {  // of one thread, and where their sums go
  const T* cotangents;
  const T* outputs;
  T* results;
  int64_t count, columns, summed;
  T* sums;  // [columns], or null
};

template <class T, int Bytes, bool Summed>
FW_INLINE void differentiate_row(const Rows<T>& rows, int64_t r, T slope) {
  using V = Vector<T, Bytes>;
  constexpr int step = lanes<T, Bytes>;
  const T* d = rows.cotangents + r * rows.columns;
  const T* y = rows.outputs + r * rows.columns;
  T* result = rows.results + r * rows.columns;
  const V zero = {};
  int64_t c = 0;
  for (; c + step <= rows.columns; c += step) {
    const V given = load<T, Bytes>(d + c);
    const V found = load<T, Bytes>(y + c) > zero ? given : slope == 0 ? zero : slope * given;
    store<T, Bytes>(result + c, found);
    if constexpr (Summed) store<T, Bytes>(rows.sums + c, load<T, Bytes>(rows.sums + c) + found);
  }
  for (; c < rows.columns; ++c) {
    const T found = y[c] > 0 ? d[c] : slope == 0 ? T(0) : slope * d[c];
    result[c] = found;
    if constexpr (Summed) rows.sums[c] += found;
  }
}

template <class T, int Bytes>
FW_INLINE void differentiate_body(const Rows<T>& rows, T slope) {
  const int64_t summed = rows.sums == nullptr ? 0 : rows.summed;
  for (int64_t r = 0; r < summed; ++r) differentiate_row<T, Bytes, true>(rows, r, slope);
  for (int64_t r = summed; r < rows.count; ++r) differentiate_row<T, Bytes, false>(rows, r, slope);
}

FW_DISPATCH(differentiate, (const Rows<T>& rows, T slope), (rows, slope))

template <class T>
int forward(T* values, const T* bias, int64_t rows, int64_t columns, double slope, int threads) {
  const int64_t elements = elements_of({rows, columns});
  if (elements < 0 || !is_there(values, elements) || !is_aligned(bias) || !(slope >= 0))
    return FW_INVALID_ARGUMENT;
  if (elements == 0) return FW_OK;
  const int64_t bytes = elements * int64_t{sizeof(T)};
  parallel(threads_for(bytes, threads), [&](Team& team, int thread) {
    const Range mine = part_of(rows, thread, team.size());
    for (int64_t r = mine.begin; r < mine.end; ++r)
      activate_row<T>(values + r * columns, bias, static_cast<T>(slope), columns);
  });
  return FW_OK;
}

// Sums are taken row after row within blocks, and the blocks' sums added: the rounding error grows
// with the root of the number of rows. Each thread has sums of its own, added in their order.
constexpr int64_t block_rows = 256;

template <class T>
void differentiate_blocks(Rows<T> rows, T slope, T* block, T* sums) {
  for (int64_t first = 0; first < rows.count; first += block_rows) {
    Rows<T> part = rows;
    part.cotangents += first * rows.columns;
    part.outputs += first * rows.columns;
    part.results += first * rows.columns;
    part.count = rows.count - first < block_rows ? rows.count - first : block_rows;
    const int64_t summed = rows.summed - first;
    part.summed = summed < 0 ? 0 : summed < part.count ? summed : part.count;
    part.sums = part.summed > 0 ? block : nullptr;
    if (part.sums != nullptr)
      for (int64_t c = 0; c < rows.columns; ++c) block[c] = 0;
    differentiate<T>(part, slope);
    if (part.sums != nullptr)
      for (int64_t c = 0; c < rows.columns; ++c) sums[c] += block[c];
  }
}

template <class T>
int backward(const T* cotangents, const T* outputs, T* results, int64_t rows, int64_t columns,
             double slope, int64_t summed_rows, T* bias_gradient, int threads) {
  const int64_t elements = elements_of({rows, columns});
  if (elements < 0 || !is_there(cotangents, elements) || !is_there(outputs, elements) ||
      !is_there(results, elements) || !is_aligned(bias_gradient) ||
      (bias_gradient != nullptr && !is_count(columns)) || !(slope >= 0) || summed_rows < 0 ||
      summed_rows > rows)
    return FW_INVALID_ARGUMENT;
  if (columns == 0) return FW_OK;
  const int team_size = threads_for(2 * elements * int64_t{sizeof(T)}, threads);
  // A block and the sums of every thread.
  std::unique_ptr<T[]> scratch;
  if (bias_gradient != nullptr) {
    scratch.reset(new (std::nothrow) T[2 * team_size * columns]());
    if (scratch == nullptr) return FW_OUT_OF_MEMORY;
  }
  parallel(team_size, [&](Team& team, int thread) {
    const Range mine = part_of(rows, thread, team.size());
    const int64_t offset = mine.begin * columns;
    const int64_t summed = summed_rows - mine.begin;
    const Rows<T> part = {cotangents + offset,
                          outputs + offset,
                          results + offset,
                          mine.end - mine.begin,
                          columns,
                          summed,
                          nullptr};
    T* block = scratch == nullptr ? nullptr : scratch.get() + 2 * thread * columns;
    if (block == nullptr)
      differentiate<T>(part, static_cast<T>(slope));
    else
      differentiate_blocks<T>(part, static_cast<T>(slope), block, block + columns);
  });
  if (bias_gradient == nullptr) return FW_OK;
  for (int64_t c = 0; c < columns; ++c) {
    T sum = 0;
    for (int thread = 0; thread < team_size; ++thread)
      sum += scratch[(2 * thread + 1) * columns + c];
    bias_gradient[c] = sum;
  }
  return FW_OK;
}

}  // namespace
}  // namespace fastwgan

int fw_bias_activation_forward_f32(float* values, const float* bias, int64_t rows, int64_t columns,
                                   double slope, int threads) {
  return fastwgan::forward(values, bias, rows, columns, slope, threads);
}

int fw_bias_activation_forward_f64(double* values, const double* bias, int64_t rows,
                                   int64_t columns, double slope, int threads) {
  return fastwgan::forward(values, bias, rows, columns, slope, threads);
}

int fw_bias_activation_backward_f32(const float* cotangents, const float* outputs, float* results,
                                    int64_t rows, int64_t columns, double slope,
                                    int64_t summed_rows, float* bias_gradient, int threads) {
  return fastwgan::backward(cotangents, outputs, results, rows, columns, slope, summed_rows,
                            bias_gradient, threads);
}

int fw_bias_activation_backward_f64(const double* cotangents, const double* outputs,
                                    double* results, int64_t rows, int64_t columns, double slope,
                                    int64_t summed_rows, double* bias_gradient, int threads) {
  return fastwgan::backward(cotangents, outputs, results, rows, columns, slope, summed_rows,
                            bias_gradient, threads);
}
