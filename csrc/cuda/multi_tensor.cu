#include "multi_tensor.cuh"

namespace fastwgan {
namespace {

template <int Lists>
int fill(const void* const* const* pointers, const int64_t* sizes, int64_t count, void* table) {
  const bool valid =
      fill_tensors<Lists>(pointers, sizes, count, static_cast<Tensor<Lists>*>(table), count) >= 0;
  return valid ? FW_OK : FW_INVALID_ARGUMENT;
}

template <int Lists>
int64_t bytes_of(int64_t count) {
  return count <= Tensors<Lists>::capacity ? 0
                                           : count * static_cast<int64_t>(sizeof(Tensor<Lists>));
}

}  // namespace
}  // namespace fastwgan

int64_t fw_cuda_table_bytes(int lists, int64_t count) {
  return lists == 1 ? fastwgan::bytes_of<1>(count) : fastwgan::bytes_of<5>(count);
}

int fw_cuda_table_fill(const void* const* const* pointers, int lists, const int64_t* sizes,
                       int64_t count, void* table) {
  if (table == nullptr || pointers == nullptr) return FW_INVALID_ARGUMENT;
  if (lists == 1) return fastwgan::fill<1>(pointers, sizes, count, table);
  if (lists == 5) return fastwgan::fill<5>(pointers, sizes, count, table);
  return FW_INVALID_ARGUMENT;
}
