#include "fastwgan/spectral_norm.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <vector>

#include "arguments.h"
#include "power_iteration.h"
#include "scaled_copy.h"

namespace fastwgan {
namespace {

// Layers of at least this many elements are shared by the team; smaller ones go to one thread each,
// since the four or five barriers of a shared layer cost as much as the layer.
constexpr int64_t shared_layer_size = int64_t{1} << 16;

// Normalised weights of at least this many bytes have left the caches before the first layer reads
// them; written past the caches, their memory isn't read first.
constexpr int64_t streamed_bytes = int64_t{8} << 20;

template <class T, int Bytes>
FW_INLINE void blocked_dot_of_body(const T* a, const T* b, int64_t size, double* sum) {
  *sum = blocked_dot<T, Bytes>(a, b, size);
}
FW_DISPATCH(blocked_dot_of, (const T* a, const T* b, int64_t size, double* sum), (a, b, size, sum))

// to = factor * from + coefficient * vector
template <class T, int Bytes>
FW_INLINE void scaled_sum_body(const T* from, T factor, const T* vector, T coefficient, T* to,
                               int64_t size) {
  constexpr int step = lanes<T, Bytes>;
  int64_t i = 0;
  for (; i + step <= size; i += step)
    store<T, Bytes>(to + i,
                    factor * load<T, Bytes>(from + i) + coefficient * load<T, Bytes>(vector + i));
  for (; i < size; ++i) to[i] = factor * from[i] + coefficient * vector[i];
}
FW_DISPATCH(scaled_sum,
            (const T* from, T factor, const T* vector, T coefficient, T* to, int64_t size),
            (from, factor, vector, coefficient, to, size))

// A weight [outer, rows, 1] is the matrix [rows, outer] stored transposed.
bool transposed(const fw_spectral_norm_layer& layer) { return layer.inner == 1 && layer.outer > 1; }

template <class T>
Matrix<T> stored_matrix(const fw_spectral_norm_layer& layer) {
  const T* data = static_cast<const T*>(layer.weight);
  if (transposed(layer)) return {data, 1, layer.outer, layer.rows};
  return {data, layer.inner == 0 ? 0 : layer.outer, layer.rows, layer.inner};
}

int64_t cols_of(const fw_spectral_norm_layer& layer) { return layer.outer * layer.inner; }
int64_t size_of(const fw_spectral_norm_layer& layer) { return layer.rows * cols_of(layer); }

bool valid_layers(const fw_spectral_norm_layer* layers, int64_t count) {
  if (!is_count(count) || (count > 0 && layers == nullptr)) return false;
  int64_t vectors = 0, weights = 0;  // elements of all layers
  for (int64_t i = 0; i < count; ++i) {
    const int64_t cols = elements_of({layers[i].outer, layers[i].inner});
    const int64_t size = elements_of({layers[i].rows, cols});
    if (cols < 0 || size < 0 || !is_count(layers[i].rows)) return false;
    vectors += layers[i].rows + cols;
    weights += size;
    if (!is_count(vectors) || !is_count(weights)) return false;
  }
  return true;
}

// Runs body(team, thread, i) for every layer: by the whole team for large layers, by one thread of
// it, as a team of one, for small ones.
template <class Body>
void for_each_layer(const fw_spectral_norm_layer* layers, int64_t count, int threads,
                    const Body& body) {
  std::atomic<int64_t> next{0};
  parallel(threads, [&](Team& team, int thread) {
    for (int64_t i = 0; i < count && team.size() > 1; ++i)
      if (size_of(layers[i]) >= shared_layer_size) body(team, thread, i);
    Team alone(1);
    for (int64_t i = next++; i < count; i = next++)
      if (team.size() == 1 || size_of(layers[i]) < shared_layer_size) body(alone, thread, i);
  });
}

int64_t bytes_of(const fw_spectral_norm_layer* layers, int64_t count, int64_t element) {
  int64_t size = 0;
  for (int64_t i = 0; i < count; ++i) size += size_of(layers[i]);
  return size * element;
}

int64_t elements_of_vectors(const fw_spectral_norm_layer* layers, int64_t count) {
  int64_t elements = 0;
  for (int64_t i = 0; i < count; ++i) elements += layers[i].rows + cols_of(layers[i]);
  return elements;
}

// Where in `vectors` each layer's u begins; its v follows.
std::vector<int64_t> vector_offsets(const fw_spectral_norm_layer* layers, int64_t count) {
  std::vector<int64_t> offsets(count);
  for (int64_t i = 0, offset = 0; i < count; offset += layers[i].rows + cols_of(layers[i]), ++i)
    offsets[i] = offset;
  return offsets;
}

// Memory for every thread's workspace, in one block of whole cache lines.
template <class T>
struct Workspaces {
  std::unique_ptr<char[]> memory;
  std::vector<Workspace<T>> threads;

