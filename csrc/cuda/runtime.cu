#include <cstring>

#include "launch.cuh"

namespace fastwgan {
namespace {

constexpr int64_t upload_words = 500;  // 4,000 bytes: within what every toolkit takes as parameters

struct Words {
  uint64_t words[upload_words];
};

__global__ void __launch_bounds__(block_threads)
    upload_kernel(const __grid_constant__ Words from, uint64_t* to, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += block_threads) to[i] = from.words[i];
}

}  // namespace
}  // namespace fastwgan

int fw_cuda_upload(const void* from, int64_t bytes, void* to, int device, void* stream) {
  using namespace fastwgan;
  if (bytes < 0 || bytes % 8 != 0 || (bytes > 0 && (from == nullptr || to == nullptr)))
    return FW_INVALID_ARGUMENT;
  const DeviceGuard guard(device);
  int status = guard.status();
  const char* source = static_cast<const char*>(from);
  uint64_t* target = static_cast<uint64_t*>(to);
  for (int64_t left = bytes / 8; left > 0 && status == FW_OK; left -= upload_words) {
    const int count = static_cast<int>(left < upload_words ? left : upload_words);
    Words words = {};
    std::memcpy(words.words, source, static_cast<size_t>(count) * 8);
    status = launch(upload_kernel, 1, 0, stream, words, target, count);
    source += count * 8;
    target += count;
  }
  return status;
}

int fw_cuda_driver_version(void) {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

int fw_cuda_runtime_version(void) {
  int version = 0;
  return cudaRuntimeGetVersion(&version) == cudaSuccess ? version : 0;
}

int fw_cuda_device_count(void) {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

const char* fw_cuda_error_text(int status) {
  return cudaGetErrorString(static_cast<cudaError_t>(status - FW_CUDA_ERROR));
}
