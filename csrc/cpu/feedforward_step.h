// What the calls of one step of a feed-forward critic share: whether its sizes can be, and where in
// the workspace everything is.
#pragma once

#include <algorithm>

#include "arguments.h"
#include "fastwgan/feedforward_critic.h"
#include "feedforward_sums.h"

namespace fastwgan {
namespace {

inline Window window_of(const fw_feedforward_layer& given) {
  Window w = {given.channels,
              given.height,
              given.width,
              given.kernel_height,
              given.kernel_width,
              given.stride_height,
              given.stride_width,
              given.padding_height,
              given.padding_width,
              0,
              0};
  w.out_height = (w.height + 2 * w.padding_height - w.kernel_height) / w.stride_height + 1;
  w.out_width = (w.width + 2 * w.padding_width - w.kernel_width) / w.stride_width + 1;
  return w;
}

// What the calls of a step share: who is where in the workspace, and who does what.
template <class T>
class Step {
 public:
  explicit Step(const fw_feedforward_step& given) : given_(given) {}

  int64_t count() const { return given_.count; }
  int64_t rows() const { return given_.rows; }
  int64_t loss_rows() const { return given_.loss_rows; }

  Layer<T> layer(int64_t index) const {
    T* next = static_cast<T*>(given_.workspace);
    for (int64_t l = 0; l < index; ++l) next += elements(l);
    return laid_out(index, next);
  }

  T* scratch(int thread) const {
    T* next = static_cast<T*>(given_.workspace);
    for (int64_t l = 0; l < count(); ++l) next += elements(l);
    return next + thread * scratch_of_thread();
  }

  int64_t total() const {
    int64_t sum = given_.threads * scratch_of_thread();
    for (int64_t l = 0; l < count(); ++l) sum += elements(l);
    return sum;
  }

  // Threads wake for work that takes longer than waking them.
  int team_size() const {
    int64_t products = 0;
    for (int64_t l = 0; l < count(); ++l) {
      const Window window = window_of(given_.layers[l]);
      products += window.positions() * window.depth() * given_.layers[l].outputs;
    }
    return threads_for(products * rows() / 4, given_.threads);
  }

 private:
  // Without its parts of the workspace.
  Layer<T> given_layer(int64_t index) const {
    const fw_feedforward_layer& given = given_.layers[index];
    Layer<T> layer = {};
    layer.window = window_of(given);
    layer.outputs = given.outputs;
    layer.slope = static_cast<T>(given.slope);
    layer.weight = static_cast<const T*>(given.weight);
    layer.bias = static_cast<const T*>(given.bias);
    layer.mask = static_cast<const T*>(given.mask);
    return layer;
  }

  Layer<T> laid_out(int64_t index, T* next) const {
    Layer<T> layer = given_layer(index);
    if (!layer.window.is_whole())
      layer.packed = next;
    else if (layer.is_reordered())
      layer.ordered = next;
    next += weight_elements(layer);
    if (index + 1 < count()) {
      layer.cotangents = next;
      layer.activations = next + (rows() - loss_rows()) * layer.elements();
    }
    return layer;
  }

  int64_t elements(int64_t l) const {
    const Layer<T> layer = given_layer(l);
    const int64_t kept = (2 * rows() - loss_rows()) * layer.elements();
    return weight_elements(layer) + (l + 1 < count() ? padded_columns<T>(kept) : 0);
  }

  static int64_t weight_elements(const Layer<T>& layer) {
    const int64_t depth = layer.window.depth(), outputs = layer.outputs;
    if (!layer.window.is_whole())
      return std::max(depth * padded_columns<T>(outputs), outputs * padded_columns<T>(depth));
    return layer.is_reordered() ? padded_columns<T>(outputs * depth) : 0;
  }

