#include "fastwgan/dense_critic.h"

#include <algorithm>

#include "matrix_product.h"
#include "parallel.h"
#include "simd.h"

namespace fastwgan {
namespace {

constexpr int64_t block_rows = depth_block;  // of sums over rows

template <class T>
struct Layer {
  const T *weight, *bias, *mask;
  int64_t inputs, outputs;
  T slope;
  // Parts of the workspace:
  T* activations;        // [rows, outputs], null for the last layer
  T* cotangents;         // [rows, outputs], before the activation; null for the last layer
  T* packed_transposed;  // weight^T [inputs, outputs] in slivers
  T* packed;             // weight [outputs, inputs] in slivers
};

// What the calls of a step share. Each asks for the parts in the same order.
template <class T>
class Step {
 public:
  Step(const fw_dense_layer* layers, int64_t count, int64_t rows, T* workspace, int threads)
      : rows(rows), count(count), given_(layers), begin_(workspace), threads_(threads) {}

  Layer<T> layer(int64_t index) const {
    T* next = begin_;
    for (int64_t l = 0; l < index; ++l) next += elements(l);
    const fw_dense_layer& given = given_[index];
    Layer<T> layer = {static_cast<const T*>(given.weight),
                      static_cast<const T*>(given.bias),
                      static_cast<const T*>(given.mask),
                      given.inputs,
                      given.outputs,
                      static_cast<T>(given.slope),
                      nullptr,
                      nullptr,
                      next,
                      nullptr};
    next += given.inputs * padded_columns<T>(given.outputs);
    layer.packed = next;
    next += given.outputs * padded_columns<T>(given.inputs);
    if (index + 1 < count) {
      layer.activations = next;
      layer.cotangents = next + rows * given.outputs;
    }
    return layer;
  }

  // Of one thread: a sliver of partial sums, or a block of packed rows of both factors.
  T* scratch(int thread) const {
    T* next = begin_;
    for (int64_t l = 0; l < count; ++l) next += elements(l);
    return next + thread * scratch_elements();
  }

  int64_t total() const {
    int64_t sum = threads_ * scratch_elements();
    for (int64_t l = 0; l < count; ++l) sum += elements(l);
    return sum;
  }

  // Threads wake for work that takes longer than waking them.
  int team_size() const {
    int64_t products = 0;
    for (int64_t l = 0; l < count; ++l) products += given_[l].inputs * given_[l].outputs;
    return threads_for(products * rows / 4, threads_);
  }

  Range rows_of(const Team& team, int thread, int64_t first = 0) const {
    const Range part = part_of(rows - first, thread, team.size(), tile_rows);
    return {first + part.begin, first + part.end};
  }

  const int64_t rows, count;

 private:
  int64_t elements(int64_t l) const {
    const fw_dense_layer& given = given_[l];
    return given.inputs * padded_columns<T>(given.outputs) +
           given.outputs * padded_columns<T>(given.inputs) +
           (l + 1 < count ? 2 * rows * given.outputs : 0);
  }

  int64_t scratch_elements() const {
    int64_t widest = 0;
    for (int64_t l = 0; l < count; ++l) widest = std::max(widest, given_[l].outputs);
    const int64_t sliver = padded_columns<T>(1);
    const int64_t of_blocks = block_rows * (widest + tile_rows + sliver) + widest;
    return padded_columns<T>(std::max((rows + tile_rows) * sliver, of_blocks));
  }

  const fw_dense_layer* given_;
  T* begin_;
  int threads_;
};

// mask * act(sum + bias). NaN stays NaN, and 0 times an infinite value below zero is 0.
template <class T, int Bytes>
struct Activate {
  const T *bias, *mask;
  T slope;
  T* results;  // [rows, columns]
  int64_t columns;

  template <class Count>
  FW_INLINE void operator()(int64_t row, int64_t column, Vector<T, Bytes> x, Count some) const {
    using V = Vector<T, Bytes>;
    if (bias != nullptr) x += load_up_to<T, Bytes>(bias + column, some);
    if (slope == 0)
      x = x < V{} ? V{} : x;
    else
      x = x > V{} ? x : slope * x;
    const int64_t at = row * columns + column;
    if (mask != nullptr) x *= load_up_to<T, Bytes>(mask + at, some);
    store_up_to<T, Bytes>(results + at, x, some);
  }
};

// mask * act'(.) * sum, the derivative read off the activations, which `results` may overwrite.
template <class T, int Bytes>
struct Differentiate {
  const T *activations, *mask;
  T slope;
  T* results;  // [rows, columns]
  int64_t columns;

