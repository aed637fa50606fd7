#include <vector>

#include "fastwgan/rmsprop.h"
#include "plain_calls.h"
#include "plain_tensor.h"
#include "raise.h"

namespace py = pybind11;

namespace fastwgan {
namespace {

// Keys of torch's state and attributes, as Python holds them.
PyObject* interned(const char* text) { return PyUnicode_InternFromString(text); }

// Borrowed; null for a key that is not there.
PyObject* entry_of(PyObject* dictionary, PyObject* key) {
  PyObject* found = PyDict_GetItemWithError(dictionary, key);
  if (found == nullptr && PyErr_Occurred()) throw py::error_already_set();
  return found;
}

// The parameters of one group that have a gradient, with gradients, state and step counts.
class Group {
 public:
  Group(bool momentum, bool centered) : momentum_(momentum), centered_(centered) {}

  // False for a parameter that is not plain, or whose gradient or state is not like it.
  bool add(PyObject* parameter, PyObject* state) {
    static PyObject* const grad = interned("grad");
    auto gradient = py::reinterpret_steal<py::object>(PyObject_GetAttr(parameter, grad));
    if (!gradient) throw py::error_already_set();
    if (gradient.is_none()) return true;
    DLTensor model;
    const int bits = exact_plain_bits(parameter, &model);
    if (bits == 0 || (!sizes_.empty() && bits != bits_)) return false;
    bits_ = bits;
    if (!add_alike(gradient.ptr(), model, gradients_)) return false;
    parameters_.push_back(data_of(model));
    sizes_.push_back(size_of(model));
    read_only_.push_back(std::move(gradient));
    written_.append(py::handle(parameter));
    PyObject* own = entry_of(state, parameter);
    return own != nullptr && PyDict_Check(own) && add_state(own, model);
  }

  void step(const fw_rmsprop_options& options, int threads) {
    const py::gil_scoped_release released;
    check(bits_ == 64 ? run<double>(fw_rmsprop_f64, options, threads)
                      : run<float>(fw_rmsprop_f32, options, threads),
          "rmsprop");
    for (const DLTensor& count : counts_) {
      if (count.dtype.bits == 64)
        *static_cast<double*>(data_of(count)) += 1;
      else
        *static_cast<float*>(data_of(count)) += 1;
    }
  }

  const py::list& written() const { return written_; }

 private:
  bool add_state(PyObject* own, const DLTensor& model) {
    static PyObject* const square_avg = interned("square_avg");
    static PyObject* const momentum_buffer = interned("momentum_buffer");
    static PyObject* const grad_avg = interned("grad_avg");
    static PyObject* const step = interned("step");
    PyObject* counter = entry_of(own, step);
    DLTensor count;
    if (counter == nullptr || exact_plain_bits(counter, &count) == 0 || size_of(count) != 1)
      return false;
    counts_.push_back(count);
    written_.append(py::handle(counter));
    return add_written(entry_of(own, square_avg), model, square_averages_) &&
           (!momentum_ || add_written(entry_of(own, momentum_buffer), model, momentum_buffers_)) &&
           (!centered_ || add_written(entry_of(own, grad_avg), model, gradient_averages_));
  }

  bool add_written(PyObject* tensor, const DLTensor& model, std::vector<void*>& pointers) {
    if (tensor == nullptr || !add_alike(tensor, model, pointers)) return false;
    written_.append(py::handle(tensor));
    return true;
  }

  // Takes a plain tensor of the model's type and layout, and no other.
  bool add_alike(PyObject* object, const DLTensor& model, std::vector<void*>& pointers) const {
    DLTensor tensor;
    if (exact_plain_bits(object, &tensor) != bits_ || !same_layout(tensor, model)) return false;
    pointers.push_back(data_of(tensor));
    return true;
  }

  template <class T, class Entry>
  int run(Entry entry, const fw_rmsprop_options& options, int threads) {
    const auto of = [](const std::vector<void*>& pointers) {
      return reinterpret_cast<T* const*>(pointers.data());
    };
    return entry(of(parameters_), reinterpret_cast<const T* const*>(gradients_.data()),
                 of(square_averages_), of(momentum_buffers_), of(gradient_averages_), sizes_.data(),
                 static_cast<int64_t>(sizes_.size()), &options, threads);
  }

  const bool momentum_, centered_;
  int bits_ = 0;
  std::vector<void*> parameters_, gradients_, square_averages_, momentum_buffers_,
      gradient_averages_;
  std::vector<int64_t> sizes_;
  std::vector<DLTensor> counts_;
  std::vector<py::object> read_only_;  // lest another thread frees a gradient during the step
  py::list written_;
};

py::object plain_rmsprop(const py::list& parameters, const py::dict& state, double learning_rate,
                         double alpha, double epsilon, double weight_decay, double momentum,
                         double weight_clip, bool centered, bool maximize, int threads) {
  Group group(momentum > 0, centered);
  for (size_t i = 0; i < parameters.size(); ++i)
    if (!group.add(PyList_GET_ITEM(parameters.ptr(), static_cast<Py_ssize_t>(i)), state.ptr()))
      return py::none();
  group.step({learning_rate, alpha, epsilon, weight_decay, momentum > 0 ? momentum : 0.0,
              weight_clip, centered, maximize},
             threads);
  return group.written();
}

}  // namespace

void bind_plain_rmsprop(py::module_& m) {
  m.def("plain_rmsprop", &plain_rmsprop, py::arg("parameters"), py::arg("state"),
        py::arg("learning_rate"), py::arg("alpha"), py::arg("epsilon"), py::arg("weight_decay"),
        py::arg("momentum"), py::arg("weight_clip"), py::arg("centered"), py::arg("maximize"),
        py::arg("threads"));
}

}  // namespace fastwgan
