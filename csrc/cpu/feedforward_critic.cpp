#include "fastwgan/feedforward_critic.h"

#include "feedforward_layers.h"

namespace fastwgan {
namespace {

Window window_of(const fw_feedforward_layer& given) {
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

  Range rows_of(const Team& team, int thread, int64_t first = 0) const {
    const Range part = part_of(rows() - first, thread, team.size());
    return {first + part.begin, first + part.end};
  }

 private:
  Layer<T> laid_out(int64_t index, T* next) const {
    const fw_feedforward_layer& given = given_.layers[index];
    Layer<T> layer = {};
    layer.window = window_of(given);
    layer.outputs = given.outputs;
    layer.slope = static_cast<T>(given.slope);
    layer.weight = static_cast<const T*>(given.weight);
    layer.bias = static_cast<const T*>(given.bias);
    layer.mask = static_cast<const T*>(given.mask);
    const int64_t depth = layer.window.depth();
    if (!layer.window.is_whole()) {
      layer.packed_transposed = next;
      next += depth * padded_columns<T>(given.outputs);
      layer.packed = next;
      next += given.outputs * padded_columns<T>(depth);
    }
    if (is_reordered(layer.window)) {
      layer.ordered = layer.ordered_gradient = next;
      next += padded_columns<T>(given.outputs * depth);
      if (layer.window.is_whole()) {
        layer.ordered_gradient = next;
        next += padded_columns<T>(given.outputs * depth);
      }
    }
    if (index + 1 < count()) {
      layer.activations = next;
      layer.cotangents = next + rows() * layer.elements();
    }
    return layer;
  }

  int64_t elements(int64_t l) const {
    const fw_feedforward_layer& given = given_.layers[l];
    const Window window = window_of(given);
    const int64_t depth = window.depth(), outputs = given.outputs;
    int64_t sum = 0;
    if (!window.is_whole())
      sum += depth * padded_columns<T>(outputs) + outputs * padded_columns<T>(depth);
    if (is_reordered(window))
      sum += (window.is_whole() ? 2 : 1) * padded_columns<T>(outputs * depth);
    if (l + 1 < count())
      sum += padded_columns<T>((2 * rows() - loss_rows()) * window.positions() * outputs);
    return sum;
  }

  int64_t scratch_of_thread() const {
    int64_t most = 0;
    for (int64_t l = 0; l < count(); ++l)
      most = std::max(most, scratch_elements(laid_out(l, nullptr), rows()));
    return padded_columns<T>(most);
  }

  fw_feedforward_step given_;

 public:
  // Whether torch's order of the weight's columns is another than a patch's.
  static bool is_reordered(const Window& window) {
    return window.channels > 1 && window.kernel_height * window.kernel_width > 1;
  }
};

// to[o][tap][channel] = from[o][channel][tap], or back.
template <class T>
void reorder(const Layer<T>& layer, const T* from, T* to, bool back, Range outputs) {
  const int64_t channels = layer.window.channels;
  const int64_t taps = layer.window.kernel_height * layer.window.kernel_width;
  for (int64_t o = outputs.begin; o < outputs.end; ++o) {
    const int64_t start = o * channels * taps;
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t torchs = start + c * taps + tap, ours = start + tap * channels + c;
        if (back)
          to[torchs] = from[ours];
        else
          to[ours] = from[torchs];
      }
  }
}

template <class T>
void pack_all(const Step<T>& step, Team& team, int thread) {
  for (int64_t l = 0; l < step.count(); ++l) {
    const Layer<T> layer = step.layer(l);
    if (layer.ordered != nullptr)
      reorder(layer, layer.weight, layer.ordered, false,
              part_of(layer.outputs, thread, team.size()));
  }
  team.barrier();
  for (int64_t l = 0; l < step.count(); ++l) {
    const Layer<T> layer = step.layer(l);
    if (layer.packed != nullptr) pack<T>(layer, thread, team.size());
  }
  team.barrier();
}

// This thread's part of a layer's weight gradient, from rows of cotangents and of inputs, each
// counted from its row 0; to be stored if is_first, else added.
template <class T>
void add_weight_gradient(const Layer<T>& layer, const T* cotangents, const T* inputs, int64_t rows,
                         bool is_first, T* results, const Team& team, int thread, T* scratch) {
  const int64_t end = rows * layer.window.positions();
  for (int64_t begin = 0; begin < end; begin += block_rows) {
    const Sum<T> sum = {cotangents + begin * layer.outputs, inputs,
                        Range{begin, std::min(begin + block_rows, end)}, is_first && begin == 0,
                        results};
    add_products<T>(layer, sum, thread, team.size(), scratch);
  }
}

// Rounding errors grow with the root of the number of blocks and of a block's rows.
template <class T>
void sum_rows(const Layer<T>& layer, const T* cotangents, int64_t rows, T* results,
              const Team& team, int thread, T* scratch) {
  const Range mine = part_of(layer.outputs, thread, team.size());
  const int64_t end = rows * layer.window.positions();
  std::fill(results + mine.begin, results + mine.end, T(0));
  for (int64_t begin = 0; begin < end; begin += block_rows) {
    std::fill(scratch + mine.begin, scratch + mine.end, T(0));
    add_rows<T>(cotangents + begin * layer.outputs, layer.outputs,
                std::min(block_rows, end - begin), mine, scratch);
    for (int64_t c = mine.begin; c < mine.end; ++c) results[c] += scratch[c];
  }
}

bool is_valid(const fw_feedforward_step* step) {
  if (step == nullptr || step->layers == nullptr || step->count < 1 || step->rows < 1 ||
      step->threads < 1 || step->loss_rows < 0 || step->loss_rows > step->rows)
    return false;
  int64_t inputs = -1;
  for (int64_t l = 0; l < step->count; ++l) {
    const fw_feedforward_layer& layer = step->layers[l];
    if (layer.weight == nullptr || layer.channels < 1 || layer.height < 1 || layer.width < 1 ||
        layer.outputs < 1 || layer.kernel_height < 1 || layer.kernel_width < 1 ||
        layer.stride_height < 1 || layer.stride_width < 1 || layer.padding_height < 0 ||
        layer.padding_width < 0 || !(layer.slope >= 0))
      return false;
    if (layer.height + 2 * layer.padding_height < layer.kernel_height ||
        layer.width + 2 * layer.padding_width < layer.kernel_width)
      return false;
    const Window window = window_of(layer);
    if (layer.mask != nullptr && window.positions() > 1) return false;
    if (l > 0 && window.sample() != inputs) return false;
    inputs = window.positions() * layer.outputs;
  }
  return true;
}

template <class T>
int forward(const fw_feedforward_step* given, const T* samples, T* scores) {
  if (!is_valid(given) || given->workspace == nullptr || samples == nullptr || scores == nullptr)
    return FW_INVALID_ARGUMENT;
  const Step<T> step(*given);
  parallel(step.team_size(), [&](Team& team, int thread) {
    pack_all(step, team, thread);
    const Range mine = step.rows_of(team, thread);
    const T* inputs = samples;
    for (int64_t l = 0; l < step.count(); ++l) {
      const Layer<T> layer = step.layer(l);
      T* results = l + 1 < step.count() ? layer.activations : scores;
      layer_forward<T>(layer, inputs, mine, results, step.scratch(thread));
      inputs = results;
    }
  });
  return FW_OK;
}

template <class T>
struct Backward {
  const T *samples, *seeds;
  bool of_all;
  T* const* of_weights;
  T* const* of_biases;
  T* gradient;
};

// The loss rows' share of a layer's gradients. Their cotangents lie over its activations.
template <class T>
void loss_gradients(const Step<T>& step, int64_t index, const Backward<T>& given, Team& team,
                    int thread) {
  const Layer<T> layer = step.layer(index);
  T* scratch = step.scratch(thread);
  const T* cotangents = index + 1 < step.count() ? layer.activations : given.seeds;
  const T* inputs = index > 0 ? step.layer(index - 1).activations : given.samples;
  T* weight_gradient = given.of_weights[index];
  if (weight_gradient != nullptr && step.loss_rows() > 0)
    add_weight_gradient(layer, cotangents, inputs, step.loss_rows(), true,
                        layer.ordered != nullptr ? layer.ordered_gradient : weight_gradient, team,
                        thread, scratch);
  if (given.of_biases[index] != nullptr)
    sum_rows(layer, cotangents, step.loss_rows(), given.of_biases[index], team, thread, scratch);
}

// Cotangents from those of layer `index` to its inputs: over the activations there at the loss's
// rows, beside them at the penalty's.
template <class T>
void transpose_rows(const Step<T>& step, int64_t index, const Backward<T>& given, const Team& team,
                    int thread) {
  const Layer<T> layer = step.layer(index);
  const bool is_last = index + 1 == step.count();
  const int64_t first = step.loss_rows();
  const T* of_loss = is_last ? given.seeds : layer.activations;
  const T* of_points = is_last ? given.seeds : layer.cotangents - first * layer.elements();
  const Range penalised = step.rows_of(team, thread, first);
  const Range losses = part_of(first, thread, team.size());
  T* scratch = step.scratch(thread);
  if (index > 0) {
    const Layer<T> before = step.layer(index - 1);
    layer_transpose<T>(layer, of_loss, losses, {&before, before.activations}, scratch);
    layer_transpose<T>(layer, of_points, penalised,
                       {&before, before.cotangents - first * before.elements()}, scratch);
    return;
  }
  if (given.of_all) layer_transpose<T>(layer, of_loss, losses, {nullptr, given.gradient}, scratch);
  T* results = given.of_all ? given.gradient : given.gradient - first * layer.window.sample();
  layer_transpose<T>(layer, of_points, penalised, {nullptr, results}, scratch);
}

template <class T>
int backward(const fw_feedforward_step* given, const Backward<T>& wanted) {
  if (!is_valid(given) || given->workspace == nullptr || wanted.samples == nullptr ||
      wanted.seeds == nullptr || wanted.of_weights == nullptr || wanted.of_biases == nullptr ||
      (wanted.gradient == nullptr && (wanted.of_all || given->loss_rows < given->rows)))
    return FW_INVALID_ARGUMENT;
  const Step<T> step(*given);
  parallel(step.team_size(), [&](Team& team, int thread) {
    for (int64_t l = step.count() - 1; l >= 0; --l) {
      loss_gradients(step, l, wanted, team, thread);
      team.barrier();
      transpose_rows(step, l, wanted, team, thread);
      team.barrier();
    }
  });
  return FW_OK;
}

template <class T>
int tangent(const fw_feedforward_step* given, const T* seeds, const T* start,
            T* const* weight_gradients) {
  if (!is_valid(given) || given->workspace == nullptr || seeds == nullptr ||
      weight_gradients == nullptr || (start == nullptr && given->loss_rows < given->rows))
    return FW_INVALID_ARGUMENT;
  const Step<T> step(*given);
  const int64_t first = step.loss_rows(), rows = step.rows() - first;
  parallel(step.team_size(), [&](Team& team, int thread) {
    const Range moving = step.rows_of(team, thread, first);
    const T* tangents = start - first * step.layer(0).window.sample();
    for (int64_t l = 0; l + 1 < step.count(); ++l) {
      const Layer<T> layer = step.layer(l);
      layer_tangent<T>(layer, tangents, moving, step.scratch(thread));
      tangents = layer.activations;
    }
    team.barrier();
    for (int64_t l = 0; l < step.count(); ++l) {
      if (weight_gradients[l] == nullptr) continue;
      const Layer<T> layer = step.layer(l);
      const T* inputs =
          l > 0 ? step.layer(l - 1).activations + first * layer.window.sample() : start;
      const T* cotangents =
          l + 1 < step.count() ? layer.cotangents : seeds + first * layer.elements();
      if (rows > 0)
        add_weight_gradient(layer, cotangents, inputs, rows, first == 0,
                            layer.ordered != nullptr ? layer.ordered_gradient : weight_gradients[l],
                            team, thread, step.scratch(thread));
    }
    team.barrier();
    for (int64_t l = 0; l < step.count(); ++l) {
      const Layer<T> layer = step.layer(l);
      if (weight_gradients[l] != nullptr && layer.ordered != nullptr)
        reorder(layer, static_cast<const T*>(layer.ordered_gradient), weight_gradients[l], true,
                part_of(layer.outputs, thread, team.size()));
    }
  });
  return FW_OK;
}

}  // namespace
}  // namespace fastwgan

