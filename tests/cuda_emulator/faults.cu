// Kernels that are wrong on purpose, and right ones beside them: `faults NAME SEED` runs one, and
// prints the largest error of its results and the status of its launch.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "reduce.cuh"

extern "C" {
uint64_t cuda_emulator_synchronisations();
uint64_t cuda_emulator_launches();
void cuda_emulator_seed(unsigned seed);
}

namespace {

using namespace fastwgan;

// out[i] = sum over the block of in[j] - in[i], by way of shared memory.
template <bool Barrier>
__global__ void neighbours(const float* in, float* out) {
  __shared__ float shared[block_threads];
  const int i = static_cast<int>(threadIdx.x);
  const int64_t base = int64_t{blockIdx.x} * block_threads;
  shared[i] = in[base + i];
  if constexpr (Barrier) __syncthreads();
  out[base + i] = shared[(i + 77) % block_threads];
  __syncthreads();
}

__global__ void sums(const float* in, float* out) {
  __shared__ float shared[warps_of_block];
  const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  out[i] = block_sum(in[i], shared);
}

__global__ void divergent(float* out) {
  if (threadIdx.x < 100) __syncthreads();
  out[threadIdx.x] = 0;
}

__global__ void two_barriers(float* out) {
  if (threadIdx.x < 100)
    __syncthreads();
  else
    __syncthreads();
  out[threadIdx.x] = 0;
}

__global__ void lanes_apart(float* out) {
  float x = 1;
  if (threadIdx.x % 2 == 0)
    x = __shfl_xor_sync(whole_warp, x, 1);
  else
    x = __shfl_xor_sync(whole_warp, x, 2);
  out[threadIdx.x] = x;
}

__global__ void ended_lanes(float* out) {
  if (threadIdx.x % 2 == 0) return;
  out[threadIdx.x] = __shfl_xor_sync(whole_warp, 1.0f, 1);
}

__global__ void outside_mask(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 20);
}

__global__ void beyond(float* out, int by) { out[threadIdx.x + by] = 0; }

__global__ void beyond_shared(float* out, int by) {
  float* shared = dynamic_shared<float>();
  shared[threadIdx.x + by] = 1;
  out[threadIdx.x] = shared[threadIdx.x];
}

// Everything a warp can ask, against what it must answer.
__global__ void collectives(float* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float wrong = 0;
  wrong += __shfl_sync(whole_warp, lane, 5) != 5;
  wrong += __shfl_sync(whole_warp, lane, 5, 8) != lane / 8 * 8 + 5;
  wrong += __shfl_xor_sync(whole_warp, lane, 3) != (lane ^ 3);
  wrong += __shfl_down_sync(whole_warp, double(lane), 4) != (lane < 28 ? lane + 4 : lane);
  wrong += __shfl_up_sync(whole_warp, int64_t{lane}, 4) != (lane < 4 ? lane : lane - 4);
  wrong += __ballot_sync(whole_warp, lane % 2) != 0xaaaaaaaau;
  wrong += __any_sync(whole_warp, lane == 7) != 1;
  wrong += __all_sync(whole_warp, lane < 31) != 0;
  if (lane < 16) {
    wrong += __ballot_sync(0xffffu, 1) != 0xffffu;
    wrong += __shfl_xor_sync(0xffffu, lane, 8) != (lane ^ 8);
  } else {
    wrong += __all_sync(0xffff0000u, lane > 3) != 1;
  }
  __syncwarp();
  out[threadIdx.x] = wrong;
}

__global__ void counts(int* total) {
  atomicAdd(total, 1);
  atomicMax(total + 1, static_cast<int>(threadIdx.x));
}

struct Memory {
  std::vector<float> in, out, expected;
  int blocks = 4;
  Memory() : in(4 * block_threads), out(in.size(), NAN), expected(in.size()) {
    for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i * 37 % 1001);
  }
};

template <bool Barrier>
int run_neighbours(Memory& m) {
  for (size_t i = 0; i < m.in.size(); ++i)
    m.expected[i] = m.in[i / block_threads * block_threads + (i + 77) % block_threads];
  return launch(neighbours<Barrier>, m.blocks, 0, nullptr, m.in.data(), m.out.data());
}

