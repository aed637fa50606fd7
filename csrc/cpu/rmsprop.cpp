#include "fastwgan/rmsprop.h"

#include "multi_tensor.h"
#include "simd.h"

namespace fastwgan {
namespace {

template <class T>
struct Slice {  // the same elements of one parameter and its state
  T* parameter;
  const T* gradient;
  T* square_average;
  T* momentum_buffer;   // null without momentum
  T* gradient_average;  // null when not centered
  int64_t size;
};

template <class T>
struct Coefficients {
  T sign, learning_rate, alpha, one_minus_alpha, epsilon, weight_decay, momentum, clip;
  explicit Coefficients(const fw_rmsprop_options& options)
      : sign(options.maximize ? T(-1) : T(1)),
        learning_rate(static_cast<T>(options.learning_rate)),
        alpha(static_cast<T>(options.alpha)),
        // In double first: 1 - float(0.99) would be off by 1e-8 relative to 0.01.
        one_minus_alpha(static_cast<T>(1.0 - options.alpha)),
        epsilon(static_cast<T>(options.epsilon)),
        weight_decay(static_cast<T>(options.weight_decay)),
        momentum(static_cast<T>(options.momentum)),
        clip(static_cast<T>(options.weight_clip)) {}
};

// One vector (Bytes > sizeof(T)) or one element (Bytes == sizeof(T)) at offset i.
template <class T, int Bytes, bool Momentum, bool Centered>
FW_INLINE void step_at(const Slice<T>& slice, const Coefficients<T>& c, int64_t i) {
  using V = Vector<T, Bytes>;
  V parameter = load<T, Bytes>(slice.parameter + i);
  V gradient = c.sign * load<T, Bytes>(slice.gradient + i);
  // Not added as a product with 0: a parameter of NaN or Inf must stay out of the state.
  if (c.weight_decay != 0) gradient += c.weight_decay * parameter;
  V average =
      c.alpha * load<T, Bytes>(slice.square_average + i) + c.one_minus_alpha * gradient * gradient;
  store<T, Bytes>(slice.square_average + i, average);
  if constexpr (Centered) {
    V mean = load<T, Bytes>(slice.gradient_average + i);
    mean += c.one_minus_alpha * (gradient - mean);
    store<T, Bytes>(slice.gradient_average + i, mean);
    average -= mean * mean;
  }
  V direction = gradient / (square_root<T, Bytes>(average) + c.epsilon);
  if constexpr (Momentum) {
    direction += c.momentum * load<T, Bytes>(slice.momentum_buffer + i);
    store<T, Bytes>(slice.momentum_buffer + i, direction);
  }
  parameter -= c.learning_rate * direction;
  const V low = broadcast<T, Bytes>(-c.clip), high = broadcast<T, Bytes>(c.clip);
  parameter = parameter < low ? low : parameter;
  parameter = parameter > high ? high : parameter;
  store<T, Bytes>(slice.parameter + i, parameter);
}

template <class T, int Bytes, bool Momentum, bool Centered>
FW_INLINE void steps(const Slice<T>& slice, const Coefficients<T>& c) {
  int64_t i = 0;
  for (; i + lanes<T, Bytes> <= slice.size; i += lanes<T, Bytes>)
    step_at<T, Bytes, Momentum, Centered>(slice, c, i);
  for (; i < slice.size; ++i) step_at<T, int{sizeof(T)}, Momentum, Centered>(slice, c, i);
}

template <class T, int Bytes>
FW_INLINE void rmsprop_slice_body(const Slice<T>& slice, const Coefficients<T>& c) {
  const bool momentum = slice.momentum_buffer != nullptr;
  const bool centered = slice.gradient_average != nullptr;
  if (momentum && centered) return steps<T, Bytes, true, true>(slice, c);
  if (momentum) return steps<T, Bytes, true, false>(slice, c);
  if (centered) return steps<T, Bytes, false, true>(slice, c);
  steps<T, Bytes, false, false>(slice, c);
}

FW_DISPATCH(rmsprop_slice, (const Slice<T>& slice, const Coefficients<T>& c), (slice, c))

template <class T>
int rmsprop(T* const* parameters, const T* const* gradients, T* const* square_averages,
            T* const* momentum_buffers, T* const* gradient_averages, const int64_t* sizes,
            int64_t count, const fw_rmsprop_options* options, int threads) {
  if (options == nullptr || !(options->weight_clip > 0)) return FW_INVALID_ARGUMENT;
  if (options->momentum == 0) momentum_buffers = nullptr;
  if (!options->centered) gradient_averages = nullptr;
  if (!valid_tensors(parameters, sizes, count) || !valid_tensors(gradients, sizes, count) ||
      !valid_tensors(square_averages, sizes, count) ||
      (options->momentum != 0 && !valid_tensors(momentum_buffers, sizes, count)) ||
      (options->centered && !valid_tensors(gradient_averages, sizes, count)))
    return FW_INVALID_ARGUMENT;
  const int64_t total = total_size(sizes, count);
  const Coefficients<T> coefficients(*options);
  for_each_chunk(
      sizes, count, total, threads_for(5 * total * int64_t{sizeof(T)}, threads),
      [&](int64_t index, int64_t begin, int64_t end) {
        rmsprop_slice<T>(
            {parameters[index] + begin, gradients[index] + begin, square_averages[index] + begin,
             momentum_buffers ? momentum_buffers[index] + begin : nullptr,
             gradient_averages ? gradient_averages[index] + begin : nullptr, end - begin},
            coefficients);
      });
  return FW_OK;
}

}  // namespace
}  // namespace fastwgan

int fw_rmsprop_f32(float* const* parameters, const float* const* gradients,
                   float* const* square_averages, float* const* momentum_buffers,
                   float* const* gradient_averages, const int64_t* sizes, int64_t count,
                   const fw_rmsprop_options* options, int threads) {
  return fastwgan::rmsprop(parameters, gradients, square_averages, momentum_buffers,
                           gradient_averages, sizes, count, options, threads);
}

int fw_rmsprop_f64(double* const* parameters, const double* const* gradients,
                   double* const* square_averages, double* const* momentum_buffers,
                   double* const* gradient_averages, const int64_t* sizes, int64_t count,
                   const fw_rmsprop_options* options, int threads) {
  return fastwgan::rmsprop(parameters, gradients, square_averages, momentum_buffers,
                           gradient_averages, sizes, count, options, threads);
}
