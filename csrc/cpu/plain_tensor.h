// One torch tensor as a kernel may walk it, read through DLPack at about 30 ns.
#pragma once

#include <pybind11/pybind11.h>

#include "dlpack.h"

namespace fastwgan {

// 32 or 64 when the object is a tensor of that float type, in CPU memory, that fills its memory
// without gaps or overlap, aligned to its elements, and is not negated lazily; else 0. `tensor`
// points into the object. An object that is no tensor, or one without memory (meta, sparse), is 0
// with `tensor` as it was.
int plain_bits(PyObject* object, DLTensor* tensor);

// The same, for exactly torch.Tensor and torch.nn.Parameter: 0 for every other subclass.
int exact_plain_bits(PyObject* object, DLTensor* tensor);

// torch negates the imaginary part of a conjugate lazily: the memory holds the other sign.
bool is_negated(PyObject* tensor);

bool row_major(const DLTensor& tensor);
bool same_shape(const DLTensor& a, const DLTensor& b);
// Equal shapes and strides: element i of one's memory belongs to element i of the other's.
bool same_layout(const DLTensor& a, const DLTensor& b);
int64_t size_of(const DLTensor& tensor);
void* data_of(const DLTensor& tensor);

// plain_memory(tensors): where each tensor's elements are, in what order and of what type, as bytes
// that are equal when all of that is; None when one is not a plain torch.Tensor or Parameter.
void bind_plain_tensor(pybind11::module_& m);

}  // namespace fastwgan
