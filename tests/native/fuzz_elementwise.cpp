// Random calls of clipping, RMSprop, the gradient penalty's arithmetic and bias with activation.
#include "fastwgan/bias_activation.h"
#include "fastwgan/gradient_penalty.h"
#include "fastwgan/rmsprop.h"
#include "fastwgan/weight_clip.h"
#include "fuzz.h"

namespace {

// Sizes of a list of tensors, and the lists of pointers to them.
struct Lists {
  int64_t count;
  std::vector<int64_t> sizes;

  explicit Lists(Call& call) : count(call.count()) {
    Claim total = 0;
    for (int64_t i = 0; i < real_count(); ++i) {
      sizes.push_back(call.size());
      total += call.product({sizes.back()});
    }
    call.require(count >= 0 && count <= countable && total <= countable);
  }

  // Of a count that can't be, nothing is read.
  int64_t real_count() const { return count < 0 || count > 5 ? 1 : count; }

  template <class T>
  std::vector<T*> tensors(Call& call, bool is_written) const {
    std::vector<T*> pointers;
    for (int64_t size : sizes) pointers.push_back(call.array<T>(size < 0 ? 0 : size, is_written));
    return pointers;
  }
};

template <class T, class Entry>
void weight_clip(Call& call, Entry entry) {
  Lists lists(call);
  std::vector<T*> tensors = lists.tensors<T>(call, true);
  T** given = call.list(tensors, lists.count);
  const int64_t* sizes = call.list(lists.sizes, lists.count);
  const double bound = call.number();
  const int threads = call.threads();
  call.require(bound > 0);
  call.run([&] { return entry(given, sizes, lists.count, bound, threads); });
}

template <class T, class Entry>
void rmsprop(Call& call, Entry entry) {
  Lists lists(call);
  fw_rmsprop_options options = {
      call.number(), call.number(), call.number(), call.number(), 0, call.number(), 0, 0};
  if (call.random.one_in(2)) options.momentum = call.number();
  options.centered = static_cast<int>(call.random.of({0, 1, -7}));
  options.maximize = static_cast<int>(call.random.of({0, 1}));
  call.require(options.weight_clip > 0);
  std::vector<T*> state[4];  // parameters, square averages, momentum buffers, gradient averages
  T** given[4] = {};
  const bool is_used[4] = {true, true, options.momentum != 0, options.centered != 0};
  for (int i = 0; i < 4; ++i) {
    if (!is_used[i]) continue;
    state[i] = lists.tensors<T>(call, true);
    given[i] = call.list(state[i], lists.count);
  }
  std::vector<T*> read = lists.tensors<T>(call, false);
  T* const* gradients = call.list(read, lists.count);
  const int64_t* sizes = call.list(lists.sizes, lists.count);
  const fw_rmsprop_options* chosen = call.hostile(30) ? nullptr : &options;
  call.require(chosen != nullptr);
  const int threads = call.threads();
  call.run([&] {
    return entry(given[0], gradients, given[1], given[2], given[3], sizes, lists.count, chosen,
                 threads);
  });
}

template <class T, class Entry>
void interpolate(Call& call, Entry entry) {
  int64_t rows = call.size(), size = call.size(), groups = call.size();
  if (rows > 0 && call.random.one_in(2)) groups = call.random.of({int64_t{1}, rows});
  const Claim elements = call.product({rows, size});
  call.require(groups >= 0 && (rows <= 0 || (groups > 0 && rows % groups == 0)));
  const T* real = call.array<T>(elements, false);
  const T* fake = call.array<T>(elements, false);
  const T* alpha = call.array<T>(elements > 0 && groups > 0 ? groups : 0, false);
  T* interpolates = call.array<T>(elements, true);
  const int threads = call.threads();
  call.run([&] { return entry(real, fake, alpha, interpolates, rows, size, groups, threads); });
}

template <class T, class Entry>
void norm(Call& call, Entry entry) {
  const int64_t rows = call.size(), size = call.size();
  const Claim elements = call.product({rows, size});
  const int kind = call.hostile(6) ? call.random.of({-1, 3, INT_MIN, INT_MAX})
                                   : static_cast<int>(call.random.below(3));
  call.require(kind >= 0 && kind <= 2);
  const bool is_over = call.random.one_in(3);
  T* gradient = call.array<T>(elements, is_over);
  T* penalty = call.array<T>(1, true);
  T* norms = call.array<T>(call.product({rows}), true);
  T* cotangent = is_over ? gradient : call.optional<T>(elements, true);
  const double target = call.number(), weight = call.number();
  const int threads = call.threads();
  call.run([&] {
    return entry(gradient, rows, size, kind, target, weight, penalty, norms, cotangent, threads);
  });
}

template <class T, class Entry>
void bias_forward(Call& call, Entry entry) {
  const int64_t rows = call.size(), columns = call.size();
  const Claim elements = call.product({rows, columns});
  T* values = call.array<T>(elements, true);
  const T* bias = elements > 0 ? call.optional<T>(columns, false) : nullptr;
  const double slope = call.number();
  const int threads = call.threads();
  call.require(slope >= 0);
  call.run([&] { return entry(values, bias, rows, columns, slope, threads); });
}

template <class T, class Entry>
void bias_backward(Call& call, Entry entry) {
  const int64_t rows = call.size(), columns = call.size();
  const Claim elements = call.product({rows, columns});
  const int64_t over = call.random.below(3);  // what the results lie over: nothing, one, the other
  T* cotangents = call.array<T>(elements, over == 1);
  T* outputs = call.array<T>(elements, over == 2);
  T* results = over == 1 ? cotangents : over == 2 ? outputs : call.array<T>(elements, true);
  const int64_t summed = call.hostile(6) ? call.size()
                         : rows > 0      ? call.random.of({int64_t{0}, rows, rows / 2})
                                         : 0;
  call.require(summed >= 0 && summed <= rows);
  T* sums = columns > 0 ? call.optional<T>(columns, true) : nullptr;
  const double slope = call.number();
  const int threads = call.threads();
  call.require(slope >= 0);
  call.run([&] {
    return entry(cotangents, outputs, results, rows, columns, slope, summed, sums, threads);
  });
}

}  // namespace

void fuzz_weight_clip(Call& call, bool is_double) {
  is_double ? weight_clip<double>(call, fw_weight_clip_f64)
            : weight_clip<float>(call, fw_weight_clip_f32);
}
void fuzz_rmsprop(Call& call, bool is_double) {
  is_double ? rmsprop<double>(call, fw_rmsprop_f64) : rmsprop<float>(call, fw_rmsprop_f32);
}
void fuzz_interpolate(Call& call, bool is_double) {
  is_double ? interpolate<double>(call, fw_gradient_penalty_interpolate_f64)
            : interpolate<float>(call, fw_gradient_penalty_interpolate_f32);
}
void fuzz_norm(Call& call, bool is_double) {
  is_double ? norm<double>(call, fw_gradient_penalty_norm_f64)
            : norm<float>(call, fw_gradient_penalty_norm_f32);
}
void fuzz_bias_forward(Call& call, bool is_double) {
  is_double ? bias_forward<double>(call, fw_bias_activation_forward_f64)
            : bias_forward<float>(call, fw_bias_activation_forward_f32);
}
void fuzz_bias_backward(Call& call, bool is_double) {
  is_double ? bias_backward<double>(call, fw_bias_activation_backward_f64)
            : bias_backward<float>(call, fw_bias_activation_backward_f32);
}
