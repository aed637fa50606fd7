// The status of the C ABI as a C++ exception, which pybind11 turns into Python's.
#pragma once

#include <new>
#include <stdexcept>
#include <string>

#include "fastwgan/status.h"

namespace fastwgan {

inline void check(int status, const char* operation) {
  if (status == FW_OK) return;
  if (status == FW_OUT_OF_MEMORY) throw std::bad_alloc();
  throw std::invalid_argument(std::string(operation) +
                              " was handed arguments its contract forbids");
}

}  // namespace fastwgan
