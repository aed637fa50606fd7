// Programs that are wrong on purpose, in the ways the sanitizers are trusted to see.
#include <string>

#include "../../csrc/cpu/parallel.h"
#include "../../csrc/cpu/simd.h"
#include "harness.h"

namespace {

// A team that reads each other's sums without the barrier in between.
int race() {
  double sums[2] = {}, totals[2] = {};
  fastwgan::parallel(2, [&](fastwgan::Team&, int thread) {
    sums[thread] = thread + 1;
    totals[thread] = sums[0] + sums[1];
  });
  return totals[0] + totals[1] > 100;
}

// The same with the barrier: right.
int no_race() {
  double sums[2] = {}, totals[2] = {};
  fastwgan::parallel(2, [&](fastwgan::Team& team, int thread) {
    sums[thread] = thread + 1;
    team.barrier();
    totals[thread] = sums[0] + sums[1];
  });
  return totals[0] + totals[1] != 6;
}

// A vector loop whose last step goes past the end by one element.
int overflow() {
  Buffer<float> tensor(33);
  for (int64_t i = 0; i + 4 <= tensor.size() + 3; i += 4)
    fastwgan::store<float, 16>(tensor.data() + i, fastwgan::broadcast<float, 16>(1.0f));
  return tensor[0] != 1.0f;
}

// The same with its tail: right.
int no_overflow() {
  Buffer<float> tensor(33);
  for (int64_t i = 0; i + 4 <= tensor.size(); i += 4)
    fastwgan::store<float, 16>(tensor.data() + i, fastwgan::broadcast<float, 16>(1.0f));
  tensor[32] = 1.0f;
  return tensor[0] != 1.0f;
}

int null_copy() {
  Buffer<float> to(1);
  const float* volatile empty = nullptr;
  volatile size_t size = 0;
  std::memcpy(to.data(), empty, size);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string fault = argc > 1 ? argv[1] : "";
  if (fault == "race") return race();
  if (fault == "no-race") return no_race();
  if (fault == "overflow") return overflow();
  if (fault == "no-overflow") return no_overflow();
  if (fault == "null-copy") return null_copy();
  return 2;
}
