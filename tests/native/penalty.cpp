// Interpolation, norms, penalty and cotangent: right, and the same for any number of threads.
#include "fastwgan/gradient_penalty.h"
#include "harness.h"

namespace {

int interpolate(const float* real, const float* fake, const float* alpha, float* to, int64_t rows,
                int64_t size, int64_t groups, int threads) {
  return fw_gradient_penalty_interpolate_f32(real, fake, alpha, to, rows, size, groups, threads);
}
int interpolate(const double* real, const double* fake, const double* alpha, double* to,
                int64_t rows, int64_t size, int64_t groups, int threads) {
  return fw_gradient_penalty_interpolate_f64(real, fake, alpha, to, rows, size, groups, threads);
}
int norms_of(const float* gradient, int64_t rows, int64_t size, int kind, double target,
             double weight, float* penalty, float* norms, float* cotangent, int threads) {
  return fw_gradient_penalty_norm_f32(gradient, rows, size, kind, target, weight, penalty, norms,
                                      cotangent, threads);
}
int norms_of(const double* gradient, int64_t rows, int64_t size, int kind, double target,
             double weight, double* penalty, double* norms, double* cotangent, int threads) {
  return fw_gradient_penalty_norm_f64(gradient, rows, size, kind, target, weight, penalty, norms,
                                      cotangent, threads);
}

template <class T>
void interpolate_of(int64_t rows, int64_t size, int64_t groups, int threads) {
  const Buffer<T> real(rows * size, 1), fake(rows * size), alpha(groups, 2);
  Buffer<T> single(rows * size, 2), shared(rows * size, 1);
  single.fill(NAN);
  shared.fill(NAN);
  CHECK(interpolate(real.data(), fake.data(), alpha.data(), single.data(), rows, size, groups, 1) ==
        FW_OK);
  CHECK(interpolate(real.data(), fake.data(), alpha.data(), shared.data(), rows, size, groups,
                    threads) == FW_OK);
  CHECK(shared == single);
  for (int64_t i = 0; i < rows * size; ++i) {
    const double a = alpha[i / size / (rows / groups)];
    CHECK(close<T>(single[i], a * real[i] + (1 - a) * fake[i]));
  }
}

template <class T>
struct Outcome {
  Buffer<T> penalty, norms, cotangent;
  Outcome(int64_t rows, int64_t size) : penalty(1), norms(rows, 1), cotangent(rows * size, 2) {
    penalty.fill(NAN);
    norms.fill(NAN);
    cotangent.fill(NAN);
  }
};

template <class T>
void check_row(const Buffer<T>& gradient, const Outcome<T>& outcome, int64_t r, int64_t size,
               double share, int kind) {
  double square = 0;
  for (int64_t i = 0; i < size; ++i)
    square += double{gradient[r * size + i]} * gradient[r * size + i];
  const double n = std::sqrt(square);
  CHECK(close<T>(outcome.norms[r], n));
  const double excess = kind == FW_PENALTY_ONE_SIDED && n < 1 ? 0 : n - 1;
  const double factor = kind == FW_PENALTY_SQUARE ? 2 : n == 0 ? 0 : 2 * excess / n;
  for (int64_t i = 0; i < size; ++i)
    CHECK(close<T>(outcome.cotangent[r * size + i], share * factor * gradient[r * size + i]));
}

template <class T>
void norm_of(int64_t rows, int64_t size, int threads) {
  for (int kind = FW_PENALTY_TWO_SIDED; kind <= FW_PENALTY_SQUARE; ++kind) {
    Buffer<T> gradient(rows * size, 1);
    if (rows > 1)
      for (int64_t i = 0; i < size; ++i) gradient[i] = 0;
    Outcome<T> single(rows, size), shared(rows, size), alone(rows, size);
    CHECK(norms_of(gradient.data(), rows, size, kind, 1.0, 10.0, single.penalty.data(),
                   single.norms.data(), single.cotangent.data(), 1) == FW_OK);
    CHECK(norms_of(gradient.data(), rows, size, kind, 1.0, 10.0, shared.penalty.data(),
                   shared.norms.data(), shared.cotangent.data(), threads) == FW_OK);
    CHECK(norms_of(gradient.data(), rows, size, kind, 1.0, 10.0, alone.penalty.data(),
                   alone.norms.data(), nullptr, threads) == FW_OK);
    CHECK(shared.norms == single.norms);
    CHECK(alone.norms == single.norms);
    CHECK(shared.cotangent == single.cotangent);
    for (int64_t r = 0; r < rows; ++r)
      check_row(gradient, single, r, size, 10.0 / static_cast<double>(rows), kind);
    if (rows == 0) {
      CHECK(std::isnan(single.penalty[0]) && std::isnan(shared.penalty[0]));
      continue;
    }
    CHECK(shared.penalty == single.penalty);
    CHECK(alone.penalty == single.penalty);
    // The cotangent may be the gradient's own memory.
    CHECK(norms_of(gradient.data(), rows, size, kind, 1.0, 10.0, shared.penalty.data(),
                   shared.norms.data(), gradient.data(), threads) == FW_OK);
    CHECK(gradient == single.cotangent || rows * size == 0);
  }
}

// Rows of one repeated value; far outside the range in which squares are normal numbers.
template <class T>
void extreme_norms() {
  for (double value : {1e-36, 1e-20, 1e18, 1e37}) {
    const T element = static_cast<T>(sizeof(T) == 8 ? std::pow(value, 8) : value);
    Buffer<T> gradient(9), cotangent(9);
    gradient.fill(static_cast<double>(element));
    T penalty, norm;
    CHECK(norms_of(gradient.data(), 1, 9, FW_PENALTY_TWO_SIDED, 1.0, 10.0, &penalty, &norm,
                   cotangent.data(), 1) == FW_OK);
    CHECK(std::fabs(double{norm} / (3 * double{element}) - 1) < 1e-6);
    for (int64_t i = 0; i < 9; ++i) CHECK(std::isfinite(cotangent[i]));
  }
}

template <class T>
void gradient_penalty_of(int threads) {
  for (int64_t size : {0, 1, 7, 16, 33, 97})
    for (int64_t rows : {0, 1, 6, 30}) {
      interpolate_of<T>(rows, size, rows == 0 ? 1 : rows, threads);
      norm_of<T>(rows, size, threads);
    }
  interpolate_of<T>(66, 1001, 33, threads);
  norm_of<T>(67, 1001, threads);
  norm_of<T>(1, 70003, threads);
  extreme_norms<T>();
}

}  // namespace

void check_gradient_penalty(int threads) {
  gradient_penalty_of<float>(threads);
  gradient_penalty_of<double>(threads);
}
