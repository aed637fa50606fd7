// A feed-forward critic of given sizes, its numbers in blocks of exact size.
#pragma once

#include "fastwgan/feedforward_critic.h"
#include "harness.h"

template <class T>
struct FeedforwardEntries;
template <>
struct FeedforwardEntries<float> {
  static constexpr auto forward = fw_feedforward_critic_forward_f32;
  static constexpr auto backward = fw_feedforward_critic_backward_f32;
  static constexpr auto tangent = fw_feedforward_critic_tangent_f32;
};
template <>
struct FeedforwardEntries<double> {
  static constexpr auto forward = fw_feedforward_critic_forward_f64;
  static constexpr auto backward = fw_feedforward_critic_backward_f64;
  static constexpr auto tangent = fw_feedforward_critic_tangent_f64;
};

struct Pair {
  int64_t height, width;
};

struct Form {
  int64_t outputs;
  Pair kernel = {0, 0};  // zeros: as large as its input, a dense layer
  Pair stride = {1, 1}, padding = {0, 0};
};

struct Sizes {
  int64_t rows, loss_rows, channels;
  Pair image;
  std::vector<Form> forms;
  double slope = 0.5;                  // of all layers but the last
  bool biased = true, masked = false;  // masked where an output has one position
};

inline int64_t out_of(int64_t size, int64_t kernel, int64_t stride, int64_t padding) {
  return (size + 2 * padding - kernel) / stride + 1;
}

inline Pair positions_of(const fw_feedforward_layer& l) {
  return {out_of(l.height, l.kernel_height, l.stride_height, l.padding_height),
          out_of(l.width, l.kernel_width, l.stride_width, l.padding_width)};
}

inline int64_t outputs_of(const fw_feedforward_layer& l) {
  return positions_of(l).height * positions_of(l).width * l.outputs;
}

inline std::vector<fw_feedforward_layer> layers_of(const Sizes& sizes) {
  std::vector<fw_feedforward_layer> layers;
  int64_t channels = sizes.channels;
  Pair image = sizes.image;
  for (const Form& form : sizes.forms) {
    const Pair kernel = form.kernel.height > 0 ? form.kernel : image;
    const bool is_last = layers.size() + 1 == sizes.forms.size();
    layers.push_back({nullptr, nullptr, nullptr, channels, image.height, image.width, form.outputs,
                      kernel.height, kernel.width, form.stride.height, form.stride.width,
                      form.padding.height, form.padding.width, is_last ? 1.0 : sizes.slope});
    image = positions_of(layers.back());
    channels = form.outputs;
  }
  return layers;
}

// Small whole numbers, whose sums are exact in float32 in any order where the slope is a power of
// two; other slopes get any numbers.
template <class T>
struct FeedforwardCritic {
  Sizes sizes;
  std::vector<fw_feedforward_layer> layers;
  int64_t sample, scores;  // elements of a row's
  Buffers<T> weights, biases, masks;
  Buffer<T> samples, seeds, start;

  explicit FeedforwardCritic(const Sizes& given)
      : sizes(given),
        layers(layers_of(given)),
        sample(given.channels * given.image.height * given.image.width),
        scores(outputs_of(layers.back())),
        samples(given.rows * sample, 1),
        seeds(given.rows * scores, 2),
        start((given.rows - given.loss_rows) * sample) {
    for (size_t l = 0; l < layers.size(); ++l) {
      fw_feedforward_layer& layer = layers[l];
      weights.emplace_back(
          layer.outputs * layer.channels * layer.kernel_height * layer.kernel_width, 1);
      biases.emplace_back(layer.outputs, 2);
      masks.emplace_back(sizes.rows * layer.outputs, 1);
      round(weights[l], 1.49);
      round(biases[l], 2.49);
      for (int64_t i = 0; i < masks[l].size(); ++i) masks[l][i] = masks[l][i] > 0 ? T(2) : T(0);
      layer.weight = weights[l].data();
      if (sizes.biased) layer.bias = biases[l].data();
      if (sizes.masked && l + 1 < layers.size() && outputs_of(layer) == layer.outputs)
        layer.mask = masks[l].data();
    }
    for (Buffer<T>* each : {&samples, &seeds, &start}) round(*each, 2.49);
  }

  bool is_exact() const { return sizes.slope != 0.2; }
  fw_feedforward_step step(T* workspace, int threads) const {
    return {layers.data(), static_cast<int64_t>(layers.size()),
            sizes.rows,    sizes.loss_rows,
            workspace,     threads};
  }

 private:
  void round(Buffer<T>& numbers, double factor) const {
    for (int64_t i = 0; i < numbers.size() && is_exact(); ++i)
      numbers[i] = static_cast<T>(std::round(factor * numbers[i]));
  }
};
