// Weight clipping and RMSprop: right, and the same to the bit for any number of threads.
#include "fastwgan/rmsprop.h"
#include "fastwgan/weight_clip.h"
#include "harness.h"

namespace {

int clip(float* const* tensors, const int64_t* sizes, int64_t count, double bound, int threads) {
  return fw_weight_clip_f32(tensors, sizes, count, bound, threads);
}
int clip(double* const* tensors, const int64_t* sizes, int64_t count, double bound, int threads) {
  return fw_weight_clip_f64(tensors, sizes, count, bound, threads);
}

template <class T>
void weight_clip_of(int threads) {
  const auto count = static_cast<int64_t>(tensor_sizes.size());
  const T bound = static_cast<T>(0.25);
  Buffers<T> single = buffers_of<T>(tensor_sizes);
  single[4][3] = static_cast<T>(NAN);
  single[4][4] = static_cast<T>(-INFINITY);
  const Buffers<T> original = single;
  Buffers<T> shared = single;
  CHECK(clip(pointers_to(single).data(), tensor_sizes.data(), count, 0.25, 1) == FW_OK);
  CHECK(clip(pointers_to(shared).data(), tensor_sizes.data(), count, 0.25, threads) == FW_OK);
  for (size_t i = 0; i < single.size(); ++i) {
    CHECK(shared[i] == single[i]);
    for (int64_t j = 0; j < single[i].size(); ++j) {
      const T x = original[i][j], y = single[i][j];
      CHECK(std::isnan(x) ? std::isnan(y) : y == (x < -bound ? -bound : x > bound ? bound : x));
    }
  }
}

template <class T>
struct Step {
  Buffers<T> parameters, gradients, square_averages, momentum_buffers, gradient_averages;
  Step()
      : parameters(buffers_of<T>(tensor_sizes)),
        gradients(buffers_of<T>(tensor_sizes)),
        square_averages(buffers_of<T>(tensor_sizes)),
        momentum_buffers(buffers_of<T>(tensor_sizes)),
        gradient_averages(buffers_of<T>(tensor_sizes)) {
    for (Buffer<T>& buffer : square_averages)
      for (int64_t i = 0; i < buffer.size(); ++i) buffer[i] = 3 + buffer[i];
  }
};

int rmsprop(Step<float>& s, const fw_rmsprop_options& options, int threads) {
  return fw_rmsprop_f32(pointers_to(s.parameters).data(), const_pointers_to(s.gradients).data(),
                        pointers_to(s.square_averages).data(),
                        options.momentum == 0 ? nullptr : pointers_to(s.momentum_buffers).data(),
                        options.centered ? pointers_to(s.gradient_averages).data() : nullptr,
                        tensor_sizes.data(), static_cast<int64_t>(tensor_sizes.size()), &options,
                        threads);
}
int rmsprop(Step<double>& s, const fw_rmsprop_options& options, int threads) {
  return fw_rmsprop_f64(pointers_to(s.parameters).data(), const_pointers_to(s.gradients).data(),
                        pointers_to(s.square_averages).data(),
                        options.momentum == 0 ? nullptr : pointers_to(s.momentum_buffers).data(),
                        options.centered ? pointers_to(s.gradient_averages).data() : nullptr,
                        tensor_sizes.data(), static_cast<int64_t>(tensor_sizes.size()), &options,
                        threads);
}

template <class T>
void check_step(const Step<T>& before, const Step<T>& after, const fw_rmsprop_options& o, size_t i,
                int64_t j) {
  const double p = before.parameters[i][j];
  double g = before.gradients[i][j];
  if (o.maximize) g = -g;
  g += o.weight_decay * p;
  double square = o.alpha * before.square_averages[i][j] + (1 - o.alpha) * g * g;
  CHECK(close<T>(after.square_averages[i][j], square));
  if (o.centered) {
    const double old = before.gradient_averages[i][j], mean = old + (1 - o.alpha) * (g - old);
    CHECK(close<T>(after.gradient_averages[i][j], mean));
    square -= mean * mean;
  }
  double direction = g / (std::sqrt(square) + o.epsilon);
  if (o.momentum != 0) {
    direction += o.momentum * before.momentum_buffers[i][j];
    CHECK(close<T>(after.momentum_buffers[i][j], direction));
  }
  const double stepped = p - o.learning_rate * direction;
  const double clipped = std::fmin(std::fmax(stepped, -o.weight_clip), o.weight_clip);
  CHECK(close<T>(after.parameters[i][j], clipped));
}

template <class T>
void rmsprop_of(int threads) {
  for (int form = 0; form < 8; ++form) {
    const fw_rmsprop_options options = {0.1,
                                        0.9,
                                        1e-6,
                                        (form & 4) ? 0.1 : 0.0,
                                        (form & 1) ? 0.8 : 0.0,
                                        (form & 4) ? 0.5 : static_cast<double>(INFINITY),
                                        (form & 2) != 0,
                                        (form & 4) != 0};
    const Step<T> before;
    Step<T> single = before, shared = before;
    CHECK(rmsprop(single, options, 1) == FW_OK);
    CHECK(rmsprop(shared, options, threads) == FW_OK);
    for (size_t i = 0; i < tensor_sizes.size(); ++i) {
      CHECK(shared.parameters[i] == single.parameters[i]);
      CHECK(shared.square_averages[i] == single.square_averages[i]);
      CHECK(shared.momentum_buffers[i] == single.momentum_buffers[i]);
      CHECK(shared.gradient_averages[i] == single.gradient_averages[i]);
      CHECK(shared.gradients[i] == before.gradients[i]);
      for (int64_t j = 0; j < tensor_sizes[i]; j += tensor_sizes[i] > 1000 ? 37 : 1)
        check_step(before, single, options, i, j);
    }
  }
}

}  // namespace

void check_weight_clip(int threads) {
  weight_clip_of<float>(threads);
  weight_clip_of<double>(threads);
}

void check_rmsprop(int threads) {
  rmsprop_of<float>(threads);
  rmsprop_of<double>(threads);
}
