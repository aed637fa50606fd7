// Memory for outputs, kept when it is given back.
//
// The outputs of one step are as large as those of the step before. The C library hands large
// blocks back to the kernel at once, and every page of the next one costs a fault (on a virtual
// machine a microsecond and more for 4 KiB: several times what the kernels themselves take). Here a
// block that is given back waits for the next request of about its size.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastwgan {

struct Block {
  void* data;  // aligned to 64 bytes
  size_t size;
};

// False when FASTWGAN_POOL_MIB, the most that waits, was no whole number of mebibytes. The variable
// is read by the first call of any of these, and never again.
bool pool_limit_is_readable();

// Throws std::bad_alloc. Any thread may call any of these.
Block take_block(size_t bytes);
void give_back(Block block);

struct PoolUse {
  int64_t taken, waiting;  // bytes
};
PoolUse pool_use();

// Frees all blocks that wait, and has the C library hand back what it keeps free besides. Returns
// the bytes that waited.
int64_t release_waiting_blocks();

}  // namespace fastwgan