  template <class Count>
  FW_INLINE void operator()(int64_t row, int64_t column, Vector<T, Bytes> d, Count some) const {
    using V = Vector<T, Bytes>;
    const int64_t at = row * columns + column;
    const V y = load_up_to<T, Bytes>(activations + at, some);
    V below = {};  // not 0 * d, which is NaN where d is infinite
    if (slope != 0) below = slope * d;
    d = y > V{} ? d : below;
    if (mask != nullptr) d *= load_up_to<T, Bytes>(mask + at, some);
    store_up_to<T, Bytes>(results + at, d, some);
  }
};

template <class T, int Bytes>
struct Store {
  T* results;  // of rows counted from first_row
  int64_t columns, first_row;

  template <class Count>
  FW_INLINE void operator()(int64_t row, int64_t column, Vector<T, Bytes> sum, Count some) const {
    store_up_to<T, Bytes>(results + (row - first_row) * columns + column, sum, some);
  }
};

template <class T, int Bytes>
struct Add {
  T* results;
  int64_t columns, end_row;  // rows from there on are padding
  bool is_first;

  template <class Count>
  FW_INLINE void operator()(int64_t row, int64_t column, Vector<T, Bytes> sum, Count some) const {
    if (row >= end_row) return;
    T* to = results + row * columns + column;
    if (!is_first) sum += load_up_to<T, Bytes>(to, some);
    store_up_to<T, Bytes>(to, sum, some);
  }
};

template <class T, int Bytes>
FW_INLINE void pack_body(const Layer<T>& layer, int part, int parts) {
  constexpr int64_t width = sliver_width<T, Bytes>;
  pack_columns<T, Bytes>(layer.weight, layer.inputs, layer.inputs, layer.outputs,
                         part_of(tiles_of(layer.outputs, width), part, parts),
                         layer.packed_transposed);
  pack_rows<T, Bytes>(layer.weight, layer.inputs, layer.outputs, layer.inputs,
                      part_of(tiles_of(layer.inputs, width), part, parts), layer.packed);
}

FW_DISPATCH(pack, (const Layer<T>& layer, int part, int parts), (layer, part, parts))

template <class T, int Bytes>
FW_INLINE void layer_forward_body(const Layer<T>& layer, const T* inputs, Range rows, T* results,
                                  T* scratch) {
  const Activate<T, Bytes> finish = {layer.bias, layer.mask, layer.slope, results, layer.outputs};
  multiply<T, Bytes>({inputs, layer.inputs, 1}, layer.packed_transposed, layer.inputs,
                     layer.outputs, rows, scratch, finish);
}

FW_DISPATCH(layer_forward,
            (const Layer<T>& layer, const T* inputs, Range rows, T* results, T* scratch),
            (layer, inputs, rows, results, scratch))

// Cotangents of `before` from those of the outputs of `layer`.
template <class T, int Bytes>
FW_INLINE void layer_transpose_body(const Layer<T>& layer, const T* cotangents,
                                    const Layer<T>& before, Range rows, T* scratch) {
  const Differentiate<T, Bytes> finish = {before.activations, before.mask, before.slope,
                                          before.cotangents, layer.inputs};
  multiply<T, Bytes>({cotangents, layer.outputs, 1}, layer.packed, layer.outputs, layer.inputs,
                     rows, scratch, finish);
}

FW_DISPATCH(layer_transpose,
            (const Layer<T>& layer, const T* cotangents, const Layer<T>& before, Range rows,
             T* scratch),
            (layer, cotangents, before, rows, scratch))

template <class T, int Bytes>
FW_INLINE void input_gradient_body(const Layer<T>& layer, const T* cotangents, Range rows,
                                   int64_t first_row, T* gradient, T* scratch) {
  const Store<T, Bytes> finish = {gradient, layer.inputs, first_row};
  multiply<T, Bytes>({cotangents, layer.outputs, 1}, layer.packed, layer.outputs, layer.inputs,
                     rows, scratch, finish);
}

FW_DISPATCH(input_gradient,
            (const Layer<T>& layer, const T* cotangents, Range rows, int64_t first_row, T* gradient,
             T* scratch),
            (layer, cotangents, rows, first_row, gradient, scratch))

// The tangents of a layer's activations, over these.
template <class T, int Bytes>
FW_INLINE void layer_tangent_body(const Layer<T>& layer, const T* tangents, Range rows,
                                  T* scratch) {
  const Differentiate<T, Bytes> finish = {layer.activations, layer.mask, layer.slope,
                                          layer.activations, layer.outputs};
  multiply<T, Bytes>({tangents, layer.inputs, 1}, layer.packed_transposed, layer.inputs,
                     layer.outputs, rows, scratch, finish);
}

FW_DISPATCH(layer_tangent, (const Layer<T>& layer, const T* tangents, Range rows, T* scratch),
            (layer, tangents, rows, scratch))

// A sum over rows of products d x: weight_gradient [outputs, inputs].
template <class T>
struct Sum {
  const T* cotangents;  // [rows, outputs]
  const T* inputs;      // [rows, inputs]
  int64_t rows, outputs_all, inputs_all;
  bool is_first;
  T* results;
};

// These strips of outputs and slivers of inputs of a block of rows. scratch: both, packed.
template <class T, int Bytes>
FW_INLINE void weight_gradient_body(const Sum<T>& sum, Range strips, Range slivers, T* scratch) {
  constexpr int64_t width = sliver_width<T, Bytes>;
  T* right = scratch;                      // [rows, width]
  T* left = scratch + block_rows * width;  // [strip][rows][tile_rows]
  for (int64_t s = strips.begin; s < strips.end; ++s) {
    T* to = left + (s - strips.begin) * sum.rows * tile_rows;
    const int64_t first = s * tile_rows;
    const int64_t count = std::min<int64_t>(tile_rows, sum.outputs_all - first);
    for (int64_t r = 0; r < sum.rows; ++r) {
      const T* from = sum.cotangents + r * sum.outputs_all + first;
      if (count == tile_rows)
        std::memcpy(to + r * tile_rows, from, tile_rows * sizeof(T));
      else
        for (int64_t i = 0; i < tile_rows; ++i) to[r * tile_rows + i] = i < count ? from[i] : T(0);
    }
  }
  const Add<T, Bytes> finish = {sum.results, sum.inputs_all, sum.outputs_all, sum.is_first};
  for (int64_t s = slivers.begin; s < slivers.end; ++s) {
    pack_rows<T, Bytes>(sum.inputs, sum.inputs_all, sum.rows, sum.inputs_all, {s, s + 1},
                        right - s * sum.rows * width);
    for (int64_t strip = strips.begin; strip < strips.end; ++strip)
      multiply_tile<T, Bytes, tile_rows>(
          {left + (strip - strips.begin) * sum.rows * tile_rows, 1, tile_rows}, right, sum.rows,
          nullptr, true, true, strip * tile_rows, s * width, sum.inputs_all, finish);
  }
}

FW_DISPATCH(weight_gradient, (const Sum<T>& sum, Range strips, Range slivers, T* scratch),
            (sum, strips, slivers, scratch))

template <class T, int Bytes>
FW_INLINE void add_rows_body(const T* matrix, int64_t stride, int64_t rows, Range columns,
                             T* sums) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = columns.begin; c < columns.end; ++c) sums[c] += matrix[r * stride + c];
}

