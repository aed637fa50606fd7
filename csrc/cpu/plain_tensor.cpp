#include "plain_tensor.h"

#include <pybind11/gil_safe_call_once.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace py = pybind11;

namespace fastwgan {
namespace {

// True when the elements fill [data, data + numel) with no gap and no overlap.
bool dense(const DLTensor& tensor) {
  if (row_major(tensor)) return true;
  std::vector<std::array<int64_t, 2>> axes;  // stride, size
  for (int d = 0; d < tensor.ndim; ++d)
    if (tensor.shape[d] != 1) axes.push_back({tensor.strides[d], tensor.shape[d]});
  std::sort(axes.begin(), axes.end());
  int64_t expected = 1;
  for (const auto& [stride, size] : axes) {
    if (stride != expected) return false;
    expected *= size;
  }
  return true;
}

struct Classes {
  py::object tensor, parameter;
};

Classes find_classes() {
  return {py::module_::import("torch").attr("Tensor"),
          py::module_::import("torch.nn").attr("Parameter")};
}

bool exact(PyObject* object) {
  // Not a plain static: importing can hand the GIL to a thread that would wait here with it.
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<Classes> stored;
  const Classes& classes = stored.call_once_and_store_result(&find_classes).get_stored();
  auto* type = reinterpret_cast<PyObject*>(Py_TYPE(object));
  return type == classes.tensor.ptr() || type == classes.parameter.ptr();
}

py::object plain_memory(const py::list& tensors) {
  std::vector<int64_t> numbers;
  for (const py::handle& each : tensors) {
    DLTensor tensor;
    const int bits = exact_plain_bits(each.ptr(), &tensor);
    if (bits == 0) return py::none();
    numbers.insert(numbers.end(), {reinterpret_cast<int64_t>(data_of(tensor)), bits, tensor.ndim});
    numbers.insert(numbers.end(), tensor.shape, tensor.shape + tensor.ndim);
    numbers.insert(numbers.end(), tensor.strides, tensor.strides + tensor.ndim);
  }
  return py::bytes(reinterpret_cast<const char*>(numbers.data()), 8 * numbers.size());
}

}  // namespace

int plain_bits(PyObject* object, DLTensor* tensor) {
  if (torch_exchange().tensor_from_object(object, tensor) != 0) {
    PyErr_Clear();
    return 0;
  }
  if (tensor->device.device_type != dl_cpu || tensor->dtype.code != dl_float ||
      (tensor->dtype.bits != 32 && tensor->dtype.bits != 64) || tensor->dtype.lanes != 1 ||
      !dense(*tensor) ||
      reinterpret_cast<uintptr_t>(data_of(*tensor)) % (tensor->dtype.bits / 8) != 0)
    return 0;
  // A view that is negated has gaps, unless it has a single element, as the last bias of a critic.
  return size_of(*tensor) == 1 && is_negated(object) ? 0 : tensor->dtype.bits;
}

int exact_plain_bits(PyObject* object, DLTensor* tensor) {
  return exact(object) ? plain_bits(object, tensor) : 0;
}

bool is_negated(PyObject* tensor) {
  static PyObject* const name = py::str("is_neg").release().ptr();
  const auto answer = py::reinterpret_steal<py::object>(PyObject_CallMethodNoArgs(tensor, name));
  if (!answer) throw py::error_already_set();
  return answer.ptr() == Py_True;
}

bool row_major(const DLTensor& tensor) {
  int64_t expected = 1;
  bool contiguous = true;
  for (int d = tensor.ndim - 1; d >= 0; --d) {
    if (tensor.shape[d] == 0) return true;
    if (tensor.shape[d] != 1) contiguous = contiguous && tensor.strides[d] == expected;
    expected *= tensor.shape[d];
  }
  return contiguous;
}

bool same_shape(const DLTensor& a, const DLTensor& b) {
  return a.ndim == b.ndim && std::equal(a.shape, a.shape + a.ndim, b.shape);
}

bool same_layout(const DLTensor& a, const DLTensor& b) {
  if (!same_shape(a, b)) return false;
  for (int d = 0; d < a.ndim; ++d)  // the stride of an axis of one element means nothing
    if (a.shape[d] != 1 && a.strides[d] != b.strides[d]) return false;
  return true;
}

int64_t size_of(const DLTensor& tensor) {
  int64_t size = 1;
  for (int d = 0; d < tensor.ndim; ++d) size *= tensor.shape[d];
  return size;
}

void* data_of(const DLTensor& tensor) {
  return static_cast<char*>(tensor.data) + tensor.byte_offset;
}

void bind_plain_tensor(py::module_& m) { m.def("plain_memory", &plain_memory, py::arg("tensors")); }

}  // namespace fastwgan
