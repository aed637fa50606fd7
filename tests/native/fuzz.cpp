// fuzz SEED FIRST COUNT [-v]  makes calls FIRST to FIRST + COUNT of the sequence SEED, with -v said
// one by one before they are made, and prints how many were made and how many of them were valid
#include "fuzz.h"

#include <new>

#include "../../csrc/cpu/capabilities.h"

namespace {

int64_t allocations_left = 0;  // until one fails; 0: none does
bool has_failed = false;

void* allocated(size_t bytes) {
  if (allocations_left > 0 && --allocations_left == 0) {
    has_failed = true;
    return nullptr;
  }
  return std::malloc(bytes > 0 ? bytes : 1);
}

struct Entry {
  const char* name;
  void (*fuzz)(Call&, bool);
};

const Entry entries[] = {
    {"weight_clip", fuzz_weight_clip},
    {"rmsprop", fuzz_rmsprop},
    {"gradient_penalty_interpolate", fuzz_interpolate},
    {"gradient_penalty_norm", fuzz_norm},
    {"bias_activation_forward", fuzz_bias_forward},
    {"bias_activation_backward", fuzz_bias_backward},
    {"spectral_norm_forward", fuzz_spectral_forward},
    {"spectral_norm_backward", fuzz_spectral_backward},
    {"feedforward_critic", fuzz_feedforward},
};
constexpr int64_t entry_count = sizeof entries / sizeof entries[0];

void choose_instruction_set(Random& random) {
  using fastwgan::InstructionSet;
  for (;;) {
    const auto set = static_cast<InstructionSet>(random.below(fastwgan::instruction_set_count));
    if (!fastwgan::can_run(set)) continue;
    fastwgan::set_active_instruction_set(set);
    return;
  }
}

}  // namespace

void* operator new(size_t bytes) {
  void* const memory = allocated(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return allocated(bytes); }
void* operator new[](size_t bytes) { return operator new(bytes); }
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return allocated(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

void fail_allocation(int64_t n) {
  allocations_left = n;
  has_failed = false;
}
bool allocation_failed() { return has_failed; }

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const uint64_t seed = std::strtoull(argv[1], nullptr, 10);
  const int64_t first = std::atoll(argv[2]), end = first + std::atoll(argv[3]);
  int64_t made = 0, valid = 0;
  for (int64_t i = first; i < end; ++i) {
    Random random(seed * 0x100000001b3u + static_cast<uint64_t>(i));
    const Entry& entry = entries[random.below(entry_count)];
    const bool is_double = random.one_in(2);
    choose_instruction_set(random);
    if (argc > 4) std::fprintf(stderr, "%lld %s\n", static_cast<long long>(i), entry.name);
    try {
      Call call(random);
      entry.fuzz(call, is_double);
      ++made;
      valid += call.is_valid;
    } catch (const Unaffordable&) {
    }
  }
  std::printf("%lld calls made, %lld valid, %lld checks passed\n", static_cast<long long>(made),
              static_cast<long long>(valid), static_cast<long long>(checks_made()));
  return 0;
}
