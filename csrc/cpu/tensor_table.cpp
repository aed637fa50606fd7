#include "tensor_table.h"

#include "plain_tensor.h"

namespace py = pybind11;

namespace fastwgan {

TensorTable::TensorTable(const py::list& tensors) : count_(static_cast<int64_t>(tensors.size())) {
  pointers_.reserve(tensors.size());
  sizes_.reserve(tensors.size());
  layouts_.reserve(5 * tensors.size());
  for (int64_t i = 0; i < count_; ++i) {
    DLTensor tensor;
    const int bits = plain_bits(PyList_GET_ITEM(tensors.ptr(), i), &tensor);
    bits_ = i == 0 || bits == bits_ ? bits : 0;
    if (bits_ == 0) return;
    layouts_.push_back(tensor.ndim);
    for (int d = 0; d < tensor.ndim; ++d) {
      layouts_.push_back(tensor.shape[d]);
      // The stride of an axis of one element means nothing; torch lets it be anything.
      layouts_.push_back(tensor.shape[d] == 1 ? 0 : tensor.strides[d]);
    }
    pointers_.push_back(data_of(tensor));
    sizes_.push_back(size_of(tensor));
  }
}

void bind_tensor_table(py::module_& m) {
  py::class_<TensorTable>(m, "TensorTable")
      .def(py::init<const py::list&>(), py::arg("tensors"))
      .def_property_readonly("count", &TensorTable::count)
      .def_property_readonly("pointers", &TensorTable::pointers)
      .def_property_readonly("sizes", &TensorTable::sizes)
      .def_property_readonly("bits", &TensorTable::bits)
      .def("same_layout", &TensorTable::same_layout, py::arg("other"));
}

}  // namespace fastwgan
