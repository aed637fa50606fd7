#include "fastwgan/gradient_penalty.h"

#include <cmath>
#include <limits>

#include "arguments.h"
#include "parallel.h"
#include "scaled_copy.h"
#include "simd.h"

namespace fastwgan {
namespace {

template <class T, int Bytes>
FW_INLINE void interpolate_body(const T* real, const T* fake, T alpha, T* interpolates,
                                int64_t size) {
  constexpr int step = lanes<T, Bytes>;
  const T beta = T(1) - alpha;
  int64_t i = 0;
  for (; i + step <= size; i += step)
    store<T, Bytes>(interpolates + i,
                    alpha * load<T, Bytes>(real + i) + beta * load<T, Bytes>(fake + i));
  for (; i < size; ++i) interpolates[i] = alpha * real[i] + beta * fake[i];
}

FW_DISPATCH(interpolate, (const T* real, const T* fake, T alpha, T* interpolates, int64_t size),
            (real, fake, alpha, interpolates, size))

template <class T, int Bytes>
FW_INLINE void sum_of_squares_body(const T* row, int64_t size, double* sum) {
  *sum = exact_dot<T, Bytes>(row, row, size);
}

FW_DISPATCH(sum_of_squares, (const T* row, int64_t size, double* sum), (row, size, sum))

// The sum of squares in double holds every float. A double's own squares leave the range of normal
// numbers beyond 1e154 and below 1e-154: then the row is scaled by a power of two, exactly, first.
template <class T>
double norm(const T* row, int64_t size) {
  double sum;
  sum_of_squares<T>(row, size, &sum);
  if (sum != sum || (sum >= 1e-280 && sum <= std::numeric_limits<double>::max()))
    return std::sqrt(sum);
  double largest = 0;
  for (int64_t i = 0; i < size; ++i) {
    const double magnitude = std::fabs(static_cast<double>(row[i]));
    if (magnitude > largest) largest = magnitude;
  }
  if (largest == 0 || std::isinf(largest)) return largest;
  int exponent;
  std::frexp(largest, &exponent);
  sum = 0;
  for (int64_t i = 0; i < size; ++i) {
    const double scaled = std::ldexp(static_cast<double>(row[i]), -exponent);
    sum += scaled * scaled;
  }
  return std::ldexp(std::sqrt(sum), exponent);
}

// phi(n), phi'(n) / n and phi'(n). At n = 0 the second is 0: the norm's subgradient 0 is taken.
struct Penalty {
  double value, factor, slope;
};

Penalty penalty_at(double n, int kind, double target) {
  if (kind == FW_PENALTY_SQUARE) return {n * n, 2.0, 2.0 * n};
  double excess = n - target;
  if (kind == FW_PENALTY_ONE_SIDED && excess <= 0) excess = 0;  // NaN is kept
  return {excess * excess, n == 0 ? 0.0 : 2.0 * excess / n, 2.0 * excess};
}

// share * phi'(n) / n * row. Close to a norm of zero the factor leaves T's range though the
// cotangent does not, which is the slope times a unit vector; then it is computed as that.
template <class T>
void cotangent_of(const T* row, int64_t size, double n, double share, Penalty at, T* cotangent) {
  const double factor = share * at.factor;
  if (std::fabs(factor) <= static_cast<double>(std::numeric_limits<T>::max()))
    return scaled_copy<T>(row, static_cast<T>(factor), cotangent, size);
  for (int64_t i = 0; i < size; ++i)
    cotangent[i] = static_cast<T>(share * at.slope * (static_cast<double>(row[i]) / n));
}

template <class T>
int gradient_penalty_norm(const T* gradient, int64_t rows, int64_t size, int kind, double target,
                          double weight, T* penalty, T* norms, T* cotangent, int threads) {
  const int64_t elements = elements_of({rows, size});
  if (elements < 0 || !is_count(rows) || !is_there(penalty, 1) || !is_there(norms, rows) ||
      !is_there(gradient, elements) || !is_aligned(cotangent) || kind < FW_PENALTY_TWO_SIDED ||
      kind > FW_PENALTY_SQUARE)
    return FW_INVALID_ARGUMENT;
  const double share = weight / static_cast<double>(rows);
  parallel(threads_for(2 * elements * int64_t{sizeof(T)}, threads), [&](Team& team, int thread) {
    const Range mine = part_of(rows, thread, team.size());
    for (int64_t r = mine.begin; r < mine.end; ++r) {
      const double n = norm(gradient + r * size, size);
      norms[r] = static_cast<T>(n);
      if (cotangent != nullptr)
        cotangent_of(gradient + r * size, size, n, share, penalty_at(n, kind, target),
                     cotangent + r * size);
    }
  });
  // Summed by one thread, in order, so that the number of threads does not show.
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) {
    sum += penalty_at(static_cast<double>(norms[r]), kind, target).value;
  }
  *penalty = static_cast<T>(rows == 0 ? std::numeric_limits<double>::quiet_NaN() : share * sum);
  return FW_OK;
}

template <class T>
int gradient_penalty_interpolate(const T* real, const T* fake, const T* alpha, T* interpolates,
                                 int64_t rows, int64_t size, int64_t groups, int threads) {
  const int64_t elements = elements_of({rows, size});
  if (elements < 0 || groups < 0 || (rows > 0 && (groups == 0 || rows % groups != 0)))
    return FW_INVALID_ARGUMENT;
  if (elements == 0) return FW_OK;
  if (!is_there(real, elements) || !is_there(fake, elements) || !is_there(alpha, groups) ||
      !is_there(interpolates, elements))
    return FW_INVALID_ARGUMENT;
  const int64_t rows_per_group = rows / groups;
  parallel(threads_for(3 * elements * int64_t{sizeof(T)}, threads), [&](Team& team, int thread) {
    const Range mine = part_of(rows, thread, team.size());
    for (int64_t r = mine.begin; r < mine.end; ++r)
      interpolate<T>(real + r * size, fake + r * size, alpha[r / rows_per_group],
                     interpolates + r * size, size);
  });
  return FW_OK;
}

}  // namespace
}  // namespace fastwgan

int fw_gradient_penalty_interpolate_f32(const float* real, const float* fake, const float* alpha,
                                        float* interpolates, int64_t rows, int64_t size,
                                        int64_t groups, int threads) {
  return fastwgan::gradient_penalty_interpolate(real, fake, alpha, interpolates, rows, size, groups,
                                                threads);
}

int fw_gradient_penalty_interpolate_f64(const double* real, const double* fake, const double* alpha,
                                        double* interpolates, int64_t rows, int64_t size,
                                        int64_t groups, int threads) {
  return fastwgan::gradient_penalty_interpolate(real, fake, alpha, interpolates, rows, size, groups,
                                                threads);
}

int fw_gradient_penalty_norm_f32(const float* gradient, int64_t rows, int64_t size, int kind,
                                 double target, double weight, float* penalty, float* norms,
                                 float* cotangent, int threads) {
  return fastwgan::gradient_penalty_norm(gradient, rows, size, kind, target, weight, penalty, norms,
                                         cotangent, threads);
}

int fw_gradient_penalty_norm_f64(const double* gradient, int64_t rows, int64_t size, int kind,
                                 double target, double weight, double* penalty, double* norms,
                                 double* cotangent, int threads) {
  return fastwgan::gradient_penalty_norm(gradient, rows, size, kind, target, weight, penalty, norms,
                                         cotangent, threads);
}
