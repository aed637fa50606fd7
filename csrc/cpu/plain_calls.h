// Whole calls on plain tensors: read, checked and run from Python in one call.
//
// Python's own way through an operation asks each tensor a dozen questions at 50 to 300 ns, which
// on a small critic takes longer than the kernel. These functions ask all of them in C++ and at
// every call, so that there is nothing that could go stale. Where any answer is not the usual one
// they return None with nothing written, and the operation goes its general way, which knows every
// other case and says what is wrong.
#pragma once

#include <pybind11/pybind11.h>

namespace fastwgan {

void bind_plain_feedforward_critic(pybind11::module_& m);
void bind_plain_rmsprop(pybind11::module_& m);
void bind_plain_spectral_norm(pybind11::module_& m);
void bind_plain_weight_clip(pybind11::module_& m);

}  // namespace fastwgan
