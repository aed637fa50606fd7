// Torch tensors over memory of the pool: the memory goes back when torch frees the last of them.
#pragma once

#include <pybind11/pybind11.h>

#include "dlpack.h"

namespace fastwgan {

// A new tensor, uninitialised and contiguous, of the model's shape and float type.
pybind11::object pooled_like(const DLTensor& model);

// pooled_like(tensors): for each tensor an uninitialised, contiguous one of its shape and float
// type. Raises TypeError unless all are float32 or float64 in CPU memory. pooled_empty(elements,
// bits): one [elements] of float32 or float64.
void bind_pooled_tensors(pybind11::module_& m);

}  // namespace fastwgan