  Workspaces(const fw_spectral_norm_layer* layers, int64_t count, int team) {
    int64_t rows = 0, cols = 0;
    for (int64_t i = 0; i < count; ++i) {
      const Matrix<T> s = stored_matrix<T>(layers[i]);
      rows = s.rows > rows ? s.rows : rows;
      cols = s.cols() > cols ? s.cols() : cols;
    }
    const int64_t row_bytes = padded(rows * sizeof(T)), col_bytes = padded(cols * sizeof(T));
    const int64_t sum_bytes = int64_t{cache_line} * team;
    const int64_t stride = row_bytes + 2 * col_bytes + sum_bytes;
    memory.reset(new char[stride * team + cache_line]);
    char* at = memory.get();
    at += cache_line - reinterpret_cast<uintptr_t>(at) % cache_line;
    for (int thread = 0; thread < team; ++thread, at += stride)
      threads.push_back({reinterpret_cast<T*>(at), reinterpret_cast<T*>(at + 2 * col_bytes),
                         reinterpret_cast<T*>(at + col_bytes),
                         reinterpret_cast<double*>(at + 2 * col_bytes + row_bytes)});
  }

  static int64_t padded(int64_t bytes) {
    return (bytes + cache_line - 1) / cache_line * cache_line;
  }
};

// 1 / sigma in two steps, factor / divisor: the divisor is 1 unless T has no normal number for the
// inverse. 0 where sigma is.
template <class T>
struct Inverse {
  T factor = 0, divisor = 1;
  explicit Inverse(double sigma) {
    if (sigma == 0) return;
    factor = static_cast<T>(1.0 / sigma);
    if (std::isnormal(factor) || std::isinf(sigma)) return;
    const double root = std::sqrt(std::fabs(sigma));
    factor = static_cast<T>(std::copysign(1.0, sigma) / root);
    divisor = static_cast<T>(root);
  }
};

template <class T>
void divide(T* numbers, int64_t size, T divisor) {
  if (divisor != T(1))
    for (int64_t i = 0; i < size; ++i) numbers[i] /= divisor;
}

// to = S / sigma over the rows that this thread has just multiplied.
template <class T>
void normalise(const Team& team, int thread, const Matrix<T>& s, double sigma, bool streamed,
               T* to) {
  const Range rows = part_of(s.rows, thread, team.size(), 4);
  const Inverse<T> inverse(sigma);
  for (int64_t o = 0; o < s.outer; ++o) {
    // Of an empty weight the other sizes may be beyond counting: not before the loop.
    const int64_t size = (rows.end - rows.begin) * s.inner;
    T* piece = to + (o * s.rows + rows.begin) * s.inner;
    if (streamed)
      scaled_stream<T>(s.piece(o, rows.begin), inverse.factor, piece, size);
    else
      scaled_copy<T>(s.piece(o, rows.begin), inverse.factor, piece, size);
    divide(piece, size, inverse.divisor);
  }
}

template <class T>
int spectral_norm_forward(const fw_spectral_norm_layer* layers, T* const* normalised, T* sigma,
                          T* vectors, int64_t count, const fw_spectral_norm_options* options,
                          int threads) {
  if (!valid_layers(layers, count) || options == nullptr || options->iterations < 0 ||
      !(options->epsilon >= 0) || !is_there(sigma, count) ||
      !is_there(vectors, elements_of_vectors(layers, count)) ||
      (count > 0 && normalised == nullptr))
    return FW_INVALID_ARGUMENT;
  for (int64_t i = 0; i < count; ++i)
    if (!is_there(static_cast<const T*>(layers[i].weight), size_of(layers[i])) ||
        !is_there(normalised[i], size_of(layers[i])) ||
        !is_there(static_cast<T*>(layers[i].u), layers[i].rows) ||
        !is_there(static_cast<T*>(layers[i].v), cols_of(layers[i])))
      return FW_INVALID_ARGUMENT;

  const int64_t bytes = bytes_of(layers, count, sizeof(T));
  const bool streamed = bytes >= streamed_bytes;
  const int team_size = threads_for(4 * bytes, threads);
  const std::vector<int64_t> offsets = vector_offsets(layers, count);
  Workspaces<T> workspaces(layers, count, team_size);

  for_each_layer(layers, count, team_size, [&](Team& team, int thread, int64_t i) {
    const fw_spectral_norm_layer& layer = layers[i];
    const Matrix<T> s = stored_matrix<T>(layer);
    T* u = static_cast<T*>(layer.u);
    T* v = static_cast<T*>(layer.v);
    const bool swap = transposed(layer);
    Workspace<T>* workspace = &workspaces.threads[team.size() == 1 ? thread : 0];
    PowerIteration<T> iteration(team, team.size() == 1 ? 0 : thread, s, swap ? v : u, swap ? u : v,
                                workspace);
    const double found =
        iteration.run(options->iterations, (options->u_first != 0) != swap, options->epsilon);
    normalise(team, team.size() == 1 ? 0 : thread, s, found, streamed, normalised[i]);
    if (team.size() == 1 || thread == 0) {
      sigma[i] = static_cast<T>(found);
      T* own = vectors + offsets[i];
      own = std::copy(u, u + layer.rows, own);  // not memcpy: an empty vector may be null
      std::copy(v, v + cols_of(layer), own);
    }
  });
  return FW_OK;
}

// One layer of the backward: k = sigma_cotangent - <G, normalised> / sigma, then
// gradient[r, :] = G[r, :] / sigma + k * a[r] * b.
template <class T>
void backward_layer(Team& team, int thread, const Matrix<T>& cotangent, const T* normalised,
                    double sigma, double sigma_cotangent, const T* a, const T* b, T* gradient,
                    double* sums) {
  const Range flat = part_of(cotangent.size(), thread, team.size(), 64);
  double own;
  blocked_dot_of<T>(cotangent.data + flat.begin, normalised + flat.begin, flat.end - flat.begin,
                    &own);
  double dot = own;
  if (team.size() > 1) {
    team.barrier();  // the sums of the layer before are read by all
    sums[thread * 8] = own;
    team.barrier();
    dot = 0;
    for (int other = 0; other < team.size(); ++other) dot += sums[other * 8];
  }
  const Inverse<T> inverse(sigma);
  const double rank_one = sigma_cotangent - (sigma == 0 ? 0.0 : dot / sigma);
  const double coefficient = rank_one * static_cast<double>(inverse.divisor);
  const Range rows = part_of(cotangent.rows, thread, team.size(), 4);
  for (int64_t o = 0; o < cotangent.outer; ++o)
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      T* piece = gradient + (o * cotangent.rows + r) * cotangent.inner;
      scaled_sum<T>(cotangent.piece(o, r), inverse.factor, b + o * cotangent.inner,
                    static_cast<T>(coefficient * static_cast<double>(a[r])), piece,
                    cotangent.inner);
      divide(piece, cotangent.inner, inverse.divisor);
    }
}

template <class T>
int spectral_norm_backward(const fw_spectral_norm_layer* layers, const T* const* cotangents,
                           const T* const* normalised, const T* sigma, const T* sigma_cotangents,
                           const T* vectors, T* const* gradients, int64_t count, int threads) {
  if (!valid_layers(layers, count) || !is_there(sigma, count) || !is_aligned(sigma_cotangents) ||
      !is_there(vectors, elements_of_vectors(layers, count)) ||
      (count > 0 && (cotangents == nullptr || normalised == nullptr || gradients == nullptr)))
    return FW_INVALID_ARGUMENT;
  for (int64_t i = 0; i < count; ++i)
    if (!is_there(cotangents[i], size_of(layers[i])) ||
        !is_there(normalised[i], size_of(layers[i])) || !is_there(gradients[i], size_of(layers[i])))
      return FW_INVALID_ARGUMENT;

  const int team_size = threads_for(4 * bytes_of(layers, count, sizeof(T)), threads);
  const std::vector<int64_t> offsets = vector_offsets(layers, count);
  std::vector<double> sums(8 * static_cast<size_t>(team_size));

  for_each_layer(layers, count, team_size, [&](Team& team, int thread, int64_t i) {
    fw_spectral_norm_layer layer = layers[i];
    layer.weight = cotangents[i];
    const T* u = vectors + offsets[i];
    const T* v = u + layer.rows;
    const bool swap = transposed(layer);
    backward_layer<T>(team, team.size() == 1 ? 0 : thread, stored_matrix<T>(layer), normalised[i],
                      static_cast<double>(sigma[i]),
                      sigma_cotangents ? static_cast<double>(sigma_cotangents[i]) : 0.0,
                      swap ? v : u, swap ? u : v, gradients[i], sums.data());
  });
  return FW_OK;
}

// No exception crosses the C ABI; the only one that can arise is the lack of scratch memory.
template <class Call>
int guarded(const Call& call) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return FW_OUT_OF_MEMORY;
  }
}

}  // namespace
}  // namespace fastwgan

