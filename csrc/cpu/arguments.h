// What entries ask of their arguments before they touch any memory: sizes whose products can be
// counted, and pointers to numbers that are aligned as numbers are.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace fastwgan {

// More elements than any memory holds. A few times as many doubles are bytes that 64 bits count.
constexpr int64_t most_elements = int64_t{1} << 55;

// The product of sizes, or -1 where one is negative or there are more than most_elements.
inline int64_t elements_of(std::initializer_list<int64_t> sizes) {
  int64_t elements = 1;
  bool is_empty = false;
  for (int64_t size : sizes) {
    if (size < 0) return -1;
    is_empty = is_empty || size == 0;
  }
  if (is_empty) return 0;
  for (int64_t size : sizes) {
    if (size > most_elements / elements) return -1;
    elements *= size;
  }
  return elements;
}

inline bool is_count(int64_t size) { return size >= 0 && size <= most_elements; }

// Null is aligned.
template <class T>
bool is_aligned(const T* numbers) {
  return reinterpret_cast<uintptr_t>(numbers) % alignof(T) == 0;
}

// Numbers that are there if there are any to be.
template <class T>
bool is_there(const T* numbers, int64_t elements) {
  return elements == 0 || (numbers != nullptr && is_aligned(numbers));
}

}  // namespace fastwgan
