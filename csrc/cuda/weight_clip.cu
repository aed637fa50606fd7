#include "multi_tensor.cuh"

namespace fastwgan {
namespace {

// A comparison with NaN is false, so NaN passes both selections unchanged.
template <class C>
__device__ C clipped(C x, C bound) {
  x = x < -bound ? -bound : x;
  return x > bound ? bound : x;
}

template <class T>
__global__ void __launch_bounds__(block_threads)
    weight_clip_kernel(const __grid_constant__ Tensors<1> tensors, Wide<T> bound) {
  constexpr int lanes = lanes_of<T>;
  const Chunk<1> chunk = chunk_of_block(tensors);
  T* data = static_cast<T*>(chunk.tensor.pointers[0]);
  int64_t i = chunk.begin + threadIdx.x;
  if (is_aligned(data)) {
    const int64_t whole = chunk.end - chunk.end % lanes;
    for (int64_t j = chunk.begin + threadIdx.x * lanes; j < whole; j += block_threads * lanes) {
      Pack<T, lanes> pack = load<lanes>(data + j);
      for (int k = 0; k < lanes; ++k)
        pack.values[k] = narrowed<T>(clipped(widened(pack.values[k]), bound));
      store(data + j, pack);
    }
    i = whole + threadIdx.x;
  }
  for (; i < chunk.end; i += block_threads) data[i] = narrowed<T>(clipped(widened(data[i]), bound));
}

}  // namespace
}  // namespace fastwgan

int fw_cuda_weight_clip(void* const* tensors, const int64_t* sizes, int64_t count, int dtype,
                        double bound, const void* table, int device, void* stream) {
  using namespace fastwgan;
  if (!(bound > 0)) return FW_INVALID_ARGUMENT;
  const void* const* lists[1] = {tensors};
  Tensors<1> parameters;
  const int64_t blocks = prepare(lists, sizes, count, table, &parameters);
  if (blocks < 0) return FW_INVALID_ARGUMENT;
  const DeviceGuard guard(device);
  if (guard.status() != FW_OK) return guard.status();
  return for_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    return launch(weight_clip_kernel<T>, blocks, 0, stream, parameters, rounded_to<T>(bound));
  });
}
