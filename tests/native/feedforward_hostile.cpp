// A feed-forward critic's step that its contract forbids: -1 or FW_INVALID_ARGUMENT from every
// entry, and nothing written.
#include <climits>
#include <functional>

#include "feedforward.h"

namespace {

using Layers = std::vector<fw_feedforward_layer>;
using Size = int64_t fw_feedforward_layer::*;

const Sizes sizes = {4, 3, 3, {5, 4}, {{6, {2, 3}, {1, 2}, {1, 0}}, {5}, {1}}, 0.2};
const std::vector<Size> extents = {
    &fw_feedforward_layer::channels,      &fw_feedforward_layer::height,
    &fw_feedforward_layer::width,         &fw_feedforward_layer::outputs,
    &fw_feedforward_layer::kernel_height, &fw_feedforward_layer::kernel_width};
const std::vector<Size> strides = {&fw_feedforward_layer::stride_height,
                                   &fw_feedforward_layer::stride_width};
const std::vector<Size> paddings = {&fw_feedforward_layer::padding_height,
                                    &fw_feedforward_layer::padding_width};
const std::vector<int64_t> beyond = {INT64_MAX, INT64_MAX / 2 + 1, int64_t{1} << 60};

template <class T>
class Refusals {
 public:
  Refusals() : critic_(sizes), scores_(4), gradient_(critic_.samples) {
    const fw_feedforward_step step = critic_.step(nullptr, 2);
    workspace_.assign(static_cast<size_t>(fw_feedforward_critic_workspace(&step)), T(7));
    for (size_t l = 0; l < critic_.layers.size(); ++l) {
      weights_.emplace_back(critic_.weights[l].size());
      biases_.emplace_back(critic_.biases[l].size());
    }
    weight_pointers_ = pointers_to(weights_);
    bias_pointers_ = pointers_to(biases_);
  }

  fw_feedforward_step good() { return critic_.step(workspace_.data(), 2); }

  // By every entry.
  void refuse(const fw_feedforward_step* step) {
    CHECK(fw_feedforward_critic_workspace(step) == -1);
    refuse_calls(step);
  }
  void refuse_calls(const fw_feedforward_step* step) {
    invalid(forward(step, samples(), scores_.data()));
    invalid(backward(step, samples(), seeds(), weights(), biases(), gradient_.data()));
    invalid(tangent(step, seeds(), critic_.start.data(), 1, weights()));
  }
  void refuse_layers(const std::function<void(Layers&)>& change) {
    Layers changed = critic_.layers;
    change(changed);
    fw_feedforward_step step = good();
    step.layers = changed.data();
    refuse(&step);
  }
  void refuse_step(const std::function<void(fw_feedforward_step&)>& change) {
    fw_feedforward_step step = good();
    change(step);
    refuse(&step);
  }

  void refuse_null_arguments() {
    const fw_feedforward_step step = good();
    T *scores = scores_.data(), *gradient = gradient_.data();
    invalid(forward(&step, nullptr, scores));
    invalid(forward(&step, samples(), nullptr));
    invalid(backward(&step, nullptr, seeds(), weights(), biases(), gradient));
    invalid(backward(&step, samples(), nullptr, weights(), biases(), gradient));
    invalid(backward(&step, samples(), seeds(), nullptr, biases(), gradient));
    invalid(backward(&step, samples(), seeds(), weights(), nullptr, gradient));
    invalid(backward(&step, samples(), seeds(), weights(), biases(), nullptr));
    invalid(tangent(&step, nullptr, critic_.start.data(), 1, weights()));
    invalid(tangent(&step, seeds(), nullptr, 1, weights()));
    invalid(tangent(&step, seeds(), critic_.start.data(), 1, nullptr));
    invalid(tangent(&step, seeds(), critic_.start.data(), 0, weights()));  // there are loss rows
    fw_feedforward_step of_loss = step;  // no row of the penalty's, but its gradient at all rows
    of_loss.loss_rows = of_loss.rows;
    invalid(FeedforwardEntries<T>::backward(&of_loss, samples(), seeds(), 1, weights(), biases(),
                                            nullptr));
    fw_feedforward_step homeless = step;
    homeless.workspace = nullptr;
    CHECK(fw_feedforward_critic_workspace(&homeless) == static_cast<int64_t>(workspace_.size()));
    refuse_calls(&homeless);
    homeless.workspace = reinterpret_cast<char*>(workspace_.data()) + 1;
    refuse_calls(&homeless);
  }

  // Compares with `other`, which has seen no call, what a call could have written.
  void check_unwritten(const Refusals& other) const {
    CHECK(workspace_ == other.workspace_ && scores_ == other.scores_);
    CHECK(gradient_ == other.gradient_ && weights_ == other.weights_ && biases_ == other.biases_);
  }

  void check_good() {
    const fw_feedforward_step step = good();
    CHECK(forward(&step, samples(), scores_.data()) == FW_OK);
    CHECK(backward(&step, samples(), seeds(), weights(), biases(), gradient_.data()) == FW_OK);
    CHECK(tangent(&step, seeds(), critic_.start.data(), 1, weights()) == FW_OK);
  }

