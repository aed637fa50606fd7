#include "memory_pool.h"

#include <pthread.h>

#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace fastwgan {
namespace {

constexpr size_t alignment = 64;
constexpr size_t huge_page = size_t{2} << 20;
constexpr size_t huge_block = size_t{4} << 20;  // from here on, huge pages are asked for
constexpr int64_t default_limit = int64_t{512} << 20;

constexpr int64_t unreadable = -1;

// Bytes; `unreadable` for what is no whole number of mebibytes.
int64_t limit_from_environment() {
  const char* mebibytes = std::getenv("FASTWGAN_POOL_MIB");
  if (mebibytes == nullptr || *mebibytes == '\0') return default_limit;
  int64_t limit = 0;
  for (const char* digit = mebibytes; *digit != '\0'; ++digit) {
    if (*digit < '0' || *digit > '9' || limit >= int64_t{1} << 39) return unreadable;
    limit = 10 * limit + (*digit - '0');
  }
  return limit << 20;
}

struct Pool {
  std::mutex mutex;
  std::multimap<size_t, void*> waiting;
  int64_t waiting_bytes = 0, taken_bytes = 0;
  const int64_t limit = limit_from_environment();
};

Pool& pool();

// Never destroyed: tensors may outlive everything that is. A fork waits until no other thread,
// which the child would lack, is inside.
Pool* new_pool() {
  pthread_atfork([] { pool().mutex.lock(); }, [] { pool().mutex.unlock(); },
                 [] { pool().mutex.unlock(); });
  return new Pool;
}

Pool& pool() {
  static Pool& instance = *new_pool();
  return instance;
}

size_t rounded(size_t bytes) {
  const size_t grain = bytes >= (1 << 16) ? 4096 : alignment;
  return bytes == 0 ? alignment : (bytes + grain - 1) / grain * grain;
}

void* allocate(size_t size) {
  void* data = nullptr;
  if (posix_memalign(&data, size >= huge_block ? huge_page : alignment, size) != 0)
    throw std::bad_alloc();
#if defined(__linux__)
  if (size >= huge_block) madvise(data, size, MADV_HUGEPAGE);  // a wish: failure changes nothing
#endif
  return data;
}

}  // namespace

Block take_block(size_t bytes) {
  const size_t size = rounded(bytes);
  Pool& p = pool();
  {
    std::lock_guard<std::mutex> lock(p.mutex);
    auto found = p.waiting.lower_bound(size);
    // A block a quarter larger than asked for is taken; a larger one is left for its own kind.
    if (found != p.waiting.end() && found->first <= size + size / 4) {
      // Of equal ones the last that came back, which is the likeliest to be in cache still.
      found = std::prev(p.waiting.upper_bound(found->first));
      const Block block{found->second, found->first};
      p.waiting.erase(found);
      p.waiting_bytes -= static_cast<int64_t>(block.size);
      p.taken_bytes += static_cast<int64_t>(block.size);
      return block;
    }
  }
  const Block block{allocate(size), size};
  std::lock_guard<std::mutex> lock(p.mutex);
  p.taken_bytes += static_cast<int64_t>(size);
  return block;
}

void give_back(Block block) {
  Pool& p = pool();
  const auto size = static_cast<int64_t>(block.size);
  {
    std::lock_guard<std::mutex> lock(p.mutex);
    p.taken_bytes -= size;
    if (p.waiting_bytes + size <= p.limit) {
      p.waiting.emplace(block.size, block.data);
      p.waiting_bytes += size;
      return;
    }
  }
  std::free(block.data);
}

bool pool_limit_is_readable() { return pool().limit != unreadable; }

PoolUse pool_use() {
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  return {p.taken_bytes, p.waiting_bytes};
}

int64_t release_waiting_blocks() {
  Pool& p = pool();
  std::multimap<size_t, void*> released;
  int64_t bytes = 0;
  {
    std::lock_guard<std::mutex> lock(p.mutex);
    released.swap(p.waiting);
    std::swap(bytes, p.waiting_bytes);
  }
  for (const auto& entry : released) std::free(entry.second);
#if defined(__GLIBC__)
  malloc_trim(0);  // blocks between others that are in use stay with the C library otherwise
#endif
  return bytes;
}

}  // namespace fastwgan
