#include <algorithm>
#include <cstring>
#include <vector>

#include "fastwgan/gradient_penalty.h"
#include "feedforward_object.h"
#include "memory_pool.h"
#include "plain_calls.h"
#include "plain_tensor.h"
#include "pooled_tensors.h"
#include "raise.h"

namespace py = pybind11;

namespace fastwgan {
namespace {

template <class T>
struct Kernels;

template <>
struct Kernels<float> {
  static constexpr auto forward = fw_feedforward_critic_forward_f32;
  static constexpr auto backward = fw_feedforward_critic_backward_f32;
  static constexpr auto tangent = fw_feedforward_critic_tangent_f32;
  static constexpr auto norm = fw_gradient_penalty_norm_f32;
  static constexpr auto interpolate = fw_gradient_penalty_interpolate_f32;
};

template <>
struct Kernels<double> {
  static constexpr auto forward = fw_feedforward_critic_forward_f64;
  static constexpr auto backward = fw_feedforward_critic_backward_f64;
  static constexpr auto tangent = fw_feedforward_critic_tangent_f64;
  static constexpr auto norm = fw_gradient_penalty_norm_f64;
  static constexpr auto interpolate = fw_gradient_penalty_interpolate_f64;
};

struct Penalty {
  int kind;  // fw_penalty_kind
  double target, weight;
  int64_t groups;
};

// What a step reads and writes beside the critic; all [rows, ...] are row-major.
struct Data {
  const void *real, *fake;                              // [batch, size]
  const void *points, *alpha;                           // [batch, size]; or [batch / groups]
  int64_t batch, size, outputs;                         // outputs: scores of a row
  void *total, *wasserstein, *penalty, *gradient_norm;  // []
  void *real_scores, *fake_scores;                      // [batch, outputs]
  std::vector<void*> of_weights, of_biases;             // a layer each, null for one not wanted
};

// Memory of the pool, handed out in parts of whole cache lines.
template <class T>
class Arena {
 public:
  explicit Arena(std::initializer_list<int64_t> parts) {
    int64_t sum = 0;
    for (int64_t part : parts) sum += padded(part);
    block_ = take_block(static_cast<size_t>(sum) * sizeof(T));
    next_ = static_cast<T*>(block_.data);
  }
  ~Arena() { give_back(block_); }
  Arena(const Arena&) = delete;
  T* take(int64_t elements) {
    T* const taken = next_;
    next_ += padded(elements);
    return taken;
  }

 private:
  static int64_t padded(int64_t elements) { return (elements + 15) / 16 * 16; }

  Block block_;
  T* next_;
};

// E f(fake) - E f(real) and a penalty of the gradient's norm at points of its own, with all
// gradients of the critic. The loss's seeds are known before its scores are: -1/n at real, 1/n at
// fake.
template <class T>
class WassersteinStep {
 public:
  WassersteinStep(fw_feedforward_step critic, const Penalty& penalty, const Data& data)
      : critic_(critic), penalty_(penalty), data_(data) {}

  // By one run of all rows.
  int together() {
    const int64_t batch = data_.batch, rows = 3 * batch, outputs = data_.outputs;
    const fw_feedforward_step step = with_rows(rows, 2 * batch, nullptr);
    const int64_t workspace = fw_feedforward_critic_workspace(&step);
    if (workspace < 0) return FW_INVALID_ARGUMENT;
    const int64_t samples = rows * data_.size, scores = rows * outputs;
    Arena<T> arena{workspace, samples, scores, scores, batch * data_.size, batch};
    const fw_feedforward_step run = with_rows(rows, 2 * batch, arena.take(workspace));
    T* const joined = arena.take(samples);
    int status = put_points(put_samples(joined));
    if (status != FW_OK) return status;
    T* const found = arena.take(scores);
    T* const seeds = seeded(arena.take(scores), rows);
    status = Kernels<T>::forward(&run, joined, found);
    if (status != FW_OK) return status;
    put_scores(found);
    T* const gradient = arena.take(batch * data_.size);
    status = Kernels<T>::backward(&run, joined, seeds, 0, weights(), biases(), gradient);
    return status == FW_OK ? finish(run, seeds, gradient, arena.take(batch)) : status;
  }