FW_DISPATCH(add_rows, (const T* matrix, int64_t stride, int64_t rows, Range columns, T* sums),
            (matrix, stride, rows, columns, sums))

template <class T>
struct Gradients {
  const T *samples, *seeds, *start;
  int64_t loss_rows;
  T* const* of_weights;
  T* const* of_biases;
};

int64_t narrowest_sliver(size_t element) { return 32 / static_cast<int64_t>(element); }
int64_t active_sliver(size_t element) {
  switch (active_instruction_set()) {
    case InstructionSet::baseline:
      return narrowest_sliver(element);
    case InstructionSet::avx2:
    case InstructionSet::portable256:
      return 2 * narrowest_sliver(element);
    default:
      return 4 * narrowest_sliver(element);
  }
}

template <class T>
void layer_gradients(const Step<T>& step, int64_t index, const Gradients<T>& given, int thread,
                     int threads, T* scratch) {
  const Layer<T> layer = step.layer(index);
  const T* cotangents = index + 1 < step.count ? layer.cotangents : given.seeds;
  const int64_t slivers = tiles_of(layer.inputs, active_sliver(sizeof(T)));
  const int64_t strips = tiles_of(layer.outputs, tile_rows);
  // Whichever has more parts is split: each thread packs all of the other.
  const bool by_strips = strips > slivers;
  const Range my_strips = by_strips ? part_of(strips, thread, threads) : Range{0, strips};
  const Range my_slivers = by_strips ? Range{0, slivers} : part_of(slivers, thread, threads);
  const T* before = index > 0 ? step.layer(index - 1).activations : nullptr;
  for (int64_t begin = 0; given.of_weights[index] != nullptr && begin < step.rows;) {
    const bool is_loss = begin < given.loss_rows;
    const int64_t end = std::min(begin + block_rows, is_loss ? given.loss_rows : step.rows);
    const T* inputs = index > 0 ? before + begin * layer.inputs
                      : is_loss ? given.samples + begin * layer.inputs
                                : given.start + (begin - given.loss_rows) * layer.inputs;
    const Sum<T> sum = {cotangents + begin * layer.outputs,
                        inputs,
                        end - begin,
                        layer.outputs,
                        layer.inputs,
                        begin == 0,
                        given.of_weights[index]};
    weight_gradient<T>(sum, my_strips, my_slivers, scratch);
    begin = end;
  }
  T* bias_gradient = given.of_biases[index];
  if (bias_gradient == nullptr) return;
  const Range mine = part_of(layer.outputs, thread, threads);
  std::fill(bias_gradient + mine.begin, bias_gradient + mine.end, T(0));
  for (int64_t begin = 0; begin < given.loss_rows; begin += block_rows) {
    std::fill(scratch + mine.begin, scratch + mine.end, T(0));
    add_rows<T>(cotangents + begin * layer.outputs, layer.outputs,
                std::min(block_rows, given.loss_rows - begin), mine, scratch);
    for (int64_t c = mine.begin; c < mine.end; ++c) bias_gradient[c] += scratch[c];
  }
}

