// The products of one layer of a feed-forward critic, on some of its rows.
#pragma once

#include "patches.h"

namespace fastwgan {

constexpr int64_t patch_block = 24576;  // elements of patches at a time, or more for deep ones
constexpr int64_t fewest_rows = 256;    // of a thread that packs a weight alone
constexpr int64_t fewest_patches = 96;  // so that a pass over the weight serves many

template <class T>
struct Layer {
  Window window;
  int64_t outputs;
  T slope;
  const T *weight, *bias, *mask;
  // Parts of the workspace:
  T* ordered;  // [outputs, depth]: the weight channels-last; null but for a whole window of which
               // torch's order is another
  T* packed;   // weight^T [depth, outputs] in slivers, or in the transpose weight [outputs, depth];
               // null where the window is whole
  T* activations;  // [rows, positions, outputs]; null for the last layer
  // [penalty rows, positions, outputs], before the activation; likewise. The activations begin
  // where these end, so that with the loss rows' cotangents, over activations, they are one matrix.
  T* cotangents;

  const T* matrix() const { return ordered != nullptr ? ordered : weight; }  // [outputs, depth]
  int64_t elements() const { return window.positions() * outputs; }          // of an output
  // Whether torch's order of the weight's columns, [channels, taps], is another than a patch's.
  bool is_reordered() const {
    return window.channels > 1 && window.kernel_height * window.kernel_width > 1;
  }
  // How many patches are gathered at a time.
  int64_t patches() const {
    const int64_t fitting = std::max(fewest_patches, patch_block / window.depth());
    return fitting / most_tile_rows * most_tile_rows;
  }
  // How many samples' gradients are collected at a time.
  int64_t samples() const { return tiles_of(fewest_patches, window.positions()); }
};

// mask * act(sum + bias), at rows and columns of a matrix. NaN stays NaN, and 0 times an infinite
// value below zero is 0.
template <class T, int Bytes>
struct Activate {
  const T *bias, *mask;
  T slope;
  T* results;
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

// act' * d, the derivative read off the activation.
template <class T, class V>
FW_INLINE V differentiated(V activation, V d, T slope) {
  V below = {};  // not 0 * d, which is NaN where d is infinite
  if (slope != 0) below = slope * d;
  return activation > V{} ? d : below;
}

// Which row of activations and mask a row of results is about: results of the transpose begin with
// the penalty's rows, which follow the loss's elsewhere.
struct Order {
  int64_t penalised = 0, losses = 0;
  int64_t operator()(int64_t row) const { return row < penalised ? row + losses : row - penalised; }
};

// mask * act'(.) * sum; `results` may be the activations.
template <class T, int Bytes>
struct Differentiate {
  const T *activations, *mask;
  T slope;
  T* results;
  int64_t columns;
  Order order;

  template <class Count>
  FW_INLINE void operator()(int64_t row, int64_t column, Vector<T, Bytes> d, Count some) const {
    const int64_t at = order(row) * columns + column;
    d = differentiated(load_up_to<T, Bytes>(activations + at, some), d, slope);
    if (mask != nullptr) d *= load_up_to<T, Bytes>(mask + at, some);
    store_up_to<T, Bytes>(results + row * columns + column, d, some);
  }
};

template <class T, int Bytes>
struct Store {
  T* results;
  int64_t columns;

