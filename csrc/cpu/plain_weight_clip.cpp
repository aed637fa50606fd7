#include <algorithm>
#include <vector>

#include "fastwgan/weight_clip.h"
#include "plain_calls.h"
#include "plain_tensor.h"
#include "raise.h"

namespace py = pybind11;

namespace fastwgan {
namespace {

bool any_twice(const py::list& tensors) {
  std::vector<PyObject*> sorted;
  sorted.reserve(tensors.size());
  for (const py::handle& tensor : tensors) sorted.push_back(tensor.ptr());
  std::sort(sorted.begin(), sorted.end());
  return std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end();
}

bool plain_weight_clip(const py::list& tensors, double bound, int threads) {
  if (any_twice(tensors)) return false;  // two threads would write the same memory
  const auto count = static_cast<int64_t>(tensors.size());
  std::vector<void*> pointers(tensors.size());
  std::vector<int64_t> sizes(tensors.size());
  int bits = 0;
  for (int64_t i = 0; i < count; ++i) {
    DLTensor tensor;
    const int own = exact_plain_bits(PyList_GET_ITEM(tensors.ptr(), i), &tensor);
    if (own == 0 || (i > 0 && own != bits)) return false;
    bits = own;
    pointers[i] = data_of(tensor);
    sizes[i] = size_of(tensor);
  }
  const py::gil_scoped_release released;
  check(bits == 64 ? fw_weight_clip_f64(reinterpret_cast<double* const*>(pointers.data()),
                                        sizes.data(), count, bound, threads)
                   : fw_weight_clip_f32(reinterpret_cast<float* const*>(pointers.data()),
                                        sizes.data(), count, bound, threads),
        "weight_clip");
  return true;
}

}  // namespace

void bind_plain_weight_clip(py::module_& m) {
  m.def("plain_weight_clip", &plain_weight_clip, py::arg("tensors"), py::arg("bound"),
        py::arg("threads"));
}

}  // namespace fastwgan
