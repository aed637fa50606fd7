#include "forked.h"

#include <pthread.h>

#include <atomic>

namespace fastwgan {
namespace {

std::atomic<bool> forked{false};

const int registered =
    pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });

}  // namespace

bool is_forked() {
  (void)registered;
  return forked.load(std::memory_order_relaxed);
}

}  // namespace fastwgan
