// A step of a feed-forward critic as Python hands it over.
#pragma once

#include <cstdint>
#include <vector>

#include "fastwgan/feedforward_critic.h"

namespace fastwgan {

// A step whose layers are rows of thirteen numbers, in the order of fw_feedforward_layer's members,
// with their slopes apart.
class FeedforwardStep {
 public:
  FeedforwardStep(uintptr_t rows_of_layers, uintptr_t slopes, int64_t count, int64_t rows,
                  int64_t loss_rows, int threads) {
    const auto* r = reinterpret_cast<const int64_t*>(rows_of_layers);
    for (int64_t l = 0; l < count; ++l, r += 13)
      layers_.push_back({pointer(r[0]), pointer(r[1]), pointer(r[2]), r[3], r[4], r[5], r[6], r[7],
                         r[8], r[9], r[10], r[11], r[12],
                         reinterpret_cast<const double*>(slopes)[l]});
    step_ = {layers_.data(), count, rows, loss_rows, nullptr, threads};
  }
  FeedforwardStep(const FeedforwardStep&) = delete;

  const fw_feedforward_step* get() const { return &step_; }
  void set_workspace(void* workspace) { step_.workspace = workspace; }

 private:
  static const void* pointer(int64_t address) { return reinterpret_cast<const void*>(address); }

  std::vector<fw_feedforward_layer> layers_;
  fw_feedforward_step step_;
};

}  // namespace fastwgan