  int64_t scratch_of_thread() const {
    int64_t most = 0;
    for (int64_t l = 0; l < count(); ++l) {
      const Layer<T> layer = given_layer(l);
      most = std::max(
          {most, product_scratch(layer, rows()), sum_scratch(layer, rows()), layer.window.depth()});
    }
    return padded_columns<T>(most);
  }

  fw_feedforward_step given_;
};

// More than every count of a layer's elements, of a thread's scratch for it and of its products,
// each in double, where nothing overflows.
inline double bound_of(const fw_feedforward_layer& layer, double rows, double threads) {
  const auto number = [](int64_t size) { return static_cast<double>(size); };
  const double height = number(layer.height) + 2 * number(layer.padding_height);
  const double width = number(layer.width) + 2 * number(layer.padding_width);
  const double channels = number(layer.channels), outputs = number(layer.outputs) + 64;
  const double depth = channels * number(layer.kernel_height) * number(layer.kernel_width) + 64;
  const double positions =
      (height / number(layer.stride_height) + 1) * (width / number(layer.stride_width) + 1);
  const double sample = channels * height * width;
  const double weights = 4 * depth * outputs;
  const double results = rows * (sample + 2 * positions * outputs);
  const double scratch =
      24576 + 100 * (depth + sample) + 64 * (rows + 24576 + 512) + 512 * (outputs + 128);
  return weights + results + threads * scratch + rows * positions * depth * outputs;
}

// 2^59 doubles are more bytes, and as many products more months, than anyone has.
constexpr double most = 0x1p59;

inline bool is_positive(const fw_feedforward_layer& layer) {
  for (int64_t size :
       {layer.channels, layer.height, layer.width, layer.outputs, layer.kernel_height,
        layer.kernel_width, layer.stride_height, layer.stride_width})
    if (size < 1) return false;
  return layer.padding_height >= 0 && layer.padding_width >= 0;
}

inline bool is_valid(const fw_feedforward_step* step) {
  if (step == nullptr || step->layers == nullptr || step->count < 1 || !is_count(step->count) ||
      step->rows < 1 || step->threads < 1 || step->loss_rows < 0 || step->loss_rows > step->rows)
    return false;
  int64_t inputs = -1;
  double bound = 0;
  for (int64_t l = 0; l < step->count; ++l) {
    const fw_feedforward_layer& layer = step->layers[l];
    if (layer.weight == nullptr || !(layer.slope >= 0) || !is_positive(layer)) return false;
    bound += bound_of(layer, static_cast<double>(step->rows), step->threads);
    if (!(bound < most)) return false;
    if (layer.height + 2 * layer.padding_height < layer.kernel_height ||
        layer.width + 2 * layer.padding_width < layer.kernel_width)
      return false;
    const Window window = window_of(layer);
    if (layer.mask != nullptr && window.positions() > 1) return false;
    if (l > 0 && window.sample() != inputs) return false;
    inputs = window.positions() * layer.outputs;
  }
  // Seeds are the last layer's cotangents, and its scores are not read again.
  const fw_feedforward_layer& last = step->layers[step->count - 1];
  return last.slope == 1 && last.mask == nullptr;
}

// Valid, with a workspace, and its numbers aligned as such of type T are.
template <class T>
bool is_callable(const fw_feedforward_step* step) {
  const auto aligned = [](const void* numbers) {
    return is_aligned(static_cast<const T*>(numbers));
  };
  if (!is_valid(step) || step->workspace == nullptr || !aligned(step->workspace)) return false;
  for (int64_t l = 0; l < step->count; ++l) {
    const fw_feedforward_layer& layer = step->layers[l];
    if (!aligned(layer.weight) || !aligned(layer.bias) || !aligned(layer.mask)) return false;
  }
  return true;
}

// A list of pointers, null among them allowed.
template <class T>
bool are_aligned(T* const* pointers, int64_t count) {
  if (pointers == nullptr) return false;
  for (int64_t i = 0; i < count; ++i)
    if (!is_aligned(pointers[i])) return false;
  return true;
}

}  // namespace
}  // namespace fastwgan
