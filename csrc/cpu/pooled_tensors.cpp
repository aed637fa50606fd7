#include "pooled_tensors.h"

#include <pybind11/gil_safe_call_once.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "dlpack.h"
#include "memory_pool.h"

namespace py = pybind11;

namespace fastwgan {
namespace {

struct PooledTensor {
  DLManagedTensor managed;
  Block block;
  std::vector<int64_t> extents;  // shape, then strides

  ~PooledTensor() { give_back(block); }
};

void delete_pooled(DLManagedTensor* managed) {
  delete static_cast<PooledTensor*>(managed->manager);
}

std::unique_ptr<PooledTensor> pooled_memory(const DLTensor& model) {
  std::vector<int64_t> extents(2 * static_cast<size_t>(model.ndim));
  int64_t size = 1;
  for (int d = model.ndim - 1; d >= 0; --d) {
    extents[d] = model.shape[d];
    extents[model.ndim + d] = size;
    size *= model.shape[d];
  }
  const Block block = take_block(static_cast<size_t>(size) * (model.dtype.bits / 8));
  std::unique_ptr<PooledTensor> pooled(new PooledTensor{{}, block, std::move(extents)});
  pooled->managed = {{dl_major, dl_minor},
                     pooled.get(),
                     delete_pooled,
                     0,
                     {block.data, model.device, model.ndim, model.dtype, pooled->extents.data(),
                      pooled->extents.data() + model.ndim, 0}};
  return pooled;
}

const DLExchange* find_exchange() {
  const py::object capsule =
      py::module_::import("torch").attr("Tensor").attr("__dlpack_c_exchange_api__");
  const void* found = PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api");
  if (found == nullptr) throw py::error_already_set();
  const auto* table = static_cast<const DLExchange*>(found);
  if (table->header.version.major != dl_major || table->tensor_from_object == nullptr)
    throw py::import_error("torch's DLPack exchange table is not of version 1");
  return table;
}

py::list pooled_tensors_like(const py::list& tensors) {
  const DLExchange& exchange = torch_exchange();
  py::list outputs;
  for (const py::handle& object : tensors) {
    DLTensor model;
    if (exchange.tensor_from_object(object.ptr(), &model) != 0) throw py::error_already_set();
    if (model.device.device_type != dl_cpu || model.dtype.code != dl_float ||
        model.dtype.lanes != 1 || (model.dtype.bits != 32 && model.dtype.bits != 64))
      throw py::type_error("pooled_like takes float32 and float64 tensors in CPU memory");
    outputs.append(pooled_like(model));
  }
  return outputs;
}

}  // namespace

py::object pooled_like(const DLTensor& model) {
  std::unique_ptr<PooledTensor> pooled = pooled_memory(model);
  void* output = nullptr;
  if (torch_exchange().managed_tensor_to_object(&pooled->managed, &output) != 0)
    throw py::error_already_set();
  pooled.release();  // NOLINT: torch's storage owns it now, and calls delete_pooled
  return py::reinterpret_steal<py::object>(static_cast<PyObject*>(output));
}

const DLExchange& torch_exchange() {
  // Not a plain static: importing can hand the GIL to a thread that would wait here with it.
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<const DLExchange*> exchange;
  return *exchange.call_once_and_store_result(&find_exchange).get_stored();
}

void bind_pooled_tensors(py::module_& m) {
  if (!pool_limit_is_readable())
    throw py::import_error("FASTWGAN_POOL_MIB was '" +
                           std::string(std::getenv("FASTWGAN_POOL_MIB")) +
                           "'; it must be a whole number of mebibytes, 0 or more.");
  m.def("pooled_like", &pooled_tensors_like, py::arg("tensors"));
  m.def(
      "pooled_empty",
      [](int64_t elements, int bits) {
        if (elements < 0 || (bits != 32 && bits != 64))
          throw py::value_error("pooled_empty takes 0 or more elements of 32 or 64 bits");
        const DLTensor model = {
            nullptr,   {dl_cpu, 0}, 1, {dl_float, static_cast<uint8_t>(bits), 1},
            &elements, nullptr,     0};
        return pooled_like(model);
      },
      py::arg("elements"), py::arg("bits"));
  m.def("pool_use", [] {
    const PoolUse use = pool_use();
    return py::make_tuple(use.taken, use.waiting);
  });
  // A lambda, whose type has no name to export: the function's own would be another symbol.
  m.def(
      "release_pool", [] { return release_waiting_blocks(); },
      py::call_guard<py::gil_scoped_release>());
}

}  // namespace fastwgan
