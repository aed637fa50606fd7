// What a convolution's window sees: patches of channels-last samples as rows of a matrix.
#pragma once

#include <algorithm>

#include "matrix_product.h"

namespace fastwgan {

struct Window {
  int64_t channels, height, width, kernel_height, kernel_width;
  int64_t stride_height, stride_width, padding_height, padding_width;
  int64_t out_height, out_width;

  int64_t positions() const { return out_height * out_width; }
  int64_t depth() const { return kernel_height * kernel_width * channels; }  // of a patch
  int64_t sample() const { return height * width * channels; }
  // The one patch is the sample itself.
  bool is_whole() const {
    return kernel_height == height && kernel_width == width && padding_height == 0 &&
           padding_width == 0;
  }
};

// A position, counted over the positions of all rows.
struct Place {
  int64_t row, top, left;  // of the patch, which can begin outside of the sample

  Place(const Window& window, int64_t position)
      : row(position / window.positions()),
        top(position % window.positions() / window.out_width * window.stride_height -
            window.padding_height),
        left(position % window.out_width * window.stride_width - window.padding_width) {}
};

// Calls run(offset in the patch, offset in the sample, size) for each run of elements that a patch
// and its sample share, in order.
template <class Run>
FW_INLINE void for_each_run(const Window& window, const Place& place, const Run& run) {
  const int64_t first = std::max<int64_t>(0, -place.left);
  const int64_t last = std::min(window.kernel_width, window.width - place.left);
  for (int64_t ky = 0; ky < window.kernel_height; ++ky) {
    const int64_t y = place.top + ky;
    if (y < 0 || y >= window.height || first >= last) continue;
    run((ky * window.kernel_width + first) * window.channels,
        (y * window.width + place.left + first) * window.channels,
        (last - first) * window.channels);
  }
}

template <class T, int Bytes>
struct CopyRun {
  const T* sample;
  T* patch;
  FW_INLINE void operator()(int64_t to, int64_t from, int64_t size) const {
    for (int64_t i = 0; i < size; ++i) patch[to + i] = sample[from + i];
  }
};

template <class T, int Bytes>
struct AddRun {
  const T* patch;
  T* sample;
  FW_INLINE void operator()(int64_t from, int64_t to, int64_t size) const {
    for (int64_t i = 0; i < size; ++i) sample[to + i] += patch[from + i];
  }
};

// patches [positions, depth], zero where they lie outside of the samples, which begin with
// first_row's.
template <class T, int Bytes>
FW_INLINE void gather(const Window& window, const T* samples, int64_t first_row, Range positions,
                      T* patches) {
  for (int64_t p = positions.begin; p < positions.end; ++p) {
    T* patch = patches + (p - positions.begin) * window.depth();
    const Place place(window, p);
    std::fill(patch, patch + window.depth(), T(0));
    for_each_run(window, place,
                 CopyRun<T, Bytes>{samples + (place.row - first_row) * window.sample(), patch});
  }
}

// Adds patches [positions, depth] to the samples they lie in; samples begin with first_row's.
template <class T, int Bytes>
FW_INLINE void scatter(const Window& window, const T* patches, Range positions, int64_t first_row,
                       T* samples) {
  for (int64_t p = positions.begin; p < positions.end; ++p) {
    const Place place(window, p);
    for_each_run(window, place,
                 AddRun<T, Bytes>{patches + (p - positions.begin) * window.depth(),
                                  samples + (place.row - first_row) * window.sample()});
  }
}

// Part of a sliver: columns that lie in one tap of the kernel.
struct Columns {
  int64_t first, count, y, x, channel;
};

// One sliver of the matrix of patches, packed [positions, sliver_width].
template <class T, int Bytes>
FW_INLINE void pack_patches(const Window& window, const T* samples, Range positions, int64_t sliver,
                            T* packed) {
  constexpr int64_t width = sliver_width<T, Bytes>;
  Columns parts[width];
  int64_t count = 0;
  for (int64_t j = 0; j < width;) {
    const int64_t column = sliver * width + j, tap = column / window.channels;
    if (column >= window.depth()) break;
    const int64_t channel = column % window.channels;
    const int64_t size = std::min(width - j, window.channels - channel);
    parts[count++] = {j, size, tap / window.kernel_width, tap % window.kernel_width, channel};
    j += size;
  }
  for (int64_t p = positions.begin; p < positions.end; ++p, packed += width) {
    const Place place(window, p);
    const T* sample = samples + place.row * window.sample();
    const Vector<T, Bytes> zero = {};
    store<T, Bytes>(packed, zero);
    store<T, Bytes>(packed + width / 2, zero);
    for (int64_t i = 0; i < count; ++i) {
      const Columns& part = parts[i];
      const int64_t y = place.top + part.y, x = place.left + part.x;
      if (y < 0 || y >= window.height || x < 0 || x >= window.width) continue;
      const T* from = sample + (y * window.width + x) * window.channels + part.channel;
      if (part.count == width) {
        store<T, Bytes>(packed, load<T, Bytes>(from));
        store<T, Bytes>(packed + width / 2, load<T, Bytes>(from + width / 2));
      } else {
        for (int64_t j = 0; j < part.count; ++j) packed[part.first + j] = from[j];
      }
    }
  }
}

}  // namespace fastwgan
