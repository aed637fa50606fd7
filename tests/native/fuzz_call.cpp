// The memory and the arguments of a random call.
#include "fuzz.h"

namespace {

constexpr char guard = 0x5a;

// Bytes of numbers of every kind: bits of any pattern are NaN, huge or denormal now and then.
void fill(Random& random, char* data, int64_t bytes, int64_t element) {
  const bool is_wild = random.one_in(4);
  for (int64_t i = 0; i + element <= bytes; i += element) {
    const double value = static_cast<double>(random.below(2001) - 1000) / 500;
    const auto narrow = static_cast<float>(value);
    const uint64_t bits = random.bits();
    const void* from = element == 4 ? static_cast<const void*>(&narrow) : &value;
    std::memcpy(data + i, is_wild ? static_cast<const void*>(&bits) : from,
                static_cast<size_t>(element));
  }
}

}  // namespace

Zone::Zone(Random& random, int64_t elements, int64_t element, int64_t off, bool is_written)
    : lead_(16 * random.below(3) + element * random.below(3) + off),
      bytes_(elements * element),
      size_(lead_ + bytes_ + (random.one_in(2) ? 64 : 0)),
      is_written_(is_written),
      block_(static_cast<char*>(std::malloc(static_cast<size_t>(size_ > 0 ? size_ : 1)))) {
  std::memset(block_.get(), guard, static_cast<size_t>(size_));
  fill(random, data(), bytes_, element);
  before_.assign(block_.get(), block_.get() + size_);
}

bool Zone::is_untouched() const {
  return std::memcmp(block_.get(), before_.data(), before_.size()) == 0;
}

bool Zone::is_intact() const {
  if (!is_written_) return is_untouched();
  const int64_t after = lead_ + bytes_;
  return std::memcmp(block_.get(), before_.data(), static_cast<size_t>(lead_)) == 0 &&
         std::memcmp(block_.get() + after, before_.data() + after,
                     static_cast<size_t>(size_ - after)) == 0;
}

int64_t Call::size() {
  if (hostile(8))
    return random.of({int64_t{-1}, INT64_MIN, INT64_MAX, INT64_MAX / 4 + 1, int64_t{1} << 31,
                      int64_t{1} << 32, int64_t{1} << 33, int64_t{1} << 55, (int64_t{1} << 55) + 1,
                      int64_t{1} << 60, (int64_t{1} << 61) + 3, int64_t{1} << 62,
                      -(int64_t{1} << 62), int64_t{INT_MAX}, int64_t{INT_MIN}});
  if (random.one_in(7)) return 0;
  if (random.one_in(60)) return random.below(70000);
  return random.one_in(10) ? random.below(3000) : random.below(70);
}

int64_t Call::count() {
  if (hostile(10))
    return random.of({int64_t{-1}, INT64_MIN, INT64_MAX, int64_t{1} << 56, int64_t{1} << 61,
                      (int64_t{1} << 61) + 1, int64_t{1} << 62});
  return random.below(5);
}

int Call::threads() { return random.of({1, 1, 1, 2, 3, 0, -1, INT_MIN}); }

double Call::number() {
  constexpr double infinite = std::numeric_limits<double>::infinity();
  if (hostile(6))
    return random.of({0.0, -0.0, -1.0, infinite, -infinite, static_cast<double>(NAN), 1e308, 1e39,
                      5e-324, -1e-310});
  return static_cast<double>(random.below(1000) + 1) / 500;
}

Claim Call::product(std::initializer_list<int64_t> sizes) {
  Claim claim = 1;
  for (int64_t size : sizes) {
    require(size >= 0);
    if (size <= 0) claim = 0;
    if (claim > 0 && claim <= countable) claim *= size;
  }
  // Zero wins wherever it stands; a product beyond counting is left where it is.
  for (int64_t size : sizes)
    if (size <= 0) claim = 0;
  require(claim <= countable);
  return claim;
}

void* Call::memory(Claim elements, int64_t element, bool is_written, bool is_optional) {
  const bool is_missing = is_optional ? random.one_in(3) : hostile(24);
  if (is_missing) {
    require(is_optional || elements == 0);
    return nullptr;
  }
  require(elements <= countable);
  if (elements > affordable && elements <= countable) throw Unaffordable();
  const bool is_given = elements > 0 && elements <= affordable;
  const int64_t off = elements > 0 && hostile(24) ? 1 + random.below(element - 1) : 0;
  require(off == 0);
  zones_.emplace_back(random, is_given ? static_cast<int64_t>(elements) : 0, element, off,
                      is_written);
  return zones_.back().data();
}

void Call::run(const std::function<int()>& entry) {
  if (is_valid && random.one_in(8)) fail_allocation(1 + random.below(6));
  const int status = entry();
  const bool is_out_of_memory = allocation_failed();
  fail_allocation(0);
  // A team that finds no memory for another thread does without it: that is no failure.
  const bool is_expected = status == (is_valid ? FW_OK : FW_INVALID_ARGUMENT);
  CHECK(is_expected || (is_out_of_memory && status == FW_OUT_OF_MEMORY));
  for (const Zone& zone : zones_) CHECK(status == FW_OK ? zone.is_intact() : zone.is_untouched());
}
