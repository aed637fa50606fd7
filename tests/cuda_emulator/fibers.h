// Fibers: stacks of their own that are switched between by hand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_emulator {

constexpr size_t stack_bytes = 256 * 1024;

class Fiber {
 public:
  // Stacks begin at different places of a page, lest all of them want the same lines of the cache.
  explicit Fiber(int index)
      : stack_(static_cast<char*>(std::aligned_alloc(4096, stack_bytes))),
        top_(stack_ + stack_bytes - index % 16 * 256) {
    if (stack_ == nullptr) throw std::bad_alloc();
  }
  ~Fiber() { std::free(stack_); }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  void start(void (*entry)());  // the next resume() calls entry, which must not return
  void resume();                // called by the scheduler: runs the fiber until it yields
  void yield(bool for_good);    // called by the fiber: back to the scheduler

 private:
  static void begin();

  char* stack_;
  char* top_;
  void (*entry_)() = nullptr;
#if defined(__x86_64__)
  void* pointer_ = nullptr;
#else
  ucontext_t context_;
#endif
};

#if defined(__x86_64__)

// Saves the registers that a call must keep on the old stack, then continues on the new one.
extern "C" void cuda_emulator_switch(void** old_pointer, void* new_pointer);
asm(R"(
.text
.globl cuda_emulator_switch
.type cuda_emulator_switch, @function
cuda_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_emulator_switch, .-cuda_emulator_switch
)");
inline void* scheduler_pointer;
#else
inline ucontext_t scheduler_context;
#endif

inline Fiber* current_fiber;
inline const void* scheduler_stack;
inline size_t scheduler_stack_bytes;

inline void Fiber::begin() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
  current_fiber->entry_();
  std::abort();
}

inline void Fiber::start(void (*entry)()) {
  entry_ = entry;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_, stack_bytes);  // a fiber may have been left where it stood
#endif
#if defined(__x86_64__)
  // Six registers, the address to return to, and one word so that the stack is aligned as a call
  // leaves it.
  void** top = reinterpret_cast<void**>(top_) - 8;
  for (int i = 0; i < 8; ++i) top[i] = nullptr;
  top[6] = reinterpret_cast<void*>(&Fiber::begin);
  pointer_ = top;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = stack_bytes;
  context_.uc_link = nullptr;
  makecontext(&context_, &Fiber::begin, 0);
#endif
}

inline void Fiber::resume() {
  current_fiber = this;
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, stack_, stack_bytes);
#endif
#if defined(__x86_64__)
  cuda_emulator_switch(&scheduler_pointer, pointer_);
#else
  swapcontext(&scheduler_context, &context_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

inline void Fiber::yield([[maybe_unused]] bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(for_good ? nullptr : &fake, scheduler_stack,
                                 scheduler_stack_bytes);
#endif
#if defined(__x86_64__)
  cuda_emulator_switch(&pointer_, scheduler_pointer);
#else
  swapcontext(&context_, &scheduler_context);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_stack_bytes);
#endif
}

}  // namespace cuda_emulator
