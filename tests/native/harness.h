// What the native checks share: memory of exact size, so that a sanitizer sees one element too far;
// numbers; and a check that ends the program with the place and the text of what was wrong.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#define CHECK(condition)                                                                 \
  do {                                                                                   \
    ++checks_made();                                                                     \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                                      \
    }                                                                                    \
  } while (0)

inline int64_t& checks_made() {
  static int64_t count = 0;
  return count;
}

// Uniform in [-1, 1), the same on every run.
inline double random_number() {
  static uint64_t state = 88172645463325252u;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return static_cast<double>(state >> 11) * 0x1p-52 - 1.0;
}

// `size` elements in a block of their own that ends with the last of them and, but for the first
// `lead` elements, begins with the first.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t size, int lead = 0)
      : size_(size),
        lead_(lead),
        block_(static_cast<T*>(std::malloc(sizeof(T) * static_cast<size_t>(size + lead)))) {
    for (int64_t i = 0; i < size; ++i) data()[i] = static_cast<T>(random_number());
  }
  Buffer(const Buffer& other) : Buffer(other.size_, other.lead_) { assign(other); }
  Buffer(Buffer&&) = default;
  ~Buffer() = default;
  Buffer& operator=(const Buffer&) = delete;

  T* data() { return block_.get() + lead_; }
  const T* data() const { return block_.get() + lead_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data()[i]; }
  const T& operator[](int64_t i) const { return data()[i]; }

  void assign(const Buffer& other) {
    for (int64_t i = 0; i < size_; ++i) data()[i] = other[i];
  }
  void fill(double value) {
    for (int64_t i = 0; i < size_; ++i) data()[i] = static_cast<T>(value);
  }
  // Equal to the bit.
  bool operator==(const Buffer& other) const {
    return size_ == other.size_ &&
           (size_ == 0 ||
            std::memcmp(data(), other.data(), sizeof(T) * static_cast<size_t>(size_)) == 0);
  }

 private:
  struct Free {
    void operator()(T* block) const { std::free(block); }
  };
  int64_t size_;
  int lead_;
  std::unique_ptr<T, Free> block_;
};

template <class T>
using Buffers = std::vector<Buffer<T>>;

template <class T>
Buffers<T> buffers_of(const std::vector<int64_t>& sizes) {
  Buffers<T> buffers;
  for (size_t i = 0; i < sizes.size(); ++i) buffers.emplace_back(sizes[i], static_cast<int>(i % 3));
  return buffers;
}

template <class T>
std::vector<T*> pointers_to(Buffers<T>& buffers) {
  std::vector<T*> pointers;
  for (Buffer<T>& buffer : buffers) pointers.push_back(buffer.data());
  return pointers;
}

template <class T>
std::vector<const T*> const_pointers_to(const Buffers<T>& buffers) {
  std::vector<const T*> pointers;
  for (const Buffer<T>& buffer : buffers) pointers.push_back(buffer.data());
  return pointers;
}

template <class T>
bool close(double actual, double expected, double scale = 1.0) {
  const double unit = sizeof(T) == 4 ? 0x1p-23 : 0x1p-52;
  return std::fabs(actual - expected) <= 64 * unit * (scale + std::fabs(expected));
}

// Around the vector widths, and in sum above the size from which a second thread is woken.
inline const std::vector<int64_t> tensor_sizes = {0,  1,  3,  7,  8,  9,  15, 16,    17,
                                                  31, 33, 63, 64, 65, 97, 1,  70003, 129};

void check_weight_clip(int threads);
void check_rmsprop(int threads);
void check_gradient_penalty(int threads);
void check_spectral_norm(int threads);
void check_feedforward_critic(int threads);
void check_memory_pool();
void check_hostile_arguments();
void check_hostile_feedforward_critic();
