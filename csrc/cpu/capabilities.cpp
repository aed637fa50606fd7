#include "capabilities.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace fastwgan {
namespace {

std::atomic<InstructionSet> active{InstructionSet::baseline};

}  // namespace

bool can_run(InstructionSet set) {
  switch (set) {
    case InstructionSet::baseline:
    case InstructionSet::portable256:
    case InstructionSet::portable512:
      return true;
#if FW_X86
    case InstructionSet::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case InstructionSet::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("fma");
#endif
    default:
      return false;
  }
}

InstructionSet active_instruction_set() { return active.load(std::memory_order_relaxed); }

void set_active_instruction_set(InstructionSet set) {
  active.store(set, std::memory_order_relaxed);
}

bool choose_instruction_set() {
  const char* forced = std::getenv("FASTWGAN_CPU_ISA");
  if (forced != nullptr && *forced != '\0') {
    for (int i = 0; i < instruction_set_count; ++i) {
      const auto set = static_cast<InstructionSet>(i);
      if (std::strcmp(forced, instruction_set_names[i]) == 0 && can_run(set)) {
        set_active_instruction_set(set);
        return true;
      }
    }
    return false;
  }
  for (InstructionSet set : {InstructionSet::avx512, InstructionSet::avx2}) {
    if (can_run(set)) {
      set_active_instruction_set(set);
      return true;
    }
  }
  return true;
}

}  // namespace fastwgan
