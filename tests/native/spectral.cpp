// Spectral norm forward and backward against their definitions, and repeatable to the bit.
#include "fastwgan/spectral_norm.h"
#include "harness.h"

namespace {

using Layers = std::vector<fw_spectral_norm_layer>;
using Options = fw_spectral_norm_options;

int forward(const Layers& layers, float* const* normalised, float* sigma, float* vectors,
            const Options& options, int threads) {
  return fw_spectral_norm_forward_f32(layers.data(), normalised, sigma, vectors,
                                      static_cast<int64_t>(layers.size()), &options, threads);
}
int forward(const Layers& layers, double* const* normalised, double* sigma, double* vectors,
            const Options& options, int threads) {
  return fw_spectral_norm_forward_f64(layers.data(), normalised, sigma, vectors,
                                      static_cast<int64_t>(layers.size()), &options, threads);
}
int backward(const Layers& layers, const float* const* cotangents, const float* const* normalised,
             const float* sigma, const float* sigma_cotangents, const float* vectors,
             float* const* gradients, int threads) {
  return fw_spectral_norm_backward_f32(layers.data(), cotangents, normalised, sigma,
                                       sigma_cotangents, vectors, gradients,
                                       static_cast<int64_t>(layers.size()), threads);
}
int backward(const Layers& layers, const double* const* cotangents, const double* const* normalised,
             const double* sigma, const double* sigma_cotangents, const double* vectors,
             double* const* gradients, int threads) {
  return fw_spectral_norm_backward_f64(layers.data(), cotangents, normalised, sigma,
                                       sigma_cotangents, vectors, gradients,
                                       static_cast<int64_t>(layers.size()), threads);
}

struct Shape {
  int64_t outer, rows, inner;
  int64_t size() const { return outer * rows * inner; }
  int64_t cols() const { return outer * inner; }
};

// Linear, convolution, transposed convolution and stored-transposed layers, below and above the
// size from which a team shares a layer; and empty ones.
const std::vector<Shape> shapes = {{1, 1, 1},     {1, 3, 7},  {1, 257, 300}, {5, 17, 9},
                                   {300, 257, 1}, {33, 5, 1}, {1, 1, 97},    {1, 97, 1},
                                   {30, 50, 49},  {1, 0, 5},  {1, 5, 0},     {0, 4, 3},
                                   {1, 64, 64},   {2, 8, 16}, {1, 1, 70003}, {70003, 1, 1}};

template <class T>
struct Group {
  Buffers<T> weights, u, v, normalised;
  Buffer<T> sigma, vectors;
  Group() : sigma(static_cast<int64_t>(shapes.size())), vectors(vectors_size()) {
    for (const Shape& shape : shapes) {
      weights.emplace_back(shape.size(), 1);
      u.emplace_back(shape.rows);
      v.emplace_back(shape.cols());
      normalised.emplace_back(shape.size(), 2);
      normalised.back().fill(NAN);
    }
    sigma.fill(NAN);
    vectors.fill(NAN);
  }
  static int64_t vectors_size() {
    int64_t size = 0;
    for (const Shape& shape : shapes) size += shape.rows + shape.cols();
    return size;
  }
  Layers layers() {
    Layers layers;
    for (size_t i = 0; i < shapes.size(); ++i)
      layers.push_back({weights[i].data(), shapes[i].rows ? u[i].data() : nullptr,
                        shapes[i].cols() ? v[i].data() : nullptr, shapes[i].outer, shapes[i].rows,
                        shapes[i].inner});
    return layers;
  }
  int run(const Options& options, int threads) {
    return forward(layers(), pointers_to(normalised).data(), sigma.data(), vectors.data(), options,
                   threads);
  }
};

// The definition in double: the index of element (row r, column c) of a weight in its memory.
int64_t at(const Shape& s, int64_t r, int64_t c) {
  return (c / s.inner * s.rows + r) * s.inner + c % s.inner;
}

template <class T, class V>
std::vector<double> product(const Shape& s, const Buffer<T>& w, const V& x, bool rows) {
  std::vector<double> sums(static_cast<size_t>(rows ? s.rows : s.cols()));
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t c = 0; c < s.cols(); ++c)
      sums[static_cast<size_t>(rows ? r : c)] +=
          double{w[at(s, r, c)]} * static_cast<double>(x[rows ? c : r]);
  return sums;
}

std::vector<double> unit(std::vector<double> x) {
  double square = 0;
  for (double element : x) square += element * element;
  for (double& element : x) element /= std::fmax(std::sqrt(square), 1e-12);
  return x;
}

