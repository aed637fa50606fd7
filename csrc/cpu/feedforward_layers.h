// The products of one layer of a feed-forward critic, on some of its rows.
#pragma once

#include "patches.h"

namespace fastwgan {

constexpr int64_t block_rows = depth_block;  // of sums over positions
constexpr int64_t patch_block = 49152;       // elements of patches at a time, or more for deep ones
constexpr int64_t fewest_patches = 96;       // so that a pass over the weight serves many

template <class T>
struct Layer {
  Window window;
  int64_t outputs;
  T slope;
  const T *weight, *bias, *mask;
  // Parts of the workspace:
  T* ordered;  // [outputs, depth]: the weight channels-last; null where torch's order is so
  T* ordered_gradient;   // likewise; the memory of `ordered` where that is read by packing alone
  T* packed_transposed;  // weight^T [depth, outputs] in slivers; null where the window is whole
  T* packed;             // weight [outputs, depth] in slivers; likewise
  T* activations;        // [rows, positions, outputs]; null for the last layer
  T* cotangents;         // [penalty rows, positions, outputs], before the activation; likewise

  const T* matrix() const { return ordered != nullptr ? ordered : weight; }  // [outputs, depth]
  int64_t elements() const { return window.positions() * outputs; }          // of an output
  // How many patches are gathered at a time.
  int64_t patches() const {
    const int64_t fitting = std::max(fewest_patches, patch_block / window.depth());
    return fitting / tile_rows * tile_rows;
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

// mask * act'(.) * sum; `results` may be the activations.
template <class T, int Bytes>
struct Differentiate {
  const T *activations, *mask;
  T slope;
  T* results;  // of rows counted from first_row
  int64_t columns, first_row;

  template <class Count>
  FW_INLINE void operator()(int64_t row, int64_t column, Vector<T, Bytes> d, Count some) const {
    const int64_t at = row * columns + column;
    d = differentiated(load_up_to<T, Bytes>(activations + at, some), d, slope);
    if (mask != nullptr) d *= load_up_to<T, Bytes>(mask + at, some);
    store_up_to<T, Bytes>(results + at - first_row * columns, d, some);
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

// scratch of a thread, in elements: what each function below asks for at most.
template <class T>
int64_t scratch_elements(const Layer<T>& layer, int64_t rows) {
  const int64_t sliver = padded_columns<T>(1), depth = layer.window.depth();
  const int64_t of_patches = layer.patches() * depth + multiply_scratch<T>(layer.patches()) +
                             layer.samples() * layer.window.sample();
  const int64_t of_sums = block_rows * (layer.outputs + tile_rows + sliver) + layer.outputs;
  return std::max(layer.window.is_whole() ? multiply_scratch<T>(rows) : of_patches, of_sums);
}

// finish takes the products of all patches of rows of `inputs` with the weight, row by row of
// [rows * positions, outputs]; inputs begin with first_row's.
template <class T, int Bytes, class Finish>
FW_INLINE void for_patches(const Layer<T>& layer, const T* inputs, int64_t first_row, Range rows,
                           T* scratch, const Finish& finish) {
  const Window& window = layer.window;
  const int64_t depth = window.depth();
  if (window.is_whole()) {
    const Transposed<T, Bytes> right = {layer.matrix(), depth, layer.outputs};
    multiply<T, Bytes>({inputs + (rows.begin - first_row) * depth, depth, 1}, rows.end - rows.begin,
                       right, depth, layer.outputs, rows.begin, scratch, finish);
    return;
  }
  const int64_t end = rows.end * window.positions(), block = layer.patches();
  T* partial = scratch + block * depth;
  const Packed<T, Bytes> right = {layer.packed_transposed, depth};
  for (int64_t first = rows.begin * window.positions(); first < end; first += block) {
    const Range here = {first, std::min(first + block, end)};
    gather<T, Bytes>(window, inputs, first_row, here, scratch);
    multiply<T, Bytes>({scratch, depth, 1}, here.end - here.begin, right, depth, layer.outputs,
                       first, partial, finish);
  }
}

// results[rows] of a layer; inputs, mask and results are counted from row 0.
template <class T, int Bytes>
FW_INLINE void layer_forward_body(const Layer<T>& layer, const T* inputs, Range rows, T* results,
                                  T* scratch) {
  const Activate<T, Bytes> finish = {layer.bias, layer.mask, layer.slope, results, layer.outputs};
  for_patches<T, Bytes>(layer, inputs, 0, rows, scratch, finish);
}

FW_DISPATCH(layer_forward,
            (const Layer<T>& layer, const T* inputs, Range rows, T* results, T* scratch),
            (layer, inputs, rows, results, scratch))

// The tangents of a layer's activations, over these; those of its inputs begin with first_row's.
template <class T, int Bytes>
FW_INLINE void layer_tangent_body(const Layer<T>& layer, const T* tangents, int64_t first_row,
                                  Range rows, T* scratch) {
  const Differentiate<T, Bytes> finish = {layer.activations, layer.mask,    layer.slope,
                                          layer.activations, layer.outputs, 0};
  for_patches<T, Bytes>(layer, tangents, first_row, rows, scratch, finish);
}

FW_DISPATCH(layer_tangent,
            (const Layer<T>& layer, const T* tangents, int64_t first_row, Range rows, T* scratch),
            (layer, tangents, first_row, rows, scratch))

// Where gradients by a layer's inputs go: before the activation of `before`, or as they are.
template <class T>
struct Target {
  const Layer<T>* before;  // null for the samples
  T* results;              // begin with first_row's
  int64_t first_row;
};

template <class T, int Bytes>
FW_INLINE Vector<T, Bytes> load_some(const T* from, int64_t some) {
  return some == lanes<T, Bytes> ? load<T, Bytes>(from) : load_up_to<T, Bytes>(from, some);
}

template <class T, int Bytes>
FW_INLINE void put_rows(const Target<T>& target, const T* gradients, int64_t first_row,
                        int64_t size, int64_t sample) {
  constexpr int64_t step = lanes<T, Bytes>;
  T* results = target.results + (first_row - target.first_row) * sample;
  const int64_t offset = first_row * sample;  // in activations and mask
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
                                    Range rows, const Target<T>& target, T* scratch) {
  const Window& window = layer.window;
  const int64_t depth = window.depth(), sample = window.sample(), outputs = layer.outputs;
  if (window.is_whole()) {
    const Left<T> left = {cotangents + (rows.begin - first_row) * outputs, outputs, 1};
    const int64_t count = rows.end - rows.begin;
    const Rows<T, Bytes> right = {layer.matrix(), depth, depth};
    if (target.before == nullptr) {
      const Store<T, Bytes> finish = {target.results, depth, target.first_row};
      multiply<T, Bytes>(left, count, right, outputs, depth, rows.begin, scratch, finish);
    } else {
      const Differentiate<T, Bytes> finish = {target.before->activations,
                                              target.before->mask,
                                              target.before->slope,
                                              target.results,
                                              depth,
                                              target.first_row};
      multiply<T, Bytes>(left, count, right, outputs, depth, rows.begin, scratch, finish);
    }
    return;
  }
  const int64_t block = layer.patches(), samples = layer.samples();
  T* partial = scratch + block * depth;
  T* collected = partial + multiply_scratch<T>(block);
  const Packed<T, Bytes> right = {layer.packed, outputs};
  const Store<T, Bytes> finish = {scratch, depth, 0};
  for (int64_t row = rows.begin; row < rows.end; row += samples) {
    const int64_t last = std::min(row + samples, rows.end);
    std::fill(collected, collected + (last - row) * sample, T(0));
    const int64_t end = last * window.positions();
    for (int64_t first = row * window.positions(); first < end; first += block) {
      const Range here = {first, std::min(first + block, end)};
      const T* from = cotangents + (first - first_row * window.positions()) * outputs;
      multiply<T, Bytes>({from, outputs, 1}, here.end - here.begin, right, outputs, depth, 0,
                         partial, finish);
      scatter<T, Bytes>(window, scratch, here, row, collected);
    }
    put_rows<T, Bytes>(target, collected, row, (last - row) * sample, sample);
  }
}

FW_DISPATCH(layer_transpose,
            (const Layer<T>& layer, const T* cotangents, int64_t first_row, Range rows,
             const Target<T>& target, T* scratch),
            (layer, cotangents, first_row, rows, target, scratch))

// Packs this part of a layer's weight, both ways.
template <class T, int Bytes>
FW_INLINE void pack_body(const Layer<T>& layer, int part, int parts) {
  constexpr int64_t width = sliver_width<T, Bytes>;
  const int64_t depth = layer.window.depth();
  pack_columns<T, Bytes>(layer.matrix(), depth, depth, layer.outputs,
                         part_of(tiles_of(layer.outputs, width), part, parts),
                         layer.packed_transposed);
  pack_rows<T, Bytes>(layer.matrix(), depth, layer.outputs, depth,
                      part_of(tiles_of(depth, width), part, parts), layer.packed);
}

FW_DISPATCH(pack, (const Layer<T>& layer, int part, int parts), (layer, part, parts))

// A sum over positions of products of cotangents and patches, [outputs, depth].
template <class T>
struct Sum {
  const T* cotangents;  // [positions, outputs], from the first position
  const T* inputs;      // samples, of which the positions are counted
  Range positions;
  bool is_first;
  T* results;
};

// This thread's part of a sum over a block of positions. Strips of outputs or slivers of columns
// are split, whichever are more: each thread packs all of the other.
template <class T, int Bytes>
FW_INLINE void add_products_body(const Layer<T>& layer, const Sum<T>& sum, int thread, int threads,
                                 T* scratch) {
  constexpr int64_t width = sliver_width<T, Bytes>;
  const int64_t depth = layer.window.depth(), outputs = layer.outputs;
  const int64_t count = sum.positions.end - sum.positions.begin;
  const int64_t all_strips = tiles_of(outputs, tile_rows), all_slivers = tiles_of(depth, width);
  const bool by_strips = all_strips > all_slivers;
  const Range strips = by_strips ? part_of(all_strips, thread, threads) : Range{0, all_strips};
  const Range slivers = by_strips ? Range{0, all_slivers} : part_of(all_slivers, thread, threads);
  T* right = scratch;                      // [count, width]
  T* left = scratch + block_rows * width;  // [strip][count][tile_rows]
  for (int64_t s = strips.begin; s < strips.end; ++s) {
    T* to = left + (s - strips.begin) * count * tile_rows;
    const int64_t some = std::min<int64_t>(tile_rows, outputs - s * tile_rows);
    for (int64_t r = 0; r < count; ++r, to += tile_rows) {
      const T* from = sum.cotangents + r * outputs + s * tile_rows;
      if (some == tile_rows)
        std::memcpy(to, from, tile_rows * sizeof(T));
      else
        for (int64_t i = 0; i < tile_rows; ++i) to[i] = i < some ? from[i] : T(0);
    }
  }
  const Add<T, Bytes> finish = {sum.results, depth, outputs, sum.is_first};
  for (int64_t s = slivers.begin; s < slivers.end; ++s) {
    if (layer.window.is_whole())
      pack_sliver<T, Bytes>(sum.inputs + sum.positions.begin * depth + s * width, depth, count,
                            depth - s * width, right);
    else
      pack_patches<T, Bytes>(layer.window, sum.inputs, sum.positions, s, right);
    for (int64_t strip = strips.begin; strip < strips.end; ++strip)
      multiply_tile<T, Bytes, tile_rows>(
          {left + (strip - strips.begin) * count * tile_rows, 1, tile_rows}, right, count, nullptr,
          true, true, strip * tile_rows, s * width, depth, finish);
  }
}

FW_DISPATCH(add_products,
            (const Layer<T>& layer, const Sum<T>& sum, int thread, int threads, T* scratch),
            (layer, sum, thread, threads, scratch))

template <class T, int Bytes>
FW_INLINE void add_rows_body(const T* matrix, int64_t stride, int64_t rows, Range columns,
                             T* sums) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = columns.begin; c < columns.end; ++c) sums[c] += matrix[r * stride + c];
}

FW_DISPATCH(add_rows, (const T* matrix, int64_t stride, int64_t rows, Range columns, T* sums),
            (matrix, stride, rows, columns, sums))

}  // namespace fastwgan