using fastwgan::guarded;

int fw_spectral_norm_forward_f32(const fw_spectral_norm_layer* layers, float* const* normalised,
                                 float* sigma, float* vectors, int64_t count,
                                 const fw_spectral_norm_options* options, int threads) {
  return guarded([&] {
    return fastwgan::spectral_norm_forward(layers, normalised, sigma, vectors, count, options,
                                           threads);
  });
}

int fw_spectral_norm_forward_f64(const fw_spectral_norm_layer* layers, double* const* normalised,
                                 double* sigma, double* vectors, int64_t count,
                                 const fw_spectral_norm_options* options, int threads) {
  return guarded([&] {
    return fastwgan::spectral_norm_forward(layers, normalised, sigma, vectors, count, options,
                                           threads);
  });
}

int fw_spectral_norm_backward_f32(const fw_spectral_norm_layer* layers,
                                  const float* const* cotangents, const float* const* normalised,
                                  const float* sigma, const float* sigma_cotangents,
                                  const float* vectors, float* const* gradients, int64_t count,
                                  int threads) {
  return guarded([&] {
    return fastwgan::spectral_norm_backward(layers, cotangents, normalised, sigma, sigma_cotangents,
                                            vectors, gradients, count, threads);
  });
}

int fw_spectral_norm_backward_f64(const fw_spectral_norm_layer* layers,
                                  const double* const* cotangents, const double* const* normalised,
                                  const double* sigma, const double* sigma_cotangents,
                                  const double* vectors, double* const* gradients, int64_t count,
                                  int threads) {
  return guarded([&] {
    return fastwgan::spectral_norm_backward(layers, cotangents, normalised, sigma, sigma_cotangents,
                                            vectors, gradients, count, threads);
  });
}
