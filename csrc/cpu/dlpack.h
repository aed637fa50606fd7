// The part of DLPack's ABI that is used here (dlpack.h, version 1.3), and torch's end of it.
#pragma once

#include <cstdint>

namespace fastwgan {

struct DLDevice {
  int32_t device_type, device_id;
};
struct DLDataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements
  uint64_t byte_offset;
};
struct DLVersion {
  uint32_t major, minor;
};
struct DLManagedTensor {
  DLVersion version;
  void* manager;
  void (*deleter)(DLManagedTensor* self);
  uint64_t flags;
  DLTensor tensor;
};
struct DLExchangeHeader {
  DLVersion version;
  DLExchangeHeader* previous;
};
struct DLExchange {
  DLExchangeHeader header;
  void* allocator;
  void* managed_tensor_from_object;
  int (*managed_tensor_to_object)(DLManagedTensor* tensor, void** object);
  int (*tensor_from_object)(void* object, DLTensor* tensor);
  void* current_work_stream;
};

constexpr int32_t dl_cpu = 1;
constexpr uint8_t dl_float = 2;
constexpr uint32_t dl_major = 1, dl_minor = 3;

// The table that torch.Tensor publishes; raises ImportError when it has another major version.
const DLExchange& torch_exchange();

}  // namespace fastwgan