int run_sums(Memory& m) {
  for (size_t i = 0; i < m.in.size(); ++i)
    for (int j = 0; j < block_threads; ++j)
      m.expected[i] += m.in[i / block_threads * block_threads + j];
  return launch(sums, m.blocks, 0, nullptr, m.in.data(), m.out.data());
}

int run_one_block(Memory& m, void (*kernel)(float*)) {
  m.out.assign(block_threads, 0);
  m.expected.assign(block_threads, 0);
  return launch(kernel, 1, 0, nullptr, m.out.data());
}

int run_counts(Memory& m) {
  int totals[2] = {0, 0};
  const int status = launch(counts, 5, 0, nullptr, totals);
  m.out = {static_cast<float>(totals[0]), static_cast<float>(totals[1])};
  m.expected = {5 * block_threads, block_threads - 1};
  return status;
}

int run_halves(Memory& m) {
  m.out.clear();
  m.expected.clear();
  const float values[] = {1.0f,     1.00390625f, 1.01171875f, -3.5f,
                          65504.0f, 65520.0f,    1e-8f,       INFINITY};
  const float bfloats[] = {1.0f, 1.0f, 1.015625f, -3.5f, 65536.0f, 65536.0f, 1e-8f, INFINITY};
  const float halves[] = {1.0f,     1.00390625f, 1.01171875f, -3.5f,
                          65504.0f, INFINITY,    0.0f,        INFINITY};
  for (int i = 0; i < 8; ++i) {
    const float rounded = __bfloat162float(__float2bfloat16(values[i]));
    m.out.push_back(i == 6 ? std::fabs(rounded / bfloats[i] - 1) < 0.004f ? 0 : 1 : rounded);
    m.expected.push_back(i == 6 ? 0 : bfloats[i]);
    m.out.push_back(__half2float(__float2half(values[i])));
    m.expected.push_back(halves[i]);
  }
  return FW_OK;
}

int run(const std::string& name, Memory& m) {
  if (name == "neighbours") return run_neighbours<true>(m);
  if (name == "missing-barrier") return run_neighbours<false>(m);
  if (name == "sums") return run_sums(m);
  if (name == "collectives") return run_one_block(m, collectives);
  if (name == "atomics") return run_counts(m);
  if (name == "halves") return run_halves(m);
  if (name == "divergent-barrier") return run_one_block(m, divergent);
  if (name == "two-barriers") return run_one_block(m, two_barriers);
  if (name == "lanes-apart") return run_one_block(m, lanes_apart);
  if (name == "ended-lanes") return run_one_block(m, ended_lanes);
  if (name == "outside-mask") return run_one_block(m, outside_mask);
  if (name == "outside")
    return launch(beyond, 1, 0, nullptr, m.out.data(), int(m.out.size()) - 255);
  if (name == "outside-shared")
    return launch(beyond_shared, 1, 4 * block_threads, nullptr, m.out.data(), 1);
  if (name == "inside-shared") {
    m.expected.assign(block_threads, 1);
    const int status = launch(beyond_shared, 1, 4 * block_threads, nullptr, m.out.data(), 0);
    m.out.resize(block_threads);
    return status;
  }
  if (name == "synchronises") {
    cudaStreamSynchronize(nullptr);
    m.out = {static_cast<float>(cuda_emulator_synchronisations())};
    m.expected = {1};
    return FW_OK;
  }
  return FW_INVALID_ARGUMENT;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  cuda_emulator_seed(static_cast<unsigned>(std::stoul(arguments[2])));
  Memory memory;
  const int status = run(arguments[1], memory);
  double largest = 0;
  for (size_t i = 0; i < memory.expected.size(); ++i) {
    if (memory.out[i] == memory.expected[i]) continue;
    const double error = std::fabs(memory.out[i] - memory.expected[i]);
    largest = error > largest || error != error ? error : largest;
  }
  std::printf("%g %d\n", largest, status);
  return 0;
}