  template <class Count>
  FW_INLINE void operator()(int64_t row, int64_t column, Vector<T, Bytes> sum, Count some) const {
    store_up_to<T, Bytes>(results + row * columns + column, sum, some);
  }
};

// scratch of a thread, in elements, that the products below ask for at most.
template <class T>
int64_t product_scratch(const Layer<T>& layer, int64_t rows) {
  const int64_t depth = std::max(layer.window.depth(), layer.outputs);
  if (layer.window.is_whole()) return multiply_scratch<T>(rows, depth);
  return layer.patches() * layer.window.depth() + multiply_scratch<T>(layer.patches(), depth) +
         layer.samples() * layer.window.sample();
}

// A thread's part of a product: some rows and all columns; or, where a thread's few rows are not
// worth packing the whole weight, all rows and some columns, the first where slivers begin.
struct Share {
  Range rows, columns;
};

template <class T>
Share share_of(const Window& window, Range rows, int64_t columns, int thread, int threads) {
  constexpr int64_t widest = padded_columns<T>(1);
  if (window.is_whole() && rows.end - rows.begin < fewest_rows * threads &&
      columns >= 2 * widest * threads)
    return {rows, part_of(columns, thread, threads, widest)};
  const Range part = part_of(rows.end - rows.begin, thread, threads);
  return {{rows.begin + part.begin, rows.begin + part.end}, {0, columns}};
}

// finish takes the products of all patches of rows of `inputs` with the weight, row by row of
// [rows * positions, outputs]; inputs begin with first_row's.
template <class T, int Bytes, class Finish>
FW_INLINE void for_patches(const Layer<T>& layer, const T* inputs, int64_t first_row, Share share,
                           T* scratch, const Finish& finish) {
  const Range rows = share.rows;
  const Window& window = layer.window;
  const int64_t depth = window.depth();
  if (window.is_whole()) {
    const Transposed<T, Bytes> right = {layer.matrix(), depth, layer.outputs};
    multiply<T, Bytes>({inputs + (rows.begin - first_row) * depth, depth, 1}, rows.end - rows.begin,
                       right, depth, share.columns, layer.outputs, rows.begin, scratch, finish);
    return;
  }
  const int64_t end = rows.end * window.positions(), block = layer.patches();
  T* partial = scratch + block * depth;
  const Packed<T, Bytes> right = {layer.packed, depth};
  for (int64_t first = rows.begin * window.positions(); first < end; first += block) {
    const Range here = {first, std::min(first + block, end)};
    gather<T, Bytes>(window, inputs, first_row, here, scratch);
    multiply<T, Bytes>({scratch, depth, 1}, here.end - here.begin, right, depth, share.columns,
                       layer.outputs, first, partial, finish);
  }
}

// results of a layer; inputs, mask and results are counted from row 0.
template <class T, int Bytes>
FW_INLINE void layer_forward_body(const Layer<T>& layer, const T* inputs, Share share, T* results,
                                  T* scratch) {
  const Activate<T, Bytes> finish = {layer.bias, layer.mask, layer.slope, results, layer.outputs};
  for_patches<T, Bytes>(layer, inputs, 0, share, scratch, finish);
}

FW_DISPATCH(layer_forward,
            (const Layer<T>& layer, const T* inputs, Share share, T* results, T* scratch),
            (layer, inputs, share, results, scratch))

// The tangents of a layer's activations, over these; those of its inputs begin with first_row's.
template <class T, int Bytes>
FW_INLINE void layer_tangent_body(const Layer<T>& layer, const T* tangents, int64_t first_row,
                                  Share share, T* scratch) {
  const Differentiate<T, Bytes> finish = {layer.activations, layer.mask,    layer.slope,
                                          layer.activations, layer.outputs, {}};
  for_patches<T, Bytes>(layer, tangents, first_row, share, scratch, finish);
}

FW_DISPATCH(layer_tangent,
            (const Layer<T>& layer, const T* tangents, int64_t first_row, Share share, T* scratch),
            (layer, tangents, first_row, share, scratch))

// Where gradients by a layer's inputs go: before the activation of `before`, or as they are.
template <class T>
struct Target {
  const Layer<T>* before;  // null for the samples
  T* results;
  Order order;
};

template <class T, int Bytes>
FW_INLINE Vector<T, Bytes> load_some(const T* from, int64_t some) {
  return some == lanes<T, Bytes> ? load<T, Bytes>(from) : load_up_to<T, Bytes>(from, some);
}

template <class T, int Bytes>
FW_INLINE void put_row(const Target<T>& target, const T* gradients, int64_t row, int64_t size) {
  constexpr int64_t step = lanes<T, Bytes>;
  T* results = target.results + row * size;
  const int64_t offset = target.order(row) * size;  // in activations and mask
  for (int64_t i = 0; i < size; i += step) {
    const int64_t some = std::min(step, size - i);
    Vector<T, Bytes> d = load_some<T, Bytes>(gradients + i, some);
    if (target.before != nullptr) {
      const Layer<T>& before = *target.before;
      const T* activations = before.activations + offset + i;
      d = differentiated(load_some<T, Bytes>(activations, some), d, before.slope);
      if (before.mask != nullptr) d *= load_some<T, Bytes>(before.mask + offset + i, some);
    }
    if (some == step)
      store<T, Bytes>(results + i, d);
    else
      store_up_to<T, Bytes>(results + i, d, some);
  }
}

// Gradients at a layer's inputs from cotangents [rows, positions, outputs], which begin with
// first_row's.
template <class T, int Bytes>
FW_INLINE void layer_transpose_body(const Layer<T>& layer, const T* cotangents, int64_t first_row,
                                    Share share, const Target<T>& target, T* scratch) {
  const Window& window = layer.window;
  const Range rows = share.rows;
  const int64_t depth = window.depth(), sample = window.sample(), outputs = layer.outputs;
  if (window.is_whole()) {
    const Left<T> left = {cotangents + (rows.begin - first_row) * outputs, outputs, 1};
    const int64_t count = rows.end - rows.begin;
    const Rows<T, Bytes> right = {layer.matrix(), depth, depth};
    if (target.before == nullptr) {
      const Store<T, Bytes> finish = {target.results, depth};
      multiply<T, Bytes>(left, count, right, outputs, share.columns, depth, rows.begin, scratch,
                         finish);
    } else {
      const Layer<T>& before = *target.before;
      const Differentiate<T, Bytes> finish = {before.activations, before.mask, before.slope,
                                              target.results,     depth,       target.order};
      multiply<T, Bytes>(left, count, right, outputs, share.columns, depth, rows.begin, scratch,
                         finish);
    }
    return;
  }
  const int64_t block = layer.patches(), samples = layer.samples();
  T* partial = scratch + block * depth;
  T* collected = partial + multiply_scratch<T>(block, outputs);
  const Packed<T, Bytes> right = {layer.packed, outputs};
  const Store<T, Bytes> finish = {scratch, depth};
  for (int64_t row = rows.begin; row < rows.end; row += samples) {
    const int64_t last = std::min(row + samples, rows.end);
    std::fill(collected, collected + (last - row) * sample, T(0));
    const int64_t end = last * window.positions();
    for (int64_t first = row * window.positions(); first < end; first += block) {
      const Range here = {first, std::min(first + block, end)};
      const T* from = cotangents + (first - first_row * window.positions()) * outputs;
      multiply<T, Bytes>({from, outputs, 1}, here.end - here.begin, right, outputs, share.columns,
                         depth, 0, partial, finish);
      scatter<T, Bytes>(window, scratch, here, row, collected);
    }
    for (int64_t r = row; r < last; ++r)
      put_row<T, Bytes>(target, collected + (r - row) * sample, r, sample);
  }
}

FW_DISPATCH(layer_transpose,
            (const Layer<T>& layer, const T* cotangents, int64_t first_row, Share share,
             const Target<T>& target, T* scratch),
            (layer, cotangents, first_row, share, target, scratch))

}  // namespace fastwgan
