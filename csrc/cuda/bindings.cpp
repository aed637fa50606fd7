// Python's way in: addresses as integers, a status turned into an exception, the GIL released. No
// header of CUDA, so that the host's compiler alone builds it.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "fastwgan/cuda.h"

#ifndef FASTWGAN_CUDA_MODULE  // the tests build the same file under another name
#define FASTWGAN_CUDA_MODULE _cuda
#endif

namespace py = pybind11;

namespace {

using Address = uintptr_t;
using ReleaseGil = py::call_guard<py::gil_scoped_release>;

template <class T = void>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

void check(int status, const char* operation) {
  if (status == FW_OK) return;
  if (status == FW_OUT_OF_MEMORY) throw std::bad_alloc();
  if (status >= FW_CUDA_ERROR)
    throw std::runtime_error(std::string(operation) +
                             " failed on the device: " + fw_cuda_error_text(status));
  throw std::invalid_argument(std::string(operation) +
                              " was handed arguments its contract forbids");
}

// What the caller must upload before a call on so many tensors; None where nothing.
py::object multi_tensor_table(const std::vector<Address>& lists, Address sizes, int64_t count) {
  const int width = static_cast<int>(lists.size());
  const int64_t bytes = fw_cuda_table_bytes(width, count);
  if (bytes == 0) return py::none();
  std::vector<const void* const*> pointers;
  for (const Address list : lists) pointers.push_back(at<const void* const>(list));
  std::string table(static_cast<size_t>(bytes), '\0');
  check(fw_cuda_table_fill(pointers.data(), width, at<const int64_t>(sizes), count, table.data()),
        "multi_tensor_table");
  return py::bytes(table);
}

void bind_memory(py::module_& m) {
  m.def(
      "driver_version", [] { return fw_cuda_driver_version(); },
      "1000 * major + 10 * minor; 0 for no driver.");
  m.def("runtime_version", [] { return fw_cuda_runtime_version(); });
  m.def("device_count", [] { return fw_cuda_device_count(); });
  m.def(
      "upload",
      [](const py::bytes& from, Address to, int device, Address stream) {
        const std::string_view bytes = from;
        check(fw_cuda_upload(bytes.data(), static_cast<int64_t>(bytes.size()), at(to), device,
                             at(stream)),
              "upload");
      },
      py::arg("table"), py::arg("to"), py::arg("device"), py::arg("stream"));
  m.def(
      "multi_tensor_table",
      [](const std::vector<Address>& lists, Address sizes, int64_t count) {
        return multi_tensor_table(lists, sizes, count);
      },
      py::arg("lists"), py::arg("sizes"), py::arg("count"));
}

void bind_elementwise(py::module_& m) {
  m.def(
      "weight_clip",
      [](Address tensors, Address sizes, int64_t count, int dtype, double bound, Address table,
         int device, Address stream) {
        check(fw_cuda_weight_clip(at<void* const>(tensors), at<const int64_t>(sizes), count, dtype,
                                  bound, at(table), device, at(stream)),
              "weight_clip");
      },
      py::arg("tensors"), py::arg("sizes"), py::arg("count"), py::arg("dtype"), py::arg("bound"),
      py::arg("table"), py::arg("device"), py::arg("stream"), ReleaseGil());
  m.def(
      "rmsprop",
      [](Address parameters, Address gradients, Address square_averages, Address momentum_buffers,
         Address gradient_averages, Address sizes, int64_t count, int dtype, double learning_rate,
         double alpha, double epsilon, double weight_decay, double momentum, double weight_clip,
         bool centered, bool maximize, Address table, int device, Address stream) {
        const fw_rmsprop_options options = {learning_rate, alpha,       epsilon,  weight_decay,
                                            momentum,      weight_clip, centered, maximize};
        check(fw_cuda_rmsprop(at<void* const>(parameters), at<const void* const>(gradients),
                              at<void* const>(square_averages), at<void* const>(momentum_buffers),
                              at<void* const>(gradient_averages), at<const int64_t>(sizes), count,
                              dtype, &options, at(table), device, at(stream)),
              "rmsprop");
      },
      py::arg("parameters"), py::arg("gradients"), py::arg("square_averages"),
      py::arg("momentum_buffers"), py::arg("gradient_averages"), py::arg("sizes"), py::arg("count"),
      py::arg("dtype"), py::arg("learning_rate"), py::arg("alpha"), py::arg("epsilon"),
      py::arg("weight_decay"), py::arg("momentum"), py::arg("weight_clip"), py::arg("centered"),
      py::arg("maximize"), py::arg("table"), py::arg("device"), py::arg("stream"), ReleaseGil());
}

void bind_gradient_penalty(py::module_& m) {
  m.def(
      "gradient_penalty_interpolate",
      [](Address real, Address fake, Address alpha, Address interpolates, int64_t rows,
         int64_t size, int64_t groups, int dtype, int device, Address stream) {
        check(fw_cuda_gradient_penalty_interpolate(at(real), at(fake), at(alpha), at(interpolates),
                                                   rows, size, groups, dtype, device, at(stream)),
              "gradient_penalty_interpolate");
      },
      py::arg("real"), py::arg("fake"), py::arg("alpha"), py::arg("interpolates"), py::arg("rows"),
      py::arg("size"), py::arg("groups"), py::arg("dtype"), py::arg("device"), py::arg("stream"),
      ReleaseGil());
  m.def(
      "gradient_penalty_scratch",
      [](int64_t rows, int64_t size) { return fw_cuda_gradient_penalty_scratch(rows, size); },
      py::arg("rows"), py::arg("size"));
  m.def(
      "gradient_penalty_norm",
      [](Address gradient, int64_t rows, int64_t size, int dtype, int kind, double target,
         double weight, Address penalty, Address norms, Address cotangent, Address scratch,
         int device, Address stream) {
        check(fw_cuda_gradient_penalty_norm(at(gradient), rows, size, dtype, kind, target, weight,
                                            at(penalty), at(norms), at(cotangent), at(scratch),
                                            device, at(stream)),
              "gradient_penalty_norm");
      },
      py::arg("gradient"), py::arg("rows"), py::arg("size"), py::arg("dtype"), py::arg("kind"),
      py::arg("target"), py::arg("weight"), py::arg("penalty"), py::arg("norms"),
      py::arg("cotangent"), py::arg("scratch"), py::arg("device"), py::arg("stream"), ReleaseGil());
}

void bind_bias_activation(py::module_& m) {
  m.def(
      "bias_activation_forward",
      [](Address values, Address bias, int64_t rows, int64_t columns, int dtype, double slope,
         int device, Address stream) {
        check(fw_cuda_bias_activation_forward(at(values), at(bias), rows, columns, dtype, slope,
                                              device, at(stream)),
              "bias_activation_forward");
      },
      py::arg("values"), py::arg("bias"), py::arg("rows"), py::arg("columns"), py::arg("dtype"),
      py::arg("slope"), py::arg("device"), py::arg("stream"), ReleaseGil());
  m.def(
      "bias_activation_scratch",
      [](int64_t rows, int64_t columns, int dtype) {
        return fw_cuda_bias_activation_scratch(rows, columns, dtype);
      },
      py::arg("rows"), py::arg("columns"), py::arg("dtype"));
  m.def(
      "bias_activation_backward",
      [](Address cotangents, Address outputs, Address results, int64_t rows, int64_t columns,
         int dtype, double slope, int64_t summed_rows, Address bias_gradient, Address scratch,
         int device, Address stream) {
        check(fw_cuda_bias_activation_backward(at(cotangents), at(outputs), at(results), rows,
                                               columns, dtype, slope, summed_rows,
                                               at(bias_gradient), at(scratch), device, at(stream)),
              "bias_activation_backward");
      },
      py::arg("cotangents"), py::arg("outputs"), py::arg("results"), py::arg("rows"),
      py::arg("columns"), py::arg("dtype"), py::arg("slope"), py::arg("summed_rows"),
      py::arg("bias_gradient"), py::arg("scratch"), py::arg("device"), py::arg("stream"),
      ReleaseGil());
}

struct SpectralNormPlan {
  std::string table;  // to be uploaded
  fw_cuda_spectral_norm_totals totals;