  // By a run of the loss's rows, then one of the penalty's in the same memory.
  int apart() {
    const int64_t batch = data_.batch, outputs = data_.outputs;
    const fw_feedforward_step both[] = {with_rows(2 * batch, 2 * batch, nullptr),
                                        with_rows(batch, 0, nullptr)};
    const int64_t workspace = std::max(fw_feedforward_critic_workspace(&both[0]),
                                       fw_feedforward_critic_workspace(&both[1]));
    if (workspace < 0) return FW_INVALID_ARGUMENT;
    const int64_t samples = 2 * batch * data_.size, scores = 2 * batch * outputs;
    Arena<T> arena{workspace, samples, scores, 3 * batch * outputs, batch * data_.size, batch};
    T* const memory = arena.take(workspace);
    T* const joined = arena.take(samples);
    put_samples(joined);
    T* const found = arena.take(scores);
    T* const seeds = seeded(arena.take(3 * batch * outputs), 3 * batch);
    const fw_feedforward_step losses = with_rows(2 * batch, 2 * batch, memory);
    int status = Kernels<T>::forward(&losses, joined, found);
    if (status != FW_OK) return status;
    put_scores(found);
    status = Kernels<T>::backward(&losses, joined, seeds, 0, weights(), biases(), nullptr);
    if (status != FW_OK) return status;
    const fw_feedforward_step run = with_rows(batch, 0, memory);
    T* const points = joined;  // the loss's rows are done
    status = put_points(points);
    if (status != FW_OK) return status;
    const T* const ones = seeds + 2 * batch * outputs;
    status = Kernels<T>::forward(&run, points, found);
    if (status != FW_OK) return status;
    const std::vector<T*> none(static_cast<size_t>(critic_.count), nullptr);
    T* const gradient = arena.take(batch * data_.size);
    status = Kernels<T>::backward(&run, points, ones, 0, none.data(), none.data(), gradient);
    return status == FW_OK ? finish(run, ones, gradient, arena.take(batch)) : status;
  }

 private:
  fw_feedforward_step with_rows(int64_t rows, int64_t loss_rows, void* workspace) const {
    fw_feedforward_step step = critic_;
    step.rows = rows;
    step.loss_rows = loss_rows;
    step.workspace = workspace;
    return step;
  }

  static T* to(void* memory) { return static_cast<T*>(memory); }
  T* const* weights() const { return reinterpret_cast<T* const*>(data_.of_weights.data()); }
  T* const* biases() const { return reinterpret_cast<T* const*>(data_.of_biases.data()); }

  // Real and fake [2 batch, size]; returns where they end.
  T* put_samples(T* memory) const {
    const int64_t elements = data_.batch * data_.size;
    std::memcpy(memory, data_.real, static_cast<size_t>(elements) * sizeof(T));
    std::memcpy(memory + elements, data_.fake, static_cast<size_t>(elements) * sizeof(T));
    return memory + 2 * elements;
  }

  // Where the penalty is taken [batch, size].
  int put_points(T* memory) const {
    if (data_.alpha != nullptr)
      return Kernels<T>::interpolate(static_cast<const T*>(data_.real),
                                     static_cast<const T*>(data_.fake),
                                     static_cast<const T*>(data_.alpha), memory, data_.batch,
                                     data_.size, data_.batch / penalty_.groups, critic_.threads);
    std::memcpy(memory, data_.points, static_cast<size_t>(data_.batch * data_.size) * sizeof(T));
    return FW_OK;
  }

  void put_scores(const T* scores) const {  // [2 batch, outputs]
    const int64_t part = data_.batch * data_.outputs;
    std::copy(scores, scores + part, to(data_.real_scores));
    std::copy(scores + part, scores + 2 * part, to(data_.fake_scores));
  }

  // Of real, fake and points, in this order.
  T* seeded(T* seeds, int64_t rows) const {
    const int64_t part = data_.batch * data_.outputs;
    const T share = static_cast<T>(1.0 / static_cast<double>(part));
    std::fill(seeds, seeds + part, -share);
    std::fill(seeds + part, seeds + 2 * part, share);
    std::fill(seeds + 2 * part, seeds + rows * data_.outputs, T(1));
    return seeds;
  }

  // From the gradient at the points [batch, size], which the penalty's derivative replaces; norms
  // [batch / groups] is memory.
  int finish(const fw_feedforward_step& run, const T* seeds, T* gradient, T* norms) const {
    const int64_t groups = penalty_.groups, count = data_.batch / groups;
    T* const penalty = to(data_.penalty);
    const int status =
        Kernels<T>::norm(gradient, count, data_.size * groups, penalty_.kind, penalty_.target,
                         penalty_.weight, penalty, norms, gradient, run.threads);
    if (status != FW_OK) return status;
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(norms[i]);
    *to(data_.gradient_norm) = static_cast<T>(sum / static_cast<double>(count));
    const T distance = estimated_distance();
    *to(data_.wasserstein) = distance;
    *to(data_.total) = *penalty - distance;
    return Kernels<T>::tangent(&run, seeds, gradient, 1, weights());
  }

  // E f(real) - E f(fake).
  T estimated_distance() const {
    const int64_t part = data_.batch * data_.outputs;
    const T *real = to(data_.real_scores), *fake = to(data_.fake_scores);
    double sum = 0;
    for (int64_t i = 0; i < part; ++i)
      sum += static_cast<double>(real[i]) - static_cast<double>(fake[i]);
    return static_cast<T>(sum / static_cast<double>(part));
  }