int64_t fw_feedforward_critic_workspace(const fw_feedforward_step* step) {
  // Counted in floats, whose padding has the most elements.
  return fastwgan::is_valid(step) ? fastwgan::Step<float>(*step).total() : -1;
}

int fw_feedforward_critic_forward_f32(const fw_feedforward_step* step, const float* samples,
                                      float* scores) {
  return fastwgan::forward(step, samples, scores);
}

int fw_feedforward_critic_forward_f64(const fw_feedforward_step* step, const double* samples,
                                      double* scores) {
  return fastwgan::forward(step, samples, scores);
}

int fw_feedforward_critic_backward_f32(const fw_feedforward_step* step, const float* samples,
                                       const float* seeds, int of_all,
                                       float* const* weight_gradients, float* const* bias_gradients,
                                       float* gradient) {
  return fastwgan::backward<float>(
      step, {samples, seeds, of_all != 0, weight_gradients, bias_gradients, gradient});
}

int fw_feedforward_critic_backward_f64(const fw_feedforward_step* step, const double* samples,
                                       const double* seeds, int of_all,
                                       double* const* weight_gradients,
                                       double* const* bias_gradients, double* gradient) {
  return fastwgan::backward<double>(
      step, {samples, seeds, of_all != 0, weight_gradients, bias_gradients, gradient});
}

int fw_feedforward_critic_tangent_f32(const fw_feedforward_step* step, const float* seeds,
                                      const float* start, float* const* weight_gradients) {
  return fastwgan::tangent(step, seeds, start, weight_gradients);
}

int fw_feedforward_critic_tangent_f64(const fw_feedforward_step* step, const double* seeds,
                                      const double* start, double* const* weight_gradients) {
  return fastwgan::tangent(step, seeds, start, weight_gradients);
}
