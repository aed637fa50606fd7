// Power iteration on one matrix by a team of threads (or by one thread, a team of its own).
//
// S is the matrix as stored; a [rows of S] and b [columns of S] are the vectors along its rows and
// columns: u and v, or v and u where the weight is stored transposed. Each thread keeps its own
// rows from one product to the next, so that they stay in its cache.
#pragma once

#include <cmath>
#include <cstring>
#include <type_traits>

#include "matrix_vector.h"
#include "parallel.h"

namespace fastwgan {

constexpr int cache_line = 64;

template <class T>
struct Workspace {  // one per thread; a team shares products, totals and squares of thread 0
  T* partial;       // [longest b] this thread's share of S^T a
  T* products;      // [longest a] S b
  T* totals;        // [longest b] S^T a
  double* squares;  // [threads * 8] each thread's sum, a cache line apart
};

template <class T, int Bytes>
FW_INLINE void exact_dot_of_body(const T* a, const T* b, int64_t size, double* sum) {
  *sum = exact_dot<T, Bytes>(a, b, size);
}
FW_DISPATCH(exact_dot_of, (const T* a, const T* b, int64_t size, double* sum), (a, b, size, sum))

template <class T>
class PowerIteration {
 public:
  PowerIteration(Team& team, int thread, const Matrix<T>& s, T* a, T* b, Workspace<T>* workspaces)
      : team_(team),
        thread_(thread),
        s_(s),
        a_(a),
        b_(b),
        own_(workspaces[thread]),
        shared_(workspaces[0]),
        rows_(part_of(s.rows, thread, team.size(), 4)),
        cols_(part_of(s.cols(), thread, team.size(), cache_line / int64_t{sizeof(T)})) {}

  // Alternates the two half-steps, `iterations` of each; returns sigma.
  double run(int64_t iterations, bool rows_first, double epsilon) {
    if (iterations == 0) return form();
    double sigma = 0;
    for (int64_t i = 0; i < iterations; ++i) {
      if (rows_first) {
        sigma = both_halves(epsilon);
      } else {
        column_half(epsilon);
        sigma = row_half(epsilon);
      }
    }
    return sigma;
  }

 private:
  // a^T S b with the vectors as they are.
  double form() {
    row_step<T>(s_, rows_.begin, rows_.end, b_, shared_.products);
    return team_dot(a_, shared_.products, rows_);
  }

  // a <- S b / max(|S b|, epsilon); returns a . S b.
  double row_half(double epsilon) {
    row_step<T>(s_, rows_.begin, rows_.end, b_, shared_.products);
    return take(shared_.products, a_, rows_, epsilon);
  }

  // b <- S^T a / max(|S^T a|, epsilon); returns b . S^T a.
  double column_half(double epsilon) {
    std::memset(own_.partial, 0, sizeof(T) * s_.cols());
    column_step<T>(s_, rows_.begin, rows_.end, a_, own_.partial);
    sum_partials();
    return take(shared_.totals, b_, cols_, epsilon);
  }

  // row_half and column_half in one reading of S: S^T is applied to S b before its norm is known,
  // and the norm divides the result.
  double both_halves(double epsilon) {
    std::memset(own_.partial, 0, sizeof(T) * s_.cols());
    row_and_column_step<T>(s_, rows_.begin, rows_.end, b_, shared_.products, own_.partial);
    const double norm = team_norm(shared_.products, rows_);
    const double square = norm * norm;
    // S^T S b has entries up to sigma^2: where that leaves T's range, or is clamped by epsilon or
    // zero, the half-steps are taken apart.
    constexpr double low = std::is_same_v<T, float> ? 1e-30 : 1e-280;
    constexpr double high = std::is_same_v<T, float> ? 1e30 : 1e280;
    if (!(square > low && square < high && norm > epsilon)) {
      take(shared_.products, a_, rows_, epsilon);
      return column_half(epsilon);
    }
    divide(shared_.products, a_, rows_, norm);
    sum_partials();
    divide(shared_.totals, shared_.totals, cols_, norm);
    return take(shared_.totals, b_, cols_, epsilon);
  }

  void sum_partials() {
    team_.barrier();
    T* totals = shared_.totals;
    const Workspace<T>* all = &shared_;
    for (int64_t i = cols_.begin; i < cols_.end; ++i) totals[i] = all[0].partial[i];
    for (int other = 1; other < team_.size(); ++other)
      for (int64_t i = cols_.begin; i < cols_.end; ++i) totals[i] += all[other].partial[i];
  }

  // vector <- product / max(|product|, epsilon), unless the product is zero; each thread its own
  // range, all of it visible to all on return.
  double take(const T* product, T* vector, Range range, double epsilon) {
    const double norm = team_norm(product, range);
    const double divisor = norm < epsilon ? epsilon : norm;  // NaN is kept
    if (norm != 0) divide(product, vector, range, divisor);
    team_.barrier();
    return norm == 0 ? 0.0 : norm * (norm / divisor);
  }

  static void divide(const T* from, T* to, Range range, double divisor) {
    const T d = static_cast<T>(divisor);
    for (int64_t i = range.begin; i < range.end; ++i) to[i] = from[i] / d;
  }

  // Doubles whose squares leave the range of doubles are scaled by a power of two, exactly. The sum
  // is the same in every thread, so that all take the same way.
  double team_norm(const T* x, Range range) {
    const double square = team_dot(x, x, range);
    if (std::is_same_v<T, float> || square != square || (square >= 1e-280 && square <= 1e300))
      return std::sqrt(square);
    const double scale = std::ldexp(1.0, square < 1 ? 600 : -600);
    double own = 0;
    for (int64_t i = range.begin; i < range.end; ++i) {
      const double scaled = scale * static_cast<double>(x[i]);
      own += scaled * scaled;
    }
    return std::sqrt(team_sum(own)) / scale;
  }

  double team_dot(const T* x, const T* y, Range range) {
    double own;
    exact_dot_of<T>(x + range.begin, y + range.begin, range.end - range.begin, &own);
    return team_sum(own);
  }

  double team_sum(double own) {
    if (team_.size() == 1) return own;
    double* squares = shared_.squares;
    team_.barrier();  // the sums of the call before are read by all
    squares[thread_ * 8] = own;
    team_.barrier();
    double sum = 0;
    for (int other = 0; other < team_.size(); ++other) sum += squares[other * 8];
    return sum;
  }

  Team& team_;
  const int thread_;
  const Matrix<T>& s_;
  T* const a_;
  T* const b_;
  const Workspace<T>& own_;
  const Workspace<T>& shared_;
  const Range rows_, cols_;
};

}  // namespace fastwgan