bool is_valid(const fw_dense_layer* layers, int64_t count, int64_t rows, int threads) {
  if (layers == nullptr || count < 1 || rows < 1 || threads < 1) return false;
  for (int64_t l = 0; l < count; ++l) {
    const fw_dense_layer& layer = layers[l];
    if (layer.weight == nullptr || layer.inputs < 1 || layer.outputs < 1 || !(layer.slope >= 0) ||
        (l > 0 && layer.inputs != layers[l - 1].outputs))
      return false;
  }
  return true;
}

template <class T>
int forward(const fw_dense_layer* layers, int64_t count, const T* samples, int64_t rows,
            T* workspace, T* scores, int threads) {
  if (!is_valid(layers, count, rows, threads) || samples == nullptr || workspace == nullptr ||
      scores == nullptr)
    return FW_INVALID_ARGUMENT;
  const Step<T> step(layers, count, rows, workspace, threads);
  parallel(step.team_size(), [&](Team& team, int thread) {
    for (int64_t l = 0; l < count; ++l) pack<T>(step.layer(l), thread, team.size());
    team.barrier();
    const Range mine = step.rows_of(team, thread);
    const T* inputs = samples;
    for (int64_t l = 0; l < count; ++l) {
      const Layer<T> layer = step.layer(l);
      T* results = l + 1 < count ? layer.activations : scores;
      layer_forward<T>(layer, inputs, mine, results, step.scratch(thread));
      inputs = results;
    }
  });
  return FW_OK;
}

template <class T>
int transpose(const fw_dense_layer* layers, int64_t count, const T* seeds, int64_t rows,
              int64_t first_row, T* workspace, T* gradient, int threads) {
  if (!is_valid(layers, count, rows, threads) || seeds == nullptr || workspace == nullptr ||
      first_row < 0 || first_row > rows || (gradient == nullptr && first_row < rows))
    return FW_INVALID_ARGUMENT;
  const Step<T> step(layers, count, rows, workspace, threads);
  parallel(step.team_size(), [&](Team& team, int thread) {
    const Range mine = step.rows_of(team, thread);
    const T* cotangents = seeds;
    for (int64_t l = count - 1; l > 0; --l) {
      const Layer<T> before = step.layer(l - 1);
      layer_transpose<T>(step.layer(l), cotangents, before, mine, step.scratch(thread));
      cotangents = before.cotangents;
    }
    team.barrier();  // the rows below are split in another way
    const Range wanted = step.rows_of(team, thread, first_row);
    input_gradient<T>(step.layer(0), cotangents, wanted, first_row, gradient, step.scratch(thread));
  });
  return FW_OK;
}

