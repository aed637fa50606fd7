// The instruction sets a kernel body is compiled for, and which one runs.
//
// A body is one always-inline template over the vector width in bytes. The wrappers below compile
// it five times: for each instruction set by function target, and at the wide widths again in
// baseline code ("portable"), so that every width's tails and order of sums run on any processor.
#pragma once

#include <array>
#include <cstdint>

#if defined(__x86_64__)
#define FW_X86 1
#define FW_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define FW_TARGET_AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#else
#define FW_X86 0
#define FW_TARGET_AVX2
#define FW_TARGET_AVX512
#endif

#define FW_INLINE __attribute__((always_inline)) inline

namespace fastwgan {

enum class InstructionSet : int { baseline, avx2, avx512, portable256, portable512, count };

constexpr int instruction_set_count = static_cast<int>(InstructionSet::count);
constexpr std::array<const char*, instruction_set_count> instruction_set_names = {
    "baseline", "avx2", "avx512", "portable256", "portable512"};

bool can_run(InstructionSet set);
InstructionSet active_instruction_set();
void set_active_instruction_set(InstructionSet set);
// Takes FASTWGAN_CPU_ISA when it is set, else the widest set that runs. Returns false, and leaves
// the choice as it was, when the variable names no set that can run here.
bool choose_instruction_set();

}  // namespace fastwgan

// Defines NAME<T> SIGNATURE as a call through a table of NAME##_body<T, width> ARGUMENTS.
#define FW_DISPATCH(NAME, SIGNATURE, ARGUMENTS)                                             \
  template <class T>                                                                        \
  void NAME##_baseline SIGNATURE {                                                          \
    NAME##_body<T, 16> ARGUMENTS;                                                           \
  }                                                                                         \
  template <class T>                                                                        \
  FW_TARGET_AVX2 void NAME##_avx2 SIGNATURE {                                               \
    NAME##_body<T, 32> ARGUMENTS;                                                           \
  }                                                                                         \
  template <class T>                                                                        \
  FW_TARGET_AVX512 void NAME##_avx512 SIGNATURE {                                           \
    NAME##_body<T, 64> ARGUMENTS;                                                           \
  }                                                                                         \
  template <class T>                                                                        \
  void NAME##_portable256 SIGNATURE {                                                       \
    NAME##_body<T, 32> ARGUMENTS;                                                           \
  }                                                                                         \
  template <class T>                                                                        \
  void NAME##_portable512 SIGNATURE {                                                       \
    NAME##_body<T, 64> ARGUMENTS;                                                           \
  }                                                                                         \
  template <class T>                                                                        \
  void NAME SIGNATURE {                                                                     \
    using Entry = decltype(&NAME##_baseline<T>);                                            \
    static constexpr Entry table[] = {NAME##_baseline<T>, NAME##_avx2<T>, NAME##_avx512<T>, \
                                      NAME##_portable256<T>, NAME##_portable512<T>};        \
    table[static_cast<int>(fastwgan::active_instruction_set())] ARGUMENTS;                  \
  }