template <class T>
void check_vector(const std::vector<double>& expected, const T* actual) {
  for (size_t i = 0; i < expected.size(); ++i)
    CHECK(std::fabs(expected[i] - double{actual[i]}) < (sizeof(T) == 4 ? 1e-4 : 1e-12));
}

template <class T>
void check_one_iteration(const Group<T>& before, const Group<T>& after, bool u_first) {
  const T* vectors = after.vectors.data();
  for (size_t i = 0; i < shapes.size(); ++i) {
    const Shape& s = shapes[i];
    const Buffer<T>& w = before.weights[i];
    std::vector<double> u, v;
    if (u_first) {
      u = unit(product(s, w, before.v[i], true));
      v = unit(product(s, w, u, false));
    } else {
      v = unit(product(s, w, before.u[i], false));
      u = unit(product(s, w, v, true));
    }
    const std::vector<double> wv = product(s, w, v, true);
    double sigma = 0;
    for (size_t r = 0; r < u.size(); ++r) sigma += u[r] * wv[r];
    if (s.size() > 0) {
      check_vector(u, after.u[i].data());
      check_vector(v, after.v[i].data());
    } else {  // a product of zero leaves its vector as it was
      CHECK(after.u[i] == before.u[i]);
      CHECK(after.v[i] == before.v[i]);
    }
    // Roundings of a row's or a column's sums wander: they grow with the root of how many there
    // are.
    const double unit = sizeof(T) == 4 ? 0x1p-24 : 0x1p-53;
    const double bound = (64 + 4 * std::sqrt(static_cast<double>(s.size()))) * unit;
    CHECK(std::fabs(double{after.sigma[static_cast<int64_t>(i)]} - sigma) <= bound * (1 + sigma));
    for (int64_t j = 0; j < s.size(); ++j)
      CHECK(std::fabs(double{after.normalised[i][j]} * sigma - double{w[j]}) <= bound * 2);
    for (int64_t r = 0; r < s.rows; ++r) CHECK(*vectors++ == after.u[i][r]);
    for (int64_t c = 0; c < s.cols(); ++c) CHECK(*vectors++ == after.v[i][c]);
  }
}

template <class T>
void check_gradients(const Group<T>& g, const Buffers<T>& cotangents, const Buffers<T>& gradients,
                     const Buffer<T>* sigma_cotangents) {
  for (size_t i = 0; i < shapes.size(); ++i) {
    const Shape& s = shapes[i];
    if (s.size() == 0) continue;
    double dot = 0;
    for (int64_t j = 0; j < s.size(); ++j)
      dot += double{cotangents[i][j]} * double{g.normalised[i][j]};
    const auto layer = static_cast<int64_t>(i);
    const double sigma = double{g.sigma[layer]};
    const double extra = sigma_cotangents ? double{(*sigma_cotangents)[layer]} : 0.0;
    for (int64_t r = 0; r < s.rows; ++r)
      for (int64_t c = 0; c < s.cols(); ++c) {
        const double uv = double{g.u[i][r]} * double{g.v[i][c]};
        const double expected =
            (double{cotangents[i][at(s, r, c)]} - dot * uv) / sigma + extra * uv;
        CHECK(std::fabs(double{gradients[i][at(s, r, c)]} - expected) <=
              (sizeof(T) == 4 ? 1e-4 : 1e-12) * (1 + std::fabs(dot / sigma)));
      }
  }
}

template <class T>
void check_backward(Group<T>& group, int threads) {
  Buffers<T> cotangents, gradients;
  for (const Shape& shape : shapes) {
    cotangents.emplace_back(shape.size(), 1);
    gradients.emplace_back(shape.size());
    gradients.back().fill(NAN);
  }
  const Buffer<T> sigma_cotangents(static_cast<int64_t>(shapes.size()));
  for (const Buffer<T>* extra : {static_cast<const Buffer<T>*>(nullptr), &sigma_cotangents}) {
    CHECK(backward(group.layers(), const_pointers_to(cotangents).data(),
                   const_pointers_to(group.normalised).data(), group.sigma.data(),
                   extra ? extra->data() : nullptr, group.vectors.data(),
                   pointers_to(gradients).data(), threads) == FW_OK);
    check_gradients(group, cotangents, gradients, extra);
  }
  // The gradients may be the cotangents' own memory.
  CHECK(backward(group.layers(), const_pointers_to(cotangents).data(),
                 const_pointers_to(group.normalised).data(), group.sigma.data(),
                 sigma_cotangents.data(), group.vectors.data(), pointers_to(cotangents).data(),
                 threads) == FW_OK);
  for (size_t i = 0; i < shapes.size(); ++i) CHECK(cotangents[i] == gradients[i]);
}