template <class T>
int gradients(const fw_dense_layer* layers, int64_t count, const T* samples, const T* seeds,
              const T* start, int64_t rows, int64_t loss_rows, T* workspace,
              T* const* weight_gradients, T* const* bias_gradients, int threads) {
  if (!is_valid(layers, count, rows, threads) || samples == nullptr || seeds == nullptr ||
      workspace == nullptr || loss_rows < 0 || loss_rows > rows ||
      (start == nullptr && loss_rows < rows) || weight_gradients == nullptr ||
      bias_gradients == nullptr)
    return FW_INVALID_ARGUMENT;
  const Step<T> step(layers, count, rows, workspace, threads);
  const Gradients<T> given = {samples, seeds, start, loss_rows, weight_gradients, bias_gradients};
  parallel(step.team_size(), [&](Team& team, int thread) {
    const Range moving = step.rows_of(team, thread, loss_rows);
    const T* tangents = start - loss_rows * layers[0].inputs;
    for (int64_t l = 0; l + 1 < count; ++l) {
      const Layer<T> layer = step.layer(l);
      layer_tangent<T>(layer, tangents, moving, step.scratch(thread));
      tangents = layer.activations;
    }
    team.barrier();
    for (int64_t l = 0; l < count; ++l)
      layer_gradients<T>(step, l, given, thread, team.size(), step.scratch(thread));
  });
  return FW_OK;
}

}  // namespace
}  // namespace fastwgan

int64_t fw_dense_critic_workspace(const fw_dense_layer* layers, int64_t count, int64_t rows,
                                  int threads) {
  if (!fastwgan::is_valid(layers, count, rows, threads)) return -1;
  // As many elements of the narrower type hold no fewer of the wider one's padding.
  return fastwgan::Step<float>(layers, count, rows, nullptr, threads).total();
}

int fw_dense_critic_forward_f32(const fw_dense_layer* layers, int64_t count, const float* samples,
                                int64_t rows, float* workspace, float* scores, int threads) {
  return fastwgan::forward(layers, count, samples, rows, workspace, scores, threads);
}

int fw_dense_critic_forward_f64(const fw_dense_layer* layers, int64_t count, const double* samples,
                                int64_t rows, double* workspace, double* scores, int threads) {
  return fastwgan::forward(layers, count, samples, rows, workspace, scores, threads);
}

int fw_dense_critic_transpose_f32(const fw_dense_layer* layers, int64_t count, const float* seeds,
                                  int64_t rows, int64_t first_row, float* workspace,
                                  float* gradient, int threads) {
  return fastwgan::transpose(layers, count, seeds, rows, first_row, workspace, gradient, threads);
}

int fw_dense_critic_transpose_f64(const fw_dense_layer* layers, int64_t count, const double* seeds,
                                  int64_t rows, int64_t first_row, double* workspace,
                                  double* gradient, int threads) {
  return fastwgan::transpose(layers, count, seeds, rows, first_row, workspace, gradient, threads);
}

int fw_dense_critic_gradients_f32(const fw_dense_layer* layers, int64_t count, const float* samples,
                                  const float* seeds, const float* start, int64_t rows,
                                  int64_t loss_rows, float* workspace,
                                  float* const* weight_gradients, float* const* bias_gradients,
                                  int threads) {
  return fastwgan::gradients(layers, count, samples, seeds, start, rows, loss_rows, workspace,
                             weight_gradients, bias_gradients, threads);
}

int fw_dense_critic_gradients_f64(const fw_dense_layer* layers, int64_t count,
                                  const double* samples, const double* seeds, const double* start,
                                  int64_t rows, int64_t loss_rows, double* workspace,
                                  double* const* weight_gradients, double* const* bias_gradients,
                                  int threads) {
  return fastwgan::gradients(layers, count, samples, seeds, start, rows, loss_rows, workspace,
                             weight_gradients, bias_gradients, threads);
}
