// A layer's weight, and its gradient, from torch's order to that of patches, and packed.
#pragma once

#include "feedforward_layers.h"

namespace fastwgan {

// to[tap][channel] = from[channel][tap] of one output, or back.
template <class T>
void reorder(const Window& window, const T* from, T* to, bool back) {
  const int64_t channels = window.channels, taps = window.kernel_height * window.kernel_width;
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t tap = 0; tap < taps; ++tap) {
      if (back)
        to[c * taps + tap] = from[tap * channels + c];
      else
        to[tap * channels + c] = from[c * taps + tap];
    }
}

// An output's weights in the order of patches: where they are, or in scratch [depth].
template <class T>
const T* ordered_row(const Layer<T>& layer, int64_t output, T* scratch) {
  const T* row = layer.weight + output * layer.window.depth();
  if (!layer.is_reordered()) return row;
  reorder<T>(layer.window, row, scratch, false);
  return scratch;
}

// This part of `ordered`, for layers that keep it: once for all calls of a step.
template <class T>
void fill_ordered(const Layer<T>& layer, int part, int parts) {
  if (layer.ordered == nullptr) return;
  const int64_t depth = layer.window.depth();
  const Range mine = part_of(layer.outputs, part, parts);
  for (int64_t o = mine.begin; o < mine.end; ++o)
    reorder<T>(layer.window, layer.weight + o * depth, layer.ordered + o * depth, false);
}

// This part of `packed`, one way or the other, for layers that keep it: for the call that runs.
template <class T, int Bytes>
FW_INLINE void prepare_body(const Layer<T>& layer, bool transposed, int part, int parts,
                            T* scratch) {
  if (layer.packed == nullptr) return;
  constexpr int64_t width = sliver_width<T, Bytes>;
  const int64_t depth = layer.window.depth(), outputs = layer.outputs;
  const Range mine = part_of(outputs, part, parts, width);
  if (!transposed) {
    for (int64_t o = mine.begin; o < mine.end; ++o) {
      const T* row = ordered_row<T>(layer, o, scratch);
      for (int64_t first = 0; first < depth; first += width)
        pack_sliver<T, Bytes>(row + first, depth, 1, depth - first,
                              layer.packed + first * outputs + o * width);
    }
    return;
  }
  for (int64_t first = mine.begin; first < mine.end; first += width) {
    const int64_t some = std::min(width, outputs - first);
    const T* rows = layer.weight + first * depth;
    if (layer.is_reordered()) {
      for (int64_t i = 0; i < some; ++i)
        reorder<T>(layer.window, rows + i * depth, scratch + i * depth, false);
      rows = scratch;
    }
    pack_sliver_transposed<T, Bytes>(rows, depth, depth, some, layer.packed + first * depth);
  }
}

FW_DISPATCH(prepare, (const Layer<T>& layer, bool transposed, int part, int parts, T* scratch),
            (layer, transposed, part, parts, scratch))

// This part of a gradient [outputs, depth] back to torch's order, in place.
template <class T>
void restore_order(const Layer<T>& layer, T* gradient, int part, int parts, T* scratch) {
  if (!layer.is_reordered()) return;
  const int64_t depth = layer.window.depth();
  const Range mine = part_of(layer.outputs, part, parts);
  for (int64_t o = mine.begin; o < mine.end; ++o) {
    std::copy(gradient + o * depth, gradient + (o + 1) * depth, scratch);
    reorder<T>(layer.window, scratch, gradient + o * depth, true);
  }
}

}  // namespace fastwgan
