// Python's way in: addresses as integers, a status turned into an exception, the GIL released.
#include <pybind11/pybind11.h>

#include <cstdlib>
#include <string>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "capabilities.h"
#include "fastwgan/bias_activation.h"
#include "fastwgan/feedforward_critic.h"
#include "fastwgan/gradient_penalty.h"
#include "fastwgan/rmsprop.h"
#include "fastwgan/spectral_norm.h"
#include "fastwgan/weight_clip.h"
#include "feedforward_object.h"
#include "plain_calls.h"
#include "plain_tensor.h"
#include "pooled_tensors.h"
#include "raise.h"
#include "tensor_table.h"

namespace py = pybind11;

namespace {

using Address = uintptr_t;
using ReleaseGil = py::call_guard<py::gil_scoped_release>;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

using fastwgan::check;
using fastwgan::FeedforwardStep;

template <class T, class Function>
void bind_weight_clip(py::module_& m, const char* name, Function function) {
  m.def(
      name,
      [name, function](Address tensors, Address sizes, int64_t count, double bound, int threads) {
        check(function(at<T* const>(tensors), at<const int64_t>(sizes), count, bound, threads),
              name);
      },
      py::arg("tensors"), py::arg("sizes"), py::arg("count"), py::arg("bound"), py::arg("threads"),
      ReleaseGil());
}

template <class T, class Function>
void bind_rmsprop(py::module_& m, const char* name, Function function) {
  m.def(
      name,
      [name, function](Address parameters, Address gradients, Address square_averages,
                       Address momentum_buffers, Address gradient_averages, Address sizes,
                       int64_t count, double learning_rate, double alpha, double epsilon,
                       double weight_decay, double momentum, double weight_clip, bool centered,
                       bool maximize, int threads) {
        const fw_rmsprop_options options = {learning_rate, alpha,       epsilon,  weight_decay,
                                            momentum,      weight_clip, centered, maximize};
        check(function(at<T* const>(parameters), at<const T* const>(gradients),
                       at<T* const>(square_averages), at<T* const>(momentum_buffers),
                       at<T* const>(gradient_averages), at<const int64_t>(sizes), count, &options,
                       threads),
              name);
      },
      py::arg("parameters"), py::arg("gradients"), py::arg("square_averages"),
      py::arg("momentum_buffers"), py::arg("gradient_averages"), py::arg("sizes"), py::arg("count"),
      py::arg("learning_rate"), py::arg("alpha"), py::arg("epsilon"), py::arg("weight_decay"),
      py::arg("momentum"), py::arg("weight_clip"), py::arg("centered"), py::arg("maximize"),
      py::arg("threads"), ReleaseGil());
}

template <class T, class Forward, class Backward>
void bind_spectral_norm(py::module_& m, const char* forward_name, Forward forward,
                        const char* backward_name, Backward backward) {
  m.def(
      forward_name,
      [forward_name, forward](Address layers, Address normalised, Address sigma, Address vectors,
                              int64_t count, int64_t iterations, bool u_first, double epsilon,
                              int threads) {
        const fw_spectral_norm_options options = {iterations, u_first, epsilon};
        check(forward(at<const fw_spectral_norm_layer>(layers), at<T* const>(normalised),
                      at<T>(sigma), at<T>(vectors), count, &options, threads),
              forward_name);
      },
      py::arg("layers"), py::arg("normalised"), py::arg("sigma"), py::arg("vectors"),
      py::arg("count"), py::arg("iterations"), py::arg("u_first"), py::arg("epsilon"),
      py::arg("threads"), ReleaseGil());
  m.def(
      backward_name,
      [backward_name, backward](Address layers, Address cotangents, Address normalised,
                                Address sigma, Address sigma_cotangents, Address vectors,
                                Address gradients, int64_t count, int threads) {
        check(backward(at<const fw_spectral_norm_layer>(layers), at<const T* const>(cotangents),
                       at<const T* const>(normalised), at<const T>(sigma),
                       at<const T>(sigma_cotangents), at<const T>(vectors), at<T* const>(gradients),
                       count, threads),
              backward_name);
      },
      py::arg("layers"), py::arg("cotangents"), py::arg("normalised"), py::arg("sigma"),
      py::arg("sigma_cotangents"), py::arg("vectors"), py::arg("gradients"), py::arg("count"),
      py::arg("threads"), ReleaseGil());
}

template <class T, class Interpolate, class Norm>
void bind_gradient_penalty(py::module_& m, const char* interpolate_name, Interpolate interpolate,
                           const char* norm_name, Norm norm) {
  m.def(
      interpolate_name,
      [interpolate_name, interpolate](Address real, Address fake, Address alpha,
                                      Address interpolates, int64_t rows, int64_t size,
                                      int64_t groups, int threads) {
        check(interpolate(at<const T>(real), at<const T>(fake), at<const T>(alpha),
                          at<T>(interpolates), rows, size, groups, threads),
              interpolate_name);
      },
      py::arg("real"), py::arg("fake"), py::arg("alpha"), py::arg("interpolates"), py::arg("rows"),
      py::arg("size"), py::arg("groups"), py::arg("threads"), ReleaseGil());
  m.def(
      norm_name,
      [norm_name, norm](Address gradient, int64_t rows, int64_t size, int kind, double target,
                        double weight, Address penalty, Address norms, Address cotangent,
                        int threads) {
        check(norm(at<const T>(gradient), rows, size, kind, target, weight, at<T>(penalty),
                   at<T>(norms), at<T>(cotangent), threads),
              norm_name);
      },
      py::arg("gradient"), py::arg("rows"), py::arg("size"), py::arg("kind"), py::arg("target"),
      py::arg("weight"), py::arg("penalty"), py::arg("norms"), py::arg("cotangent"),
      py::arg("threads"), ReleaseGil());
}

template <class T, class Forward, class Backward, class Tangent>
void bind_feedforward_critic(py::module_& m, const std::string& type, Forward forward,
                             Backward backward, Tangent tangent) {
  m.def(("feedforward_critic_forward_" + type).c_str(),
        [forward](const FeedforwardStep& step, Address samples, Address scores) {
          check(forward(step.get(), at<const T>(samples), at<T>(scores)),
                "feedforward_critic_forward");
        },
        py::arg("step"), py::arg("samples"), py::arg("scores"), ReleaseGil());
  m.def(("feedforward_critic_backward_" + type).c_str(),
        [backward](const FeedforwardStep& step, Address samples, Address seeds, bool of_all,
                   Address weight_gradients, Address bias_gradients, Address gradient) {
          check(backward(step.get(), at<const T>(samples), at<const T>(seeds), of_all,
                         at<T* const>(weight_gradients), at<T* const>(bias_gradients),
                         at<T>(gradient)),
                "feedforward_critic_backward");
        },
        py::arg("step"), py::arg("samples"), py::arg("seeds"), py::arg("of_all"),
        py::arg("weight_gradients"), py::arg("bias_gradients"), py::arg("gradient"), ReleaseGil());
  m.def(("feedforward_critic_tangent_" + type).c_str(),
        [tangent](const FeedforwardStep& step, Address seeds, Address start, bool adds,
                  Address weight_gradients) {
          check(tangent(step.get(), at<const T>(seeds), at<const T>(start), adds,
                        at<T* const>(weight_gradients)),
                "feedforward_critic_tangent");
        },
        py::arg("step"), py::arg("seeds"), py::arg("start"), py::arg("adds"),
        py::arg("weight_gradients"), ReleaseGil());
}

void bind_feedforward_step(py::module_& m) {
  py::class_<FeedforwardStep>(m, "FeedforwardStep")
      .def(py::init<Address, Address, int64_t, int64_t, int64_t, int>(), py::arg("layers"),
           py::arg("slopes"), py::arg("count"), py::arg("rows"), py::arg("loss_rows"),
           py::arg("threads"))
      .def(
          "set_workspace",
          [](FeedforwardStep& step, Address address) { step.set_workspace(at<void>(address)); },
          py::arg("address"))
      .def("workspace",
           [](const FeedforwardStep& step) { return fw_feedforward_critic_workspace(step.get()); });
}

template <class T, class Forward, class Backward>
void bind_bias_activation(py::module_& m, const char* forward_name, Forward forward,
                          const char* backward_name, Backward backward) {
  m.def(
      forward_name,
      [forward_name, forward](Address values, Address bias, int64_t rows, int64_t columns,
                              double slope, int threads) {
        check(forward(at<T>(values), at<const T>(bias), rows, columns, slope, threads),
              forward_name);
      },
      py::arg("values"), py::arg("bias"), py::arg("rows"), py::arg("columns"), py::arg("slope"),
      py::arg("threads"), ReleaseGil());
  m.def(
      backward_name,
      [backward_name, backward](Address cotangents, Address outputs, Address results, int64_t rows,
                                int64_t columns, double slope, int64_t summed_rows,
                                Address bias_gradient, int threads) {
        check(backward(at<const T>(cotangents), at<const T>(outputs), at<T>(results), rows, columns,
                       slope, summed_rows, at<T>(bias_gradient), threads),
              backward_name);
      },
      py::arg("cotangents"), py::arg("outputs"), py::arg("results"), py::arg("rows"),
      py::arg("columns"), py::arg("slope"), py::arg("summed_rows"), py::arg("bias_gradient"),
      py::arg("threads"), ReleaseGil());
}

py::list runnable_sets() {
  using namespace fastwgan;
  py::list names;
  for (int i = 0; i < instruction_set_count; ++i)
    if (can_run(static_cast<InstructionSet>(i))) names.append(instruction_set_names[i]);
  return names;
}

void bind_instruction_sets(py::module_& m) {
  using namespace fastwgan;
  if (!choose_instruction_set())
    throw py::import_error("FASTWGAN_CPU_ISA was '" + std::string(std::getenv("FASTWGAN_CPU_ISA")) +
                           "'; it must be one of " + py::str(runnable_sets()).cast<std::string>() +
                           " on this processor.");
  m.def("instruction_sets", &runnable_sets);
  m.def("instruction_set",
        [] { return instruction_set_names[static_cast<int>(active_instruction_set())]; });
  m.def(
      "set_instruction_set",
      [](const std::string& name) {
        for (int i = 0; i < instruction_set_count; ++i) {
          const auto set = static_cast<InstructionSet>(i);
          if (name == instruction_set_names[i] && can_run(set)) {
            return set_active_instruction_set(set);
          }
        }
        throw std::invalid_argument("no instruction set named " + name + " runs here");
      },
      py::arg("name"));
  m.def(
      "openmp_threads",
      []() -> int {
#if defined(_OPENMP)
        return omp_get_max_threads();
#else
        return 0;
#endif
      },
      "Threads OpenMP would use; 0 when the kernels were built without OpenMP.");
}

}  // namespace