  fw_feedforward_step critic_;
  Penalty penalty_;
  const Data& data_;
};

// Whether an object is a plain tensor of so many bits, row-major.
bool read_rows(const py::object& object, int bits, DLTensor* tensor) {
  return exact_plain_bits(object.ptr(), tensor) == bits && row_major(*tensor) &&
         !is_negated(object.ptr());
}

// Addresses and sizes of real, fake and the points, or the alpha of each, taken as [batch, size];
// false where one is not plain and row-major, of the others' shape and type.
bool read_samples(const py::object& real, const py::object& fake, const py::object& points,
                  bool are_alpha, int64_t groups, Data* data, DLTensor* model, int* bits) {
  *bits = exact_plain_bits(real.ptr(), model);
  if (*bits == 0 || model->ndim < 1 || !row_major(*model) || is_negated(real.ptr())) return false;
  data->batch = model->shape[0];
  if (data->batch < 1 || groups < 1 || data->batch % groups != 0) return false;
  data->size = size_of(*model) / data->batch;
  DLTensor other, at;
  if (!read_rows(fake, *bits, &other) || !same_shape(other, *model)) return false;
  if (!read_rows(points, *bits, &at)) return false;
  if (are_alpha ? at.ndim != 1 || at.shape[0] != data->batch / groups : !same_shape(at, *model))
    return false;
  data->real = data_of(*model);
  data->fake = data_of(other);
  (are_alpha ? data->alpha : data->points) = data_of(at);
  return data->size > 0;
}

// A new tensor of the model's type, and its address.
py::object new_tensor(DLTensor model, std::vector<int64_t> shape, void** data) {
  std::vector<int64_t> strides(shape.size(), 1);
  model.ndim = static_cast<int32_t>(shape.size());
  model.shape = shape.data();
  model.strides = strides.data();
  const py::object tensor = pooled_like(model);
  DLTensor read;
  if (torch_exchange().tensor_from_object(tensor.ptr(), &read) != 0) throw py::error_already_set();
  *data = data_of(read);
  return tensor;
}

// Memory for the gradients of `wanted`, which has each layer's weight and bias in turn, None for
// one that is not asked for; false where one is not of the samples' type.
bool new_gradients(const py::list& wanted, int bits, py::list* gradients, Data* data) {
  for (size_t i = 0; i < wanted.size(); ++i) {
    std::vector<void*>& addresses = i % 2 == 0 ? data->of_weights : data->of_biases;
    addresses.push_back(nullptr);
    PyObject* const parameter = PyList_GET_ITEM(wanted.ptr(), static_cast<Py_ssize_t>(i));
    if (parameter == Py_None) continue;
    DLTensor model;
    if (exact_plain_bits(parameter, &model) != bits) return false;
    const std::vector<int64_t> shape(model.shape, model.shape + model.ndim);
    gradients->append(new_tensor(model, shape, &addresses.back()));
  }
  return true;
}

template <class T>
int run(const fw_feedforward_step& critic, const Penalty& penalty, const Data& data,
        bool together) {
  WassersteinStep<T> step(critic, penalty, data);
  return together ? step.together() : step.apart();
}

py::object plain_wasserstein_step(const FeedforwardStep& critic, const py::object& real,
                                  const py::object& fake, const py::object& points, bool are_alpha,
                                  const py::list& wanted, int kind, double target, double weight,
                                  int64_t groups, bool together) {
  Data data = {};
  DLTensor model;
  int bits = 0;
  const fw_feedforward_step& given = *critic.get();
  if (!read_samples(real, fake, points, are_alpha, groups, &data, &model, &bits) ||
      static_cast<int64_t>(wanted.size()) != 2 * given.count)
    return py::none();
  const fw_feedforward_layer& first = given.layers[0];
  if (data.size != first.channels * first.height * first.width) return py::none();
  data.outputs = given.layers[given.count - 1].outputs;
  py::list gradients;
  if (!new_gradients(wanted, bits, &gradients, &data)) return py::none();
  const py::object total = new_tensor(model, {}, &data.total);
  const py::object wasserstein = new_tensor(model, {}, &data.wasserstein);
  const py::object penalty = new_tensor(model, {}, &data.penalty);
  const py::object gradient_norm = new_tensor(model, {}, &data.gradient_norm);
  const py::object real_scores = new_tensor(model, {data.batch, data.outputs}, &data.real_scores);
  const py::object fake_scores = new_tensor(model, {data.batch, data.outputs}, &data.fake_scores);
  const Penalty asked = {kind, target, weight, groups};
  {
    const py::gil_scoped_release released;
    check(bits == 64 ? run<double>(given, asked, data, together)
                     : run<float>(given, asked, data, together),
          "plain_wasserstein_step");
  }
  return py::make_tuple(total, wasserstein, penalty, gradient_norm, real_scores, fake_scores,
                        gradients);
}

}  // namespace

void bind_plain_feedforward_critic(py::module_& m) {
  m.def("plain_wasserstein_step", &plain_wasserstein_step, py::arg("critic"), py::arg("real"),
        py::arg("fake"), py::arg("points"), py::arg("are_alpha"), py::arg("wanted"),
        py::arg("kind"), py::arg("target"), py::arg("weight"), py::arg("groups"),
        py::arg("together"));
}

}  // namespace fastwgan
