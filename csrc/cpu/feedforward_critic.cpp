#include "fastwgan/feedforward_critic.h"

#include "feedforward_step.h"
#include "feedforward_weights.h"

namespace fastwgan {
namespace {

// All layers' weights, packed for the pass that follows.
template <class T>
void prepare_all(const Step<T>& step, bool transposed, Team& team, int thread) {
  for (int64_t l = 0; l < step.count(); ++l)
    prepare<T>(step.layer(l), transposed, thread, team.size(), step.scratch(thread));
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

template <class T>
int forward(const fw_feedforward_step* given, const T* samples, T* scores) {
  if (!is_callable<T>(given) || !is_there(samples, 1) || !is_there(scores, 1))
    return FW_INVALID_ARGUMENT;
  const Step<T> step(*given);
  parallel(step.team_size(), [&](Team& team, int thread) {
    for (int64_t l = 0; l < step.count(); ++l) fill_ordered<T>(step.layer(l), thread, team.size());
    prepare_all(step, true, team, thread);
    const T* inputs = samples;
    for (int64_t l = 0; l < step.count(); ++l) {
      const Layer<T> layer = step.layer(l);
      T* results = l + 1 < step.count() ? layer.activations : scores;
      const Share mine =
          share_of<T>(layer.window, {0, step.rows()}, layer.outputs, thread, team.size());
      layer_forward<T>(layer, inputs, mine, results, step.scratch(thread));
      team.barrier();
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
    add_weight_gradient(layer, cotangents, inputs, step.loss_rows(), true, weight_gradient, team,
                        thread, scratch);
  if (given.of_biases[index] != nullptr)
    sum_rows(layer, cotangents, step.loss_rows(), given.of_biases[index], team, thread, scratch);
}

// Cotangents from those of layer `index` to its inputs: over the activations there at the loss's
// rows, before them at the penalty's.
template <class T>
void transpose_rows(const Step<T>& step, int64_t index, const Backward<T>& given, const Team& team,
                    int thread) {
  const Layer<T> layer = step.layer(index);
  const int64_t losses = step.loss_rows(), penalised = step.rows() - losses;
  const auto run = [&](const T* cotangents, int64_t first_row, Range rows,
                       const Target<T>& target) {
    const Share mine = share_of<T>(layer.window, rows, layer.window.depth(), thread, team.size());
    layer_transpose<T>(layer, cotangents, first_row, mine, target, step.scratch(thread));
  };
  const Layer<T> before = index > 0 ? step.layer(index - 1) : layer;
  const Range all = {0, step.rows()}, first = {0, penalised}, rest = {penalised, step.rows()};
  const Target<T> inner = {&before, before.cotangents, {penalised, losses}};
  const Target<T> samples = {nullptr, given.gradient, {}};
  const bool is_last = index + 1 == step.count();
  // Seeds and gradients of all samples have the loss's rows first.
  if (is_last && index > 0) {
    run(given.seeds + losses * layer.elements(), 0, first, inner);
    run(given.seeds, penalised, rest, inner);
  } else if (index > 0) {
    run(layer.cotangents, 0, all, inner);
  } else if (is_last) {
    run(given.of_all ? given.seeds : given.seeds + losses * layer.elements(), 0,
        given.of_all ? all : first, samples);
  } else if (!given.of_all) {
    run(layer.cotangents, 0, first, samples);
  } else {
    run(layer.activations, 0, {0, losses}, samples);
    run(layer.cotangents, losses, {losses, step.rows()}, samples);
  }
}

template <class T>
int backward(const fw_feedforward_step* given, const Backward<T>& wanted) {
  if (!is_callable<T>(given) || !is_there(wanted.samples, 1) || !is_there(wanted.seeds, 1) ||
      !are_aligned(wanted.of_weights, given->count) ||
      !are_aligned(wanted.of_biases, given->count) || !is_aligned(wanted.gradient) ||
      (wanted.gradient == nullptr && (wanted.of_all || given->loss_rows < given->rows)))
    return FW_INVALID_ARGUMENT;
  const Step<T> step(*given);
  parallel(step.team_size(), [&](Team& team, int thread) {
    prepare_all(step, false, team, thread);
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
struct Tangent {
  const T *seeds, *start;
  bool adds;
  T* const* of_weights;
};

// The penalty rows' share of a layer's weight gradient. Their tangents lie over its activations.
template <class T>
void penalty_gradient(const Step<T>& step, int64_t index, const Tangent<T>& given, const Team& team,
                      int thread) {
  const Layer<T> layer = step.layer(index);
  const int64_t first = step.loss_rows();
  const T* inputs = given.start;
  if (index > 0) inputs = step.layer(index - 1).activations + first * layer.window.sample();
  const T* cotangents =
      index + 1 < step.count() ? layer.cotangents : given.seeds + first * layer.elements();
  add_weight_gradient(layer, cotangents, inputs, step.rows() - first, !given.adds,
                      given.of_weights[index], team, thread, step.scratch(thread));
}

template <class T>
int tangent(const fw_feedforward_step* given, const Tangent<T>& wanted) {
  if (!is_callable<T>(given) || !is_there(wanted.seeds, 1) || !is_aligned(wanted.start) ||
      !are_aligned(wanted.of_weights, given->count) ||
      (wanted.start == nullptr && given->loss_rows < given->rows) ||
      (!wanted.adds && given->loss_rows > 0))
    return FW_INVALID_ARGUMENT;
  const Step<T> step(*given);
  const int64_t first = step.loss_rows();
  parallel(step.team_size(), [&](Team& team, int thread) {
    if (first < step.rows()) {
      prepare_all(step, true, team, thread);
      const T* tangents = wanted.start;
      for (int64_t l = 0; l + 1 < step.count(); ++l) {
        const Layer<T> layer = step.layer(l);
        const Share mine =
            share_of<T>(layer.window, {first, step.rows()}, layer.outputs, thread, team.size());
        layer_tangent<T>(layer, tangents, l == 0 ? first : 0, mine, step.scratch(thread));
        team.barrier();
        tangents = layer.activations;
      }
      for (int64_t l = 0; l < step.count(); ++l)
        if (wanted.of_weights[l] != nullptr) penalty_gradient(step, l, wanted, team, thread);
      team.barrier();
    }
    for (int64_t l = 0; l < step.count(); ++l)
      if (wanted.of_weights[l] != nullptr)
        restore_order<T>(step.layer(l), wanted.of_weights[l], thread, team.size(),
                         step.scratch(thread));
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
                                      const float* start, int adds,
                                      float* const* weight_gradients) {
  return fastwgan::tangent<float>(step, {seeds, start, adds != 0, weight_gradients});
}

int fw_feedforward_critic_tangent_f64(const fw_feedforward_step* step, const double* seeds,
                                      const double* start, int adds,
                                      double* const* weight_gradients) {
  return fastwgan::tangent<double>(step, {seeds, start, adds != 0, weight_gradients});
}
