// A list of torch tensors as the arrays the C ABI takes: pointers and sizes.
//
// Read through the DLPack exchange table that torch.Tensor publishes (DLPack 1.3), at about 30 ns a
// tensor where the same questions asked in Python cost 300, and with no torch header.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <vector>

namespace fastwgan {

class TensorTable {
 public:
  // Stops reading at the first tensor that leaves bits() at 0; the tables then end there.
  explicit TensorTable(const pybind11::list& tensors);

  int64_t count() const { return count_; }
  uintptr_t pointers() const { return reinterpret_cast<uintptr_t>(pointers_.data()); }
  uintptr_t sizes() const { return reinterpret_cast<uintptr_t>(sizes_.data()); }
  // 32 or 64 when every tensor is plain (plain_tensor.h) and of that float type; else 0.
  int bits() const { return bits_; }
  // Equal shapes and strides, pairwise: element i of one table's memory belongs to that of the
  // other.
  bool same_layout(const TensorTable& other) const { return layouts_ == other.layouts_; }

 private:
  int64_t count_;
  std::vector<void*> pointers_;
  std::vector<int64_t> sizes_;
  std::vector<int64_t> layouts_;  // of each tensor: dimensions, shape, strides
  int bits_ = 0;
};

void bind_tensor_table(pybind11::module_& m);

}  // namespace fastwgan