PYBIND11_MODULE(_cpu, m, py::mod_gil_not_used()) {
  m.doc() = "fastwgan's CPU kernels: see csrc/include/fastwgan for each one's contract.";
  bind_instruction_sets(m);
  fastwgan::bind_tensor_table(m);
  fastwgan::bind_pooled_tensors(m);
  bind_feedforward_step(m);  // before what takes one, whose docstring names it
  fastwgan::bind_plain_feedforward_critic(m);
  fastwgan::bind_plain_rmsprop(m);
  fastwgan::bind_plain_spectral_norm(m);
  fastwgan::bind_plain_tensor(m);
  fastwgan::bind_plain_weight_clip(m);
  bind_weight_clip<float>(m, "weight_clip_f32", fw_weight_clip_f32);
  bind_weight_clip<double>(m, "weight_clip_f64", fw_weight_clip_f64);
  bind_rmsprop<float>(m, "rmsprop_f32", fw_rmsprop_f32);
  bind_rmsprop<double>(m, "rmsprop_f64", fw_rmsprop_f64);
  bind_spectral_norm<float>(m, "spectral_norm_forward_f32", fw_spectral_norm_forward_f32,
                            "spectral_norm_backward_f32", fw_spectral_norm_backward_f32);
  bind_spectral_norm<double>(m, "spectral_norm_forward_f64", fw_spectral_norm_forward_f64,
                             "spectral_norm_backward_f64", fw_spectral_norm_backward_f64);
  bind_bias_activation<float>(m, "bias_activation_forward_f32", fw_bias_activation_forward_f32,
                              "bias_activation_backward_f32", fw_bias_activation_backward_f32);
  bind_bias_activation<double>(m, "bias_activation_forward_f64", fw_bias_activation_forward_f64,
                               "bias_activation_backward_f64", fw_bias_activation_backward_f64);
  bind_feedforward_critic<float>(m, "f32", fw_feedforward_critic_forward_f32,
                                 fw_feedforward_critic_backward_f32,
                                 fw_feedforward_critic_tangent_f32);
  bind_feedforward_critic<double>(m, "f64", fw_feedforward_critic_forward_f64,
                                  fw_feedforward_critic_backward_f64,
                                  fw_feedforward_critic_tangent_f64);
  bind_gradient_penalty<float>(m, "gradient_penalty_interpolate_f32",
                               fw_gradient_penalty_interpolate_f32, "gradient_penalty_norm_f32",
                               fw_gradient_penalty_norm_f32);
  bind_gradient_penalty<double>(m, "gradient_penalty_interpolate_f64",
                                fw_gradient_penalty_interpolate_f64, "gradient_penalty_norm_f64",
                                fw_gradient_penalty_norm_f64);
}
