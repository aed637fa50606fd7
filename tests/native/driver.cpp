// driver                 prints the instruction sets that run here, one a line
// driver SET THREADS...  checks every kernel with instruction set SET and each number of threads
#include <cstdlib>
#include <thread>

#include "../../csrc/cpu/capabilities.h"
#include "harness.h"

using fastwgan::InstructionSet;

namespace {

bool choose(const char* name) {
  for (int i = 0; i < fastwgan::instruction_set_count; ++i) {
    const auto set = static_cast<InstructionSet>(i);
    if (std::strcmp(name, fastwgan::instruction_set_names[i]) != 0 || !fastwgan::can_run(set))
      continue;
    fastwgan::set_active_instruction_set(set);
    return true;
  }
  return false;
}

void check_all(int threads) {
  check_weight_clip(threads);
  check_rmsprop(threads);
  check_gradient_penalty(threads);
  check_spectral_norm(threads);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 1) {
    for (int i = 0; i < fastwgan::instruction_set_count; ++i)
      if (fastwgan::can_run(static_cast<InstructionSet>(i)))
        std::printf("%s\n", fastwgan::instruction_set_names[i]);
    return 0;
  }
  if (!choose(argv[1])) return 2;
  check_hostile_arguments();
  check_memory_pool();
  for (int i = 2; i < argc; ++i) check_all(std::atoi(argv[i]));
  check_hostile_feedforward_critic();
  for (int i = 2; i < argc; ++i) check_feedforward_critic(std::atoi(argv[i]));
  std::printf("%lld checks passed\n", static_cast<long long>(checks_made()));
  return 0;
}
