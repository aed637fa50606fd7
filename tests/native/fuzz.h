// Random calls of the C ABI: sizes that are empty, negative or beyond counting, pointers that are
// null or misaligned, choices that do not exist. The memory that a call is handed is of exactly the
// size that it claims, so that a sanitizer sees one element too far, and guarded on both sides.
#pragma once

#include <climits>
#include <functional>
#include <limits>
#include <string>

#include "fastwgan/status.h"
#include "harness.h"

using Claim = __int128;  // elements, which 64 bits may not count

constexpr Claim countable = Claim{1} << 55;   // as status.h has it
constexpr Claim affordable = Claim{1} << 18;  // memory that is really given

// A call that claims more memory than is given, and less than its entry could refuse.
struct Unaffordable {};

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits() {  // splitmix64
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int64_t below(int64_t end) { return static_cast<int64_t>(bits() % static_cast<uint64_t>(end)); }
  bool one_in(int64_t times) { return below(times) == 0; }
  template <class T>
  T of(std::initializer_list<T> choices) {
    return choices.begin()[below(static_cast<int64_t>(choices.size()))];
  }

 private:
  uint64_t state_;
};

// The memory of one array, and what it was before the call.
class Zone {
 public:
  // At an address that is a multiple of `element` bytes, `off` bytes more.
  Zone(Random& random, int64_t elements, int64_t element, int64_t off, bool is_written);

  char* data() { return block_.get() + lead_; }
  bool is_untouched() const;
  bool is_intact() const;  // untouched but for the array, or at all where it is only read

 private:
  struct Free {
    void operator()(char* block) const { std::free(block); }
  };
  int64_t lead_, bytes_, size_;
  bool is_written_;
  std::unique_ptr<char, Free> block_;
  std::vector<char> before_;
};

// One call: draws its arguments, knows whether its contract allows them, and judges its answer.
class Call {
 public:
  explicit Call(Random& random) : random(random), is_hostile_(random.one_in(2)) {}

  Random& random;
  bool is_valid = true;

  void require(bool condition) { is_valid = is_valid && condition; }

  // Mostly small; now and then large enough for several threads, or one that can't be.
  int64_t size();
  int64_t count();  // of a list
  int threads();
  double number();

  // The product, with the call not valid where a size is negative or no memory holds so many.
  Claim product(std::initializer_list<int64_t> sizes);
  // Claims an array: the call is not valid where there is none, and more than zero elements.
  template <class T>
  T* array(Claim elements, bool is_written) {
    return static_cast<T*>(memory(elements, sizeof(T), is_written, false));
  }
  // An array that may be missing, null then.
  template <class T>
  T* optional(Claim elements, bool is_written) {
    return static_cast<T*>(memory(elements, sizeof(T), is_written, true));
  }
  // A list of `count`, for which null is not valid.
  template <class Item>
  Item* list(std::vector<Item>& items, int64_t count) {
    const bool is_missing = hostile(24);
    require(!is_missing || count == 0);
    return is_missing ? nullptr : items.data();
  }
  bool hostile(int64_t times) { return is_hostile_ && random.one_in(times); }

  // Runs the entry, now and then without memory for its own use.
  void run(const std::function<int()>& entry);

 private:
  void* memory(Claim elements, int64_t element, bool is_written, bool is_optional);

  bool is_hostile_;
  std::vector<Zone> zones_;
};

// The nth allocation from now on fails; 0 for none. Says whether one has.
void fail_allocation(int64_t n);
bool allocation_failed();

void fuzz_weight_clip(Call& call, bool is_double);
void fuzz_rmsprop(Call& call, bool is_double);
void fuzz_interpolate(Call& call, bool is_double);
void fuzz_norm(Call& call, bool is_double);
void fuzz_bias_forward(Call& call, bool is_double);
void fuzz_bias_backward(Call& call, bool is_double);
void fuzz_spectral_forward(Call& call, bool is_double);
void fuzz_spectral_backward(Call& call, bool is_double);
void fuzz_feedforward(Call& call, bool is_double);
