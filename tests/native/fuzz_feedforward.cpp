// Random steps of a feed-forward critic: forward, backward and tangent on one workspace.
#include "feedforward.h"
#include "fuzz.h"

namespace {

using Size = int64_t fw_feedforward_layer::*;

const Size sizes_of_layer[] = {
    &fw_feedforward_layer::channels,       &fw_feedforward_layer::height,
    &fw_feedforward_layer::width,          &fw_feedforward_layer::outputs,
    &fw_feedforward_layer::kernel_height,  &fw_feedforward_layer::kernel_width,
    &fw_feedforward_layer::stride_height,  &fw_feedforward_layer::stride_width,
    &fw_feedforward_layer::padding_height, &fw_feedforward_layer::padding_width};

Pair pair_below(Random& random, int64_t end) { return {random.below(end), random.below(end)}; }

// A critic that can be, most often: kernels may be too large for what the layers before leave.
Sizes random_sizes(Call& call) {
  Random& random = call.random;
  Sizes sizes = {1 + random.below(random.one_in(20) ? 600 : 6), 0, 1 + random.below(9), {1, 1}, {}};
  sizes.loss_rows = random.below(sizes.rows + 1);
  const bool is_dense = random.one_in(2);
  if (!is_dense) sizes.image = {1 + random.below(7), 1 + random.below(7)};
  const int64_t count = 1 + random.below(4);
  for (int64_t l = 0; l < count; ++l) {
    Form form = {1 + random.below(random.one_in(8) ? 70 : 9)};
    if (!is_dense && random.one_in(2)) {
      const Pair less = pair_below(random, 3), stride = pair_below(random, 2);
      form.kernel = {1 + less.height, 1 + less.width};
      form.stride = {1 + stride.height, 1 + stride.width};
      form.padding = pair_below(random, 2);
    }
    sizes.forms.push_back(form);
  }
  sizes.slope = random.of({0.0, 0.2, 1.0, 1.5});
  return sizes;
}

template <class T>
class Step {
 public:
  explicit Step(Call& call) : call_(call) {
    const Sizes sizes = random_sizes(call);
    layers_ = layers_of(sizes);
    step_ = {nullptr, static_cast<int64_t>(layers_.size()),          sizes.rows, sizes.loss_rows,
             nullptr, static_cast<int>(call.random.of({1, 1, 2, 3}))};
    spoil();
    step_.layers = call.list(layers_, 1);
    for (fw_feedforward_layer& layer : layers_) layer.weight = &layer;  // not read by the next call
    const int64_t elements = fw_feedforward_critic_workspace(&step_);
    CHECK(elements >= -1);
    call.require(elements >= 0);
    if (elements > affordable) throw Unaffordable();
    workspace_elements_ = elements < 0 ? 0 : elements;
    give_memory();
  }

  template <class Forward, class Backward, class Tangent>
  void run(Forward forward, Backward backward, Tangent tangent) {
    const int64_t kind = call_.random.below(3);
    if (kind == 0) {
      const T* samples = required(rows() * sample_, false);
      T* scores = required(rows() * scores_, true);
      call_.run([&] { return forward(&step_, samples, scores); });
    } else if (kind == 1) {
      run_backward(backward);
    } else {
      run_tangent(tangent);
    }
  }

 private:
  // Sizes and options that are not what they were.
  void spoil() {
    Random& random = call_.random;
    for (fw_feedforward_layer& layer : layers_) {
      if (call_.hostile(10)) layer.*sizes_of_layer[random.below(10)] = call_.size();
      if (call_.hostile(10)) layer.slope = call_.number();
    }
    if (call_.hostile(12)) step_.count = random.of({int64_t{0}, int64_t{-1}, INT64_MIN, INT64_MAX});
    if (call_.hostile(12)) step_.rows = call_.size();
    if (call_.hostile(12)) step_.loss_rows = call_.size();
    if (call_.hostile(12)) step_.threads = random.of({0, -1, INT_MIN, INT_MAX});
  }

  // Of a step that is not valid, nothing is read: any memory does. What one entry alone reads is
  // drawn where that is called: a pointer that is missing makes no other call invalid.
  void give_memory() {
    const bool can_be = call_.is_valid;
    for (fw_feedforward_layer& layer : layers_) {
      const Claim window = Claim{layer.channels} * layer.kernel_height * layer.kernel_width;
      weights_.push_back(can_be ? layer.outputs * window : 0);
      outputs_.push_back(can_be ? layer.outputs : 0);
      layer.weight = required(weights_.back(), false);
      layer.bias = call_.optional<T>(outputs_.back(), false);
      const bool is_last = &layer == &layers_.back();
      if (can_be && !is_last && outputs_of(layer) == layer.outputs)
        layer.mask = call_.optional<T>(rows() * outputs_.back(), false);
    }
    const fw_feedforward_layer& first = layers_.front();
    sample_ = can_be ? Claim{first.channels} * first.height * first.width : 0;
    scores_ = can_be ? outputs_of(layers_.back()) : 0;
    step_.workspace = required(workspace_elements_, true);
  }

  Claim rows() const { return call_.is_valid ? step_.rows : 0; }
  Claim penalised() const { return call_.is_valid ? step_.rows - step_.loss_rows : 0; }

  T* required(Claim elements, bool is_written) { return call_.array<T>(elements, is_written); }

  std::vector<T*> gradients(const std::vector<Claim>& sizes) {
    std::vector<T*> pointers;
    for (Claim size : sizes) pointers.push_back(call_.optional<T>(size, true));
    return pointers;
  }

  template <class Backward>
  void run_backward(Backward backward) {
    const int of_all = static_cast<int>(call_.random.of({0, 1, -5}));
    const T* samples = required(rows() * sample_, false);
    const T* seeds = required(rows() * scores_, false);
    std::vector<T*> of_weights = gradients(weights_), of_biases = gradients(outputs_);
    T* gradient = required((of_all ? rows() : penalised()) * sample_, true);
    T** weights = call_.list(of_weights, 1);
    T** biases = call_.list(of_biases, 1);
    call_.run([&] { return backward(&step_, samples, seeds, of_all, weights, biases, gradient); });
  }

  template <class Tangent>
  void run_tangent(Tangent tangent) {
    const int adds = static_cast<int>(call_.random.of({0, 1}));
    call_.require(adds || step_.loss_rows == 0);
    const T* seeds = required(rows() * scores_, false);
    const T* start = required(penalised() * sample_, false);
    std::vector<T*> of_weights = gradients(weights_);
    T** weights = call_.list(of_weights, 1);
    call_.run([&] { return tangent(&step_, seeds, start, adds, weights); });
  }

  Call& call_;
  std::vector<fw_feedforward_layer> layers_;
  fw_feedforward_step step_;
  int64_t workspace_elements_ = 0;
  std::vector<Claim> weights_, outputs_;
  Claim sample_ = 0, scores_ = 0;
};

}  // namespace

void fuzz_feedforward(Call& call, bool is_double) {
  if (is_double)
    Step<double>(call).run(fw_feedforward_critic_forward_f64, fw_feedforward_critic_backward_f64,
                           fw_feedforward_critic_tangent_f64);
  else
    Step<float>(call).run(fw_feedforward_critic_forward_f32, fw_feedforward_critic_backward_f32,
                          fw_feedforward_critic_tangent_f32);
}