  SpectralNormPlan(const std::vector<int64_t>& extents, int dtype) {
    const int64_t count = static_cast<int64_t>(extents.size()) / 3;
    table.resize(static_cast<size_t>(fw_cuda_spectral_norm_plan_bytes(count)));
    check(fw_cuda_spectral_norm_plan(extents.data(), count, dtype, table.data(), &totals),
          "SpectralNormPlan");
  }
};

void bind_spectral_norm(py::module_& m) {
  py::class_<SpectralNormPlan>(m, "SpectralNormPlan")
      .def(py::init<const std::vector<int64_t>&, int>(), py::arg("extents"), py::arg("dtype"))
      .def_property_readonly("table",
                             [](const SpectralNormPlan& plan) { return py::bytes(plan.table); })
      .def_property_readonly("scratch",
                             [](const SpectralNormPlan& plan) { return plan.totals.scratch; });
  m.attr("SPECTRAL_NORM_BY_VALUE") = fw_cuda_spectral_norm_by_value();
  m.def(
      "spectral_norm_forward",
      [](Address pointers, const SpectralNormPlan& plan, int dtype, int64_t iterations,
         bool u_first, double epsilon, Address device_plan, Address sigma, Address vectors,
         Address scratch, Address table, int device, Address stream) {
        check(
            fw_cuda_spectral_norm_forward(at<const void* const>(pointers), &plan.totals, dtype,
                                          iterations, u_first, epsilon, at(device_plan), at(sigma),
                                          at(vectors), at(scratch), at(table), device, at(stream)),
            "spectral_norm_forward");
      },
      py::arg("pointers"), py::arg("plan"), py::arg("dtype"), py::arg("iterations"),
      py::arg("u_first"), py::arg("epsilon"), py::arg("device_plan"), py::arg("sigma"),
      py::arg("vectors"), py::arg("scratch"), py::arg("table"), py::arg("device"),
      py::arg("stream"), ReleaseGil());
  m.def(
      "spectral_norm_backward",
      [](Address pointers, const SpectralNormPlan& plan, int dtype, Address device_plan,
         Address sigma, Address sigma_cotangents, Address vectors, Address scratch, Address table,
         int device, Address stream) {
        check(fw_cuda_spectral_norm_backward(
                  at<const void* const>(pointers), &plan.totals, dtype, at(device_plan), at(sigma),
                  at(sigma_cotangents), at(vectors), at(scratch), at(table), device, at(stream)),
              "spectral_norm_backward");
      },
      py::arg("pointers"), py::arg("plan"), py::arg("dtype"), py::arg("device_plan"),
      py::arg("sigma"), py::arg("sigma_cotangents"), py::arg("vectors"), py::arg("scratch"),
      py::arg("table"), py::arg("device"), py::arg("stream"), ReleaseGil());
}

}  // namespace

PYBIND11_MODULE(FASTWGAN_CUDA_MODULE, m, py::mod_gil_not_used()) {
  m.doc() = "fastwgan's CUDA kernels: see csrc/include/fastwgan/cuda.h for the contract.";
  bind_memory(m);
  bind_elementwise(m);
  bind_gradient_penalty(m);
  bind_bias_activation(m);
  bind_spectral_norm(m);
}