 private:
  static constexpr auto forward = FeedforwardEntries<T>::forward;
  static constexpr auto tangent = FeedforwardEntries<T>::tangent;
  static int backward(const fw_feedforward_step* step, const T* samples, const T* seeds,
                      T* const* weights, T* const* biases, T* gradient) {
    return FeedforwardEntries<T>::backward(step, samples, seeds, 0, weights, biases, gradient);
  }
  static void invalid(int status) { CHECK(status == FW_INVALID_ARGUMENT); }

  const T* samples() const { return critic_.samples.data(); }
  const T* seeds() const { return critic_.seeds.data(); }
  T* const* weights() const { return weight_pointers_.data(); }
  T* const* biases() const { return bias_pointers_.data(); }

  FeedforwardCritic<T> critic_;
  std::vector<T> workspace_;
  Buffers<T> weights_, biases_;
  Buffer<T> scores_, gradient_;
  std::vector<T*> weight_pointers_, bias_pointers_;
};

template <class T>
void refuse_sizes(Refusals<T>& entries) {
  const auto refuse = [&](size_t layer, Size size, int64_t value) {
    entries.refuse_layers([=](Layers& l) { l[layer].*size = value; });
  };
  for (size_t layer = 0; layer < 3; ++layer) {
    for (int64_t none : {int64_t{0}, int64_t{-1}, INT64_MIN}) {
      for (Size size : extents) refuse(layer, size, none);
      for (Size size : strides) refuse(layer, size, none);
      if (none < 0)
        for (Size size : paddings) refuse(layer, size, none);
    }
    for (int64_t much : beyond) {
      for (Size size : extents) refuse(layer, size, much);
      for (Size size : paddings) refuse(layer, size, much);
    }
    for (double slope : {-0.1, static_cast<double>(NAN), -static_cast<double>(INFINITY)})
      entries.refuse_layers([=](Layers& l) { l[layer].slope = slope; });
    entries.refuse_layers([=](Layers& l) { l[layer].weight = nullptr; });
  }
}

template <class T>
void refuse_forms(Refusals<T>& entries) {
  for (Size size : extents) entries.refuse_layers([=](Layers& l) { ++(l[1].*size); });
  entries.refuse_layers([](Layers& l) { l[0].kernel_height = 8; });  // above 5 and padding
  entries.refuse_layers([](Layers& l) { l[0].padding_height = 0; });
  entries.refuse_layers([](Layers& l) { l[0].mask = l[0].weight; });  // of many positions
  entries.refuse_layers([](Layers& l) { l[2].mask = l[2].weight; });
  for (double slope : {0.0, 0.999, static_cast<double>(INFINITY)})
    entries.refuse_layers([=](Layers& l) { l[2].slope = slope; });
  // In 64 bits 4 * (2^62 + 9) is 36, the outputs before; padded, there is more than can be.
  entries.refuse_layers([](Layers& l) {
    l[1].channels = (int64_t{1} << 62) + 9;
    l[1].height = l[1].kernel_height = 4;
  });
  entries.refuse_layers([](Layers& l) {
    l[0].padding_height = l[0].padding_width = int64_t{1} << 31;
    l[0].stride_height = l[0].stride_width = 1;
  });
}

template <class T>
void refuse_steps(Refusals<T>& entries) {
  using Step = fw_feedforward_step;
  entries.refuse(nullptr);
  entries.refuse_step([](Step& s) { s.layers = nullptr; });
  for (int64_t none : {int64_t{0}, int64_t{-1}, INT64_MIN}) {
    entries.refuse_step([=](Step& s) { s.count = none; });
    entries.refuse_step([=](Step& s) { s.rows = none; });
    entries.refuse_step([=](Step& s) { s.rows = s.loss_rows = none; });
  }
  for (int64_t much : beyond) {
    entries.refuse_step([=](Step& s) { s.rows = much; });
    entries.refuse_step([=](Step& s) { s.rows = s.loss_rows = much; });
  }
  for (int64_t loss_rows : {int64_t{-1}, INT64_MIN, int64_t{5}, INT64_MAX})
    entries.refuse_step([=](Step& s) { s.loss_rows = loss_rows; });
  for (int threads : {0, -7, INT_MIN}) entries.refuse_step([=](Step& s) { s.threads = threads; });
}

template <class T>
void hostile() {
  Refusals<T> entries;
  const Refusals<T> untouched = entries;
  refuse_sizes(entries);
  refuse_forms(entries);
  refuse_steps(entries);
  entries.refuse_null_arguments();
  entries.check_unwritten(untouched);
  entries.check_good();
}

// Each layer alone can be, all of them together are more than 64 bits count.
void sums_of_sizes() {
  constexpr int64_t size = int64_t{1} << 27;
  const float weight = 0;
  const fw_feedforward_layer layer = {&weight, nullptr, nullptr, size, 1, 1, size,
                                      1,       1,       1,       1,    0, 0, 1};
  const Layers layers(100, layer);
  fw_feedforward_step step = {layers.data(), 1, 4, 3, nullptr, 1};
  CHECK(fw_feedforward_critic_workspace(&step) > 0);
  step.count = 100;
  CHECK(fw_feedforward_critic_workspace(&step) == -1);
  step.count = 1;
  step.threads = INT_MAX;
  CHECK(fw_feedforward_critic_workspace(&step) == -1);
}

}  // namespace

void check_hostile_feedforward_critic() {
  hostile<float>();
  hostile<double>();
  sums_of_sizes();
}
