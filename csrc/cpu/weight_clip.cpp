#include "fastwgan/weight_clip.h"

#include "multi_tensor.h"
#include "simd.h"

namespace fastwgan {
namespace {

// A comparison with NaN is false, so NaN passes both selections unchanged.
template <class Value, class Bound>
FW_INLINE Value clipped(Value x, Bound low, Bound high) {
  x = x < low ? low : x;
  return x > high ? high : x;
}

template <class T, int Bytes>
FW_INLINE void clip_body(T* tensor, int64_t size, T bound) {
  constexpr int step = lanes<T, Bytes>;
  const auto low = broadcast<T, Bytes>(-bound), high = broadcast<T, Bytes>(bound);
  int64_t i = 0;
  for (; i + step <= size; i += step)
    store<T, Bytes>(tensor + i, clipped(load<T, Bytes>(tensor + i), low, high));
  for (; i < size; ++i) tensor[i] = clipped(tensor[i], -bound, bound);
}

FW_DISPATCH(clip, (T * tensor, int64_t size, T bound), (tensor, size, bound))

template <class T>
int weight_clip(T* const* tensors, const int64_t* sizes, int64_t count, double bound, int threads) {
  if (!(bound > 0) || !valid_tensors(tensors, sizes, count)) return FW_INVALID_ARGUMENT;
  const int64_t total = total_size(sizes, count);
  const T rounded = static_cast<T>(bound);
  for_each_chunk(sizes, count, total, threads_for(total * int64_t{sizeof(T)}, threads),
                 [&](int64_t index, int64_t begin, int64_t end) {
                   clip<T>(tensors[index] + begin, end - begin, rounded);
                 });
  return FW_OK;
}

}  // namespace
}  // namespace fastwgan

int fw_weight_clip_f32(float* const* tensors, const int64_t* sizes, int64_t count, double bound,
                       int threads) {
  return fastwgan::weight_clip(tensors, sizes, count, bound, threads);
}

int fw_weight_clip_f64(double* const* tensors, const int64_t* sizes, int64_t count, double bound,
                       int threads) {
  return fastwgan::weight_clip(tensors, sizes, count, bound, threads);
}
