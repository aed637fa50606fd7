#include "multi_tensor.cuh"

namespace fastwgan {
namespace {

template <class C>
struct Coefficients {
  C sign, learning_rate, alpha, one_minus_alpha, epsilon, weight_decay, momentum, clip;
};

template <class T>
Coefficients<Wide<T>> coefficients(const fw_rmsprop_options& options) {
  using C = Wide<T>;
  // 1 - alpha in double first: 1 - float(0.99) would be off by 1e-8 relative to 0.01.
  return {options.maximize ? C(-1) : C(1),  static_cast<C>(options.learning_rate),
          static_cast<C>(options.alpha),    static_cast<C>(1.0 - options.alpha),
          static_cast<C>(options.epsilon),  static_cast<C>(options.weight_decay),
          static_cast<C>(options.momentum), rounded_to<T>(options.weight_clip)};
}

template <class T>
struct State {  // of one tensor
  T* parameter;
  const T* gradient;
  T* square_average;
  T* momentum_buffer;
  T* gradient_average;
};

template <class T, int N, bool Momentum, bool Centered>
__device__ void step_at(const State<T>& state, const Coefficients<Wide<T>>& c, int64_t i) {
  using C = Wide<T>;
  Pack<T, N> parameters = load<N>(state.parameter + i);
  const Pack<T, N> gradients = load<N>(state.gradient + i);
  Pack<T, N> averages = load<N>(state.square_average + i), buffers, means;
  if constexpr (Momentum) buffers = load<N>(state.momentum_buffer + i);
  if constexpr (Centered) means = load<N>(state.gradient_average + i);
  for (int k = 0; k < N; ++k) {
    const C parameter = widened(parameters.values[k]);
    C gradient = c.sign * widened(gradients.values[k]);
    // Not added as a product with 0: a parameter of NaN or Inf must stay out of the state.
    if (c.weight_decay != 0) gradient += c.weight_decay * parameter;
    C average = c.alpha * widened(averages.values[k]) + c.one_minus_alpha * gradient * gradient;
    averages.values[k] = narrowed<T>(average);
    if constexpr (Centered) {
      C mean = widened(means.values[k]);
      mean += c.one_minus_alpha * (gradient - mean);
      means.values[k] = narrowed<T>(mean);
      average -= mean * mean;
    }
    C direction = gradient / (sqrt(average) + c.epsilon);
    if constexpr (Momentum) {
      direction += c.momentum * widened(buffers.values[k]);
      buffers.values[k] = narrowed<T>(direction);
    }
    C stepped = parameter - c.learning_rate * direction;
    stepped = stepped < -c.clip ? -c.clip : stepped;  // false for NaN, which stays
    parameters.values[k] = narrowed<T>(stepped > c.clip ? c.clip : stepped);
  }
  store(state.parameter + i, parameters);
  store(state.square_average + i, averages);
  if constexpr (Momentum) store(state.momentum_buffer + i, buffers);
  if constexpr (Centered) store(state.gradient_average + i, means);
}

template <class T, bool Momentum, bool Centered>
__global__ void __launch_bounds__(block_threads)
    rmsprop_kernel(const __grid_constant__ Tensors<5> tensors, Coefficients<Wide<T>> c) {
  constexpr int lanes = lanes_of<T>;
  const Chunk<5> chunk = chunk_of_block(tensors);
  void* const* pointers = chunk.tensor.pointers;
  const State<T> state = {static_cast<T*>(pointers[0]), static_cast<const T*>(pointers[1]),
                          static_cast<T*>(pointers[2]), static_cast<T*>(pointers[3]),
                          static_cast<T*>(pointers[4])};
  bool aligned = true;
  for (int list = 0; list < 5; ++list) aligned = aligned && is_aligned(pointers[list]);
  int64_t i = chunk.begin + threadIdx.x;
  if (aligned) {
    const int64_t whole = chunk.end - chunk.end % lanes;
    for (int64_t j = chunk.begin + threadIdx.x * lanes; j < whole; j += block_threads * lanes)
      step_at<T, lanes, Momentum, Centered>(state, c, j);
    i = whole + threadIdx.x;
  }
  for (; i < chunk.end; i += block_threads) step_at<T, 1, Momentum, Centered>(state, c, i);
}

template <class T, bool Momentum>
int launch_rmsprop(int64_t blocks, bool centered, void* stream, const Tensors<5>& tensors,
                   const Coefficients<Wide<T>>& c) {
  if (centered) return launch(rmsprop_kernel<T, Momentum, true>, blocks, 0, stream, tensors, c);
  return launch(rmsprop_kernel<T, Momentum, false>, blocks, 0, stream, tensors, c);
}

}  // namespace
}  // namespace fastwgan

int fw_cuda_rmsprop(void* const* parameters, const void* const* gradients,
                    void* const* square_averages, void* const* momentum_buffers,
                    void* const* gradient_averages, const int64_t* sizes, int64_t count, int dtype,
                    const fw_rmsprop_options* options, const void* table, int device,
                    void* stream) {
  using namespace fastwgan;
  if (options == nullptr || !(options->weight_clip > 0)) return FW_INVALID_ARGUMENT;
  const bool momentum = options->momentum != 0, centered = options->centered != 0;
  const void* const* lists[5] = {parameters, gradients, square_averages,
                                 momentum ? momentum_buffers : nullptr,
                                 centered ? gradient_averages : nullptr};
  for (int i = 0; i < 5 && count > 0; ++i)
    if (lists[i] == nullptr && (i < 3 || (i == 3 ? momentum : centered)))
      return FW_INVALID_ARGUMENT;
  Tensors<5> tensors;
  const int64_t blocks = prepare(lists, sizes, count, table, &tensors);
  if (blocks < 0) return FW_INVALID_ARGUMENT;
  const DeviceGuard guard(device);
  if (guard.status() != FW_OK) return guard.status();
  return for_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto c = coefficients<T>(*options);
    if (momentum) return launch_rmsprop<T, true>(blocks, centered, stream, tensors, c);
    return launch_rmsprop<T, false>(blocks, centered, stream, tensors, c);
  });
}
