#include "tensor_table.h"

#include <algorithm>
#include <array>

#include "dlpack.h"

namespace py = pybind11;

namespace fastwgan {
namespace {

// True when the elements fill [data, data + numel) with no gap and no overlap.
bool dense(const DLTensor& tensor) {
  int64_t expected = 1;
  bool contiguous = true;
  for (int d = tensor.ndim - 1; d >= 0; --d) {
    if (tensor.shape[d] == 0) return true;
    if (tensor.shape[d] != 1) contiguous = contiguous && tensor.strides[d] == expected;
    expected *= tensor.shape[d];
  }
  if (contiguous) return true;
  std::vector<std::array<int64_t, 2>> axes;  // stride, size
  for (int d = 0; d < tensor.ndim; ++d)
    if (tensor.shape[d] != 1) axes.push_back({tensor.strides[d], tensor.shape[d]});
  std::sort(axes.begin(), axes.end());
  expected = 1;
  for (const auto& [stride, size] : axes) {
    if (stride != expected) return false;
    expected *= size;
  }
  return true;
}

}  // namespace

TensorTable::TensorTable(const py::list& tensors) {
  const DLExchange& exchange = torch_exchange();
  const size_t count = tensors.size();
  pointers_.reserve(count);
  sizes_.reserve(count);
  layouts_.reserve(5 * count);
  for (size_t i = 0; i < count; ++i) {
    DLTensor tensor;
    PyObject* object = PyList_GET_ITEM(tensors.ptr(), static_cast<Py_ssize_t>(i));
    if (exchange.tensor_from_object(object, &tensor) != 0) {
      PyErr_Clear();  // no tensor, or one without memory: the caller says which, by bits() == 0
      bits_ = 0;
      return;
    }
    int64_t size = 1;
    layouts_.push_back(tensor.ndim);
    for (int d = 0; d < tensor.ndim; ++d) {
      size *= tensor.shape[d];
      layouts_.push_back(tensor.shape[d]);
      // The stride of an axis of one element means nothing; torch lets it be anything.
      layouts_.push_back(tensor.shape[d] == 1 ? 0 : tensor.strides[d]);
    }
    pointers_.push_back(static_cast<char*>(tensor.data) + tensor.byte_offset);
    sizes_.push_back(size);
    // torch negates the imaginary part of a conjugate lazily. Such a view has gaps unless it has a
    // single element, as the last bias of a critic does.
    const bool negated = size == 1 && py::handle(object).attr("is_neg")().cast<bool>();
    const bool known = !negated && tensor.device.device_type == dl_cpu &&
                       tensor.dtype.code == dl_float &&
                       (tensor.dtype.bits == 32 || tensor.dtype.bits == 64) &&
                       tensor.dtype.lanes == 1 && dense(tensor);
    const int bits = known ? tensor.dtype.bits : 0;
    bits_ = i == 0 || bits == bits_ ? bits : 0;
  }
}

int64_t TensorTable::total() const {
  int64_t total = 0;
  for (const int64_t size : sizes_) total += size;
  return total;
}

void bind_tensor_table(py::module_& m) {
  py::class_<TensorTable>(m, "TensorTable")
      .def(py::init<const py::list&>(), py::arg("tensors"))
      .def_property_readonly("count", &TensorTable::count)
      .def_property_readonly("pointers", &TensorTable::pointers)
      .def_property_readonly("sizes", &TensorTable::sizes)
      .def_property_readonly("total", &TensorTable::total)
      .def_property_readonly("bits", &TensorTable::bits)
      .def("same_layout", &TensorTable::same_layout, py::arg("other"));
}

}  // namespace fastwgan
