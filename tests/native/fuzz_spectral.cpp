// Random calls of spectral norm, forward and backward.
#include "fastwgan/spectral_norm.h"
#include "fuzz.h"

namespace {

using Layer = fw_spectral_norm_layer;

struct Group {
  int64_t count;
  std::vector<Layer> layers;
  std::vector<Claim> cols, sizes;
  Claim vectors = 0, weights = 0;

  explicit Group(Call& call) : count(call.count()) {
    for (int64_t i = 0; i < real_count(); ++i) {
      Layer layer = {nullptr, nullptr, nullptr, 1, call.size(), 1};
      if (call.random.one_in(3)) layer.outer = call.size();
      if (call.random.one_in(2)) layer.inner = call.size();
      cols.push_back(call.product({layer.outer, layer.inner}));
      sizes.push_back(call.product({layer.outer, layer.rows, layer.inner}));
      vectors += cols.back() + call.product({layer.rows});
      weights += sizes.back();
      layers.push_back(layer);
    }
    call.require(count >= 0 && count <= countable && vectors <= countable && weights <= countable);
  }

  // Of a count that can't be, nothing is read.
  int64_t real_count() const { return count < 0 || count > 5 ? 1 : count; }
  Claim claimed(Claim elements) const { return count > 0 && count <= 5 ? elements : 0; }

  template <class T>
  std::vector<T*> tensors(Call& call, bool is_written) const {
    std::vector<T*> pointers;
    for (Claim size : sizes) pointers.push_back(call.array<T>(size, is_written));
    return pointers;
  }
};

template <class T, class Entry>
void forward(Call& call, Entry entry) {
  Group group(call);
  for (size_t i = 0; i < group.layers.size(); ++i) {
    Layer& layer = group.layers[i];
    layer.weight = call.array<T>(group.sizes[i], false);
    layer.u = call.array<T>(layer.rows < 0 ? 0 : layer.rows, true);
    layer.v = call.array<T>(group.cols[i], true);
  }
  std::vector<T*> outputs = group.tensors<T>(call, true);
  T** normalised = call.list(outputs, group.count);
  T* sigma = call.array<T>(group.claimed(group.count), true);
  T* vectors = call.array<T>(group.claimed(group.vectors), true);
  const fw_spectral_norm_options options = {
      call.hostile(8) ? call.random.of({int64_t{-1}, INT64_MIN}) : call.random.below(4),
      static_cast<int>(call.random.of({0, 1, -3})), call.number()};
  call.require(options.iterations >= 0 && options.epsilon >= 0);
  const fw_spectral_norm_options* chosen = call.hostile(30) ? nullptr : &options;
  call.require(chosen != nullptr);
  const Layer* layers = call.list(group.layers, group.count);
  const int threads = call.threads();
  call.run([&] { return entry(layers, normalised, sigma, vectors, group.count, chosen, threads); });
}

template <class T, class Entry>
void backward(Call& call, Entry entry) {
  Group group(call);
  const bool is_over = call.random.one_in(3);
  std::vector<T*> given = group.tensors<T>(call, is_over);
  std::vector<T*> outputs = group.tensors<T>(call, false);
  std::vector<T*> results = is_over ? given : group.tensors<T>(call, true);
  T* const* cotangents = call.list(given, group.count);
  T* const* normalised = call.list(outputs, group.count);
  T** gradients = call.list(results, group.count);
  const T* sigma = call.array<T>(group.claimed(group.count), false);
  const T* of_sigma = group.claimed(1) > 0 ? call.optional<T>(group.count, false) : nullptr;
  const T* vectors = call.array<T>(group.claimed(group.vectors), false);
  const Layer* layers = call.list(group.layers, group.count);
  const int threads = call.threads();
  call.run([&] {
    return entry(layers, cotangents, normalised, sigma, of_sigma, vectors, gradients, group.count,
                 threads);
  });
}

}  // namespace

void fuzz_spectral_forward(Call& call, bool is_double) {
  is_double ? forward<double>(call, fw_spectral_norm_forward_f64)
            : forward<float>(call, fw_spectral_norm_forward_f32);
}
void fuzz_spectral_backward(Call& call, bool is_double) {
  is_double ? backward<double>(call, fw_spectral_norm_backward_f64)
            : backward<float>(call, fw_spectral_norm_backward_f32);
}