template <class T>
void spectral_norm_of(int threads) {
  for (int u_first = 0; u_first < 2; ++u_first) {
    Group<T> group;
    const Group<T> before = group;
    CHECK(group.run({1, u_first, 1e-12}, threads) == FW_OK);
    check_one_iteration(before, group, u_first != 0);
    check_backward(group, threads);

    const Group<T> after = group;
    CHECK(group.run({0, u_first, 1e-12}, threads) == FW_OK);  // evaluation: the vectors stay
    for (size_t i = 0; i < shapes.size(); ++i) {
      CHECK(group.u[i] == after.u[i] && group.v[i] == after.v[i]);
      CHECK(group.weights[i] == before.weights[i]);
    }
    Group<T> one = after, two = after;
    CHECK(one.run({3, u_first, 1e-12}, threads) == FW_OK);
    CHECK(two.run({3, u_first, 1e-12}, threads) == FW_OK);
    CHECK(one.sigma == two.sigma && one.vectors == two.vectors);
    for (size_t i = 0; i < shapes.size(); ++i) CHECK(one.normalised[i] == two.normalised[i]);
  }
}

// An all-zero weight gives zeros and leaves u and v; NaN reaches sigma.
template <class T>
void special_weights(int threads) {
  Group<T> group;
  for (Buffer<T>& weight : group.weights) weight.fill(0);
  const Group<T> before = group;
  CHECK(group.run({2, 0, 1e-12}, threads) == FW_OK);
  for (size_t i = 0; i < shapes.size(); ++i) {
    CHECK(group.sigma[static_cast<int64_t>(i)] == 0);
    CHECK(group.u[i] == before.u[i] && group.v[i] == before.v[i]);
    for (int64_t j = 0; j < shapes[i].size(); ++j) CHECK(group.normalised[i][j] == 0);
  }
  for (Buffer<T>& weight : group.weights)
    if (weight.size() > 0) weight[weight.size() / 2] = static_cast<T>(NAN);
  CHECK(group.run({1, 1, 1e-12}, threads) == FW_OK);
  for (size_t i = 0; i < shapes.size(); ++i)
    CHECK(std::isnan(group.sigma[static_cast<int64_t>(i)]) == (shapes[i].size() > 0));
}

// Beside a layer so large that the group's outputs are written past the caches, small layers come
// out as by themselves, to the bit. Sanitizers don't see such writes, hence the canaries.
template <class T>
void streamed_as_stored(int threads) {
  constexpr int64_t canaries = 16, large_rows = 1024;
  Group<T> alone;
  Group<T> beside = alone;
  CHECK(alone.run({1, 0, 1e-12}, threads) == FW_OK);

  const int64_t large_cols = (int64_t{8} << 20) / (large_rows * int64_t{sizeof(T)}) + 1;
  Buffer<T> weight(large_rows * large_cols), u(large_rows), v(large_cols);
  Layers layers = beside.layers();
  layers.push_back({weight.data(), u.data(), v.data(), 1, large_rows, large_cols});
  Buffers<T> outputs;
  for (const fw_spectral_norm_layer& layer : layers) {
    outputs.emplace_back(layer.outer * layer.rows * layer.inner + canaries,
                         static_cast<int>(outputs.size() % 4));
    outputs.back().fill(7);
  }
  Buffer<T> sigma(static_cast<int64_t>(layers.size()));
  Buffer<T> vectors(Group<T>::vectors_size() + large_rows + large_cols);
  CHECK(forward(layers, pointers_to(outputs).data(), sigma.data(), vectors.data(), {1, 0, 1e-12},
                threads) == FW_OK);
  for (size_t i = 0; i < layers.size(); ++i) {
    const int64_t size = outputs[i].size() - canaries;
    if (i < shapes.size())
      for (int64_t j = 0; j < size; ++j) CHECK(outputs[i][j] == alone.normalised[i][j]);
    for (int64_t j = 0; j < canaries; ++j) CHECK(outputs[i][size + j] == T(7));
  }
  const T factor = static_cast<T>(1.0 / double{sigma[static_cast<int64_t>(shapes.size())]});
  for (int64_t j = 0; j < weight.size(); ++j)
    CHECK(std::fabs(outputs.back()[j] - factor * weight[j]) <= 1e-6);
}

}  // namespace

void check_spectral_norm(int threads) {
  spectral_norm_of<float>(threads);
  spectral_norm_of<double>(threads);
  special_weights<float>(threads);
  special_weights<double>(threads);
  streamed_as_stored<float>(threads);
  streamed_as_stored<double>(threads);
}
