#include "cuda_emulator.h"

#include <cstdio>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "fibers.h"

EmulatedIndex threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_emulator {
namespace {

struct Thread {
  std::unique_ptr<Fiber> fiber;
  int index = 0;
  bool ended = false;
  uint64_t met[32];  // what the lanes brought to this thread's last collective of a part of a warp
};

struct Meeting {  // of lanes that wait for the others of a mask
  int warp;
  unsigned mask, arrived;
  Collective kind;
  int line;
  uint64_t values[32];
};

// The meeting of a whole warp. Its values may be read until the next completes, which needs every
// reader.
struct Warp {
  unsigned arrived;
  Collective kind;
  int line;
  uint64_t values[32], met[32];
};

struct Scheduler {
  std::vector<Thread> threads;
  std::vector<int> ready;
  std::vector<Warp> warps;
  std::vector<Meeting> meetings;
  int count = 0, ended = 0, at_barrier = 0, barrier_line = 0;
  Thread* current = nullptr;
  const std::function<void()>* body = nullptr;
  std::vector<unsigned char> shared;
  std::string fault;
  std::minstd_rand random;
  uint64_t launches = 0, synchronisations = 0;
  std::mutex mutex;
};

Scheduler scheduler;
const char* const kind_names[] = {"__syncwarp", "a shuffle", "a vote"};

void fail(const std::string& what) {
  if (scheduler.fault.empty()) scheduler.fault = what;
}

void wait() { scheduler.current->fiber->yield(false); }

void run_thread() {
  (*scheduler.body)();
  Thread* self = scheduler.current;
  self->ended = true;
  ++scheduler.ended;
  self->fiber->yield(true);
}

std::string never_come(Collective kind, int line) {
  return std::string("lanes wait at ") + kind_names[static_cast<int>(kind)] + " of line " +
         std::to_string(line) + " for lanes of their mask that never come";
}

std::string stuck() {
  if (scheduler.at_barrier > 0)
    return "divergent barrier: " + std::to_string(scheduler.at_barrier) +
           " threads wait at __syncthreads of line " + std::to_string(scheduler.barrier_line) +
           " and " + std::to_string(scheduler.ended) + " of the block's " +
           std::to_string(scheduler.count) + " have ended";
  for (const Warp& warp : scheduler.warps)
    if (warp.arrived != 0) return never_come(warp.kind, warp.line);
  return never_come(scheduler.meetings.front().kind, scheduler.meetings.front().line);
}

bool run_block() {
  Scheduler& s = scheduler;
  s.ended = s.at_barrier = 0;
  s.meetings.clear();
  s.ready.clear();
  for (Warp& warp : s.warps) warp.arrived = 0;
  for (int i = 0; i < s.count; ++i) {
    s.threads[i].ended = false;
    s.threads[i].fiber->start(&run_thread);
    s.ready.push_back(i);
  }
  while (s.ended < s.count) {
    if (s.ready.empty()) fail(stuck());
    if (!s.fault.empty()) return false;
    const size_t pick = s.random() % s.ready.size();
    s.current = &s.threads[s.ready[pick]];
    s.ready[pick] = s.ready.back();
    s.ready.pop_back();
    threadIdx.x = static_cast<unsigned>(s.current->index);
    s.current->fiber->resume();
  }
  return s.fault.empty();
}

}  // namespace

int lane() { return scheduler.current->index % 32; }

void check_source(unsigned mask, int source, int line) {
  if ((mask >> source & 1u) == 0)
    fail("a shuffle of line " + std::to_string(line) + " reads lane " + std::to_string(source) +
         ", which its mask leaves out");
}

namespace {

void fail_apart(int line, int other) {
  fail("lanes of a warp wait at different collectives, of lines " + std::to_string(other) +
       " and " + std::to_string(line));
  wait();  // the scheduler ends the launch
}

const uint64_t* meet_whole(Collective kind, int line, uint64_t value) {
  Scheduler& s = scheduler;
  Thread* self = s.current;
  const int index = self->index / 32, own = self->index % 32;
  Warp& warp = s.warps[index];
  if (warp.arrived != 0 && (warp.kind != kind || warp.line != line)) fail_apart(line, warp.line);
  warp.kind = kind;
  warp.line = line;
  warp.values[own] = value;
  warp.arrived |= 1u << own;
  if (warp.arrived == 0xffffffffu) {
    warp.arrived = 0;
    std::memcpy(warp.met, warp.values, sizeof warp.met);
    for (int i = 0; i < 32; ++i)
      if (i != own) s.ready.push_back(index * 32 + i);
  } else {
    wait();
  }
  return warp.met;
}

}  // namespace

const uint64_t* meet(unsigned mask, Collective kind, int line, uint64_t value) {
  if (mask == 0xffffffffu) return meet_whole(kind, line, value);
  Scheduler& s = scheduler;
  Thread* self = s.current;
  const int warp = self->index / 32, own = lane();
  if ((mask >> own & 1u) == 0) {
    fail("lane " + std::to_string(own) + " takes part in a collective of line " +
         std::to_string(line) + " whose mask leaves it out");
    wait();
  }
  Meeting* meeting = nullptr;
  for (Meeting& other : s.meetings) {
    if (other.warp != warp || other.mask != mask) continue;
    if (other.kind != kind || other.line != line) fail_apart(line, other.line);
    meeting = &other;
  }
  if (meeting == nullptr) {
    s.meetings.push_back({warp, mask, 0, kind, line, {}});
    meeting = &s.meetings.back();
  }
  meeting->values[own] = value;
  meeting->arrived |= 1u << own;
  if (meeting->arrived == mask) {
    for (int i = 0; i < 32; ++i) {
      if ((mask >> i & 1u) == 0) continue;
      Thread& other = s.threads[warp * 32 + i];
      std::memcpy(other.met, meeting->values, sizeof other.met);
      if (&other != self) s.ready.push_back(other.index);
    }
    *meeting = s.meetings.back();
    s.meetings.pop_back();
  } else {
    wait();
  }
  return self->met;
}

void block_barrier(int line) {
  Scheduler& s = scheduler;
  if (s.at_barrier > 0 && s.barrier_line != line)
    fail("divergent barrier: threads of a block wait at __syncthreads of lines " +
         std::to_string(s.barrier_line) + " and " + std::to_string(line));
  s.barrier_line = line;
  if (++s.at_barrier == s.count) {
    s.at_barrier = 0;
    for (int i = 0; i < s.count; ++i)
      if (&s.threads[i] != s.current) s.ready.push_back(i);
  } else {
    wait();
  }
}

void* dynamic_shared_memory() { return scheduler.shared.data(); }

cudaError_t run(int64_t blocks, int threads, int64_t shared_bytes,
                const std::function<void()>& thread) {
  Scheduler& s = scheduler;
  const std::lock_guard<std::mutex> lock(s.mutex);
  ++s.launches;
  s.fault.clear();
  s.count = threads;
  s.body = &thread;
  while (static_cast<int>(s.threads.size()) < threads) {
    const int index = static_cast<int>(s.threads.size());
    s.threads.emplace_back();
    s.threads.back().fiber = std::make_unique<Fiber>(index);
    s.threads.back().index = index;
  }
  s.warps.resize((threads + 31) / 32);
  std::vector<unsigned> order(blocks);
  for (int64_t i = 0; i < blocks; ++i) order[i] = static_cast<unsigned>(i);
  for (int64_t i = blocks - 1; i > 0; --i) std::swap(order[i], order[s.random() % (i + 1)]);
  blockDim.x = static_cast<unsigned>(threads);
  gridDim.x = static_cast<unsigned>(blocks);
  for (const unsigned block : order) {
    blockIdx.x = block;
    // Of exact size, so that AddressSanitizer sees its end; of NaN, so that nothing is left over.
    std::vector<unsigned char>(static_cast<size_t>(shared_bytes), 0xff).swap(s.shared);
    if (!run_block()) {
      std::fprintf(stderr, "cuda_emulator: %s\n", s.fault.c_str());
      return cudaErrorLaunchFailure;
    }
  }
  return cudaSuccess;
}

}  // namespace cuda_emulator

using cuda_emulator::scheduler;

namespace {
int current_device = 0;
cudaError_t synchronised() {
  ++scheduler.synchronisations;
  return cudaSuccess;
}
}  // namespace

cudaError_t cudaGetDevice(int* device) {
  *device = current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device != 0) return cudaErrorInvalidDevice;
  current_device = device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 12000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }
const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaSuccess) return "no error";
  return error == cudaErrorInvalidDevice ? "invalid device ordinal" : scheduler.fault.c_str();
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return synchronised(); }
cudaError_t cudaDeviceSynchronize() { return synchronised(); }
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return synchronised();
}

// Read and set by the tests.
extern "C" {
__attribute__((visibility("default"))) uint64_t cuda_emulator_launches() {
  return scheduler.launches;
}
__attribute__((visibility("default"))) uint64_t cuda_emulator_synchronisations() {
  return scheduler.synchronisations;
}
__attribute__((visibility("default"))) void cuda_emulator_seed(unsigned seed) {
  scheduler.random.seed(seed + 1);
}
}
