// Elementwise work over many tensors, split evenly over the threads as if they were one.
#pragma once

#include <cstdint>

#include "arguments.h"
#include "parallel.h"

namespace fastwgan {

template <class T>
bool valid_tensors(T* const* tensors, const int64_t* sizes, int64_t count) {
  if (!is_count(count) || (count > 0 && (tensors == nullptr || sizes == nullptr))) return false;
  int64_t total = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (!is_count(sizes[i]) || !is_there(tensors[i], sizes[i])) return false;
    total += sizes[i];
    if (!is_count(total)) return false;
  }
  return true;
}

inline int64_t total_size(const int64_t* sizes, int64_t count) {
  int64_t total = 0;
  for (int64_t i = 0; i < count; ++i) total += sizes[i];
  return total;
}

// Calls body(index, begin, end) for disjoint pieces that together cover every tensor once. Pieces
// begin at multiples of 64 elements of the whole, so that threads seldom share a cache line.
template <class Body>
void for_each_chunk(const int64_t* sizes, int64_t count, int64_t total, int threads,
                    const Body& body) {
  parallel(threads, [&](Team& team, int thread) {
    const Range mine = part_of(total, thread, team.size(), 64);
    int64_t first = 0;  // of tensor i, counted over all tensors
    for (int64_t i = 0; i < count && first < mine.end; first += sizes[i++]) {
      const int64_t begin = mine.begin > first ? mine.begin - first : 0;
      const int64_t end = mine.end - first < sizes[i] ? mine.end - first : sizes[i];
      if (begin < end) body(i, begin, end);
    }
  });
}

}  // namespace fastwgan
