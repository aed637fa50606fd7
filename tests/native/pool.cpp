// The memory pool: aligned blocks, reuse, its accounts, and any thread giving back what another
// took.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "../../csrc/cpu/memory_pool.h"
#include "harness.h"

using fastwgan::Block;

namespace {

void take_and_give(int seed) {
  std::vector<Block> held;
  for (int round = 0; round < 200; ++round) {
    const size_t bytes = static_cast<size_t>((round * 7919 + seed * 104729) % 300000);
    held.push_back(fastwgan::take_block(bytes));
    std::memset(held.back().data, seed, bytes);
    if (held.size() > 5) {
      fastwgan::give_back(held.front());
      held.erase(held.begin());
    }
  }
  for (Block block : held) fastwgan::give_back(block);
}

// Forks while other threads are in and out of the pool: no child may find its lock held.
void fork_while_others_take() {
  std::atomic<bool> done{false};
  std::vector<std::thread> others;
  for (int seed = 1; seed <= 3; ++seed)
    others.emplace_back([&, seed] {
      while (!done) take_and_give(seed);
    });
  for (int round = 0; round < 50; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      fastwgan::give_back(fastwgan::take_block(1000));
      _exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  done = true;
  for (std::thread& other : others) other.join();
}

}  // namespace

void check_memory_pool() {
  fastwgan::release_waiting_blocks();
  const fastwgan::PoolUse before = fastwgan::pool_use();
  CHECK(before.waiting == 0);
  for (size_t bytes :
       {size_t{0}, size_t{1}, size_t{64}, size_t{65}, size_t{70000}, size_t{5} << 20}) {
    const Block block = fastwgan::take_block(bytes);
    CHECK(reinterpret_cast<uintptr_t>(block.data) % 64 == 0);
    CHECK(block.size >= bytes && block.size > 0);
    std::memset(block.data, 1, block.size);
    CHECK(fastwgan::pool_use().taken == before.taken + static_cast<int64_t>(block.size));
    fastwgan::give_back(block);
    CHECK(fastwgan::pool_use().waiting >= static_cast<int64_t>(block.size));
    const Block again = fastwgan::take_block(bytes);
    CHECK(again.data == block.data);
    fastwgan::give_back(again);
  }
  std::vector<std::thread> threads;
  for (int seed = 1; seed <= 3; ++seed) threads.emplace_back(take_and_give, seed);
  for (std::thread& thread : threads) thread.join();
  CHECK(fastwgan::pool_use().taken == before.taken);
  CHECK(fastwgan::pool_use().waiting > 0);
  CHECK(fastwgan::release_waiting_blocks() > 0);
  CHECK(fastwgan::pool_use().waiting == 0);
  CHECK(fastwgan::release_waiting_blocks() == 0);
  fork_while_others_take();
  CHECK(fastwgan::pool_use().taken == before.taken);
}
