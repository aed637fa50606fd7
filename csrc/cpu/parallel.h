// The one thread rule: the caller names the number of threads; a kernel asks for all of them or
// for one, never something between, since an OpenMP runtime rebuilds its team when the size
// changes.
#pragma once

#include <pthread.h>

#include <cstdint>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "forked.h"

namespace fastwgan {

// Waking a second thread costs a few microseconds, the time one core needs for about this many
// bytes out of its cache.
constexpr int64_t parallel_threshold_bytes = int64_t{1} << 18;

inline int threads_for(int64_t bytes, int threads) {
  return bytes < parallel_threshold_bytes || threads < 1 ? 1 : threads;
}

struct Range {
  int64_t begin, end;
};

// Part `index` of `parts` of [0, size), its borders multiples of `grain`.
inline Range part_of(int64_t size, int index, int parts, int64_t grain = 1) {
  const int64_t grains = (size + grain - 1) / grain;
  const int64_t begin = grains * index / parts * grain;
  const int64_t end = grains * (index + 1) / parts * grain;
  return {begin < size ? begin : size, end < size ? end : size};
}

// Where threads that are not OpenMP's wait for each other. By pthread: the wait of
// std::condition_variable asks for a newer C++ library than anything else here.
class Meeting {
 public:
  Meeting() {
    pthread_mutex_init(&mutex_, nullptr);
    pthread_cond_init(&arrived_, nullptr);
  }
  ~Meeting() {
    pthread_cond_destroy(&arrived_);
    pthread_mutex_destroy(&mutex_);
  }
  Meeting(const Meeting&) = delete;
  // Says how many there are, for which all but the caller have waited in size().
  void open(int size) {
    pthread_mutex_lock(&mutex_);
    size_ = size;
    pthread_cond_broadcast(&arrived_);
    pthread_mutex_unlock(&mutex_);
  }
  int size() {
    pthread_mutex_lock(&mutex_);
    while (size_ == 0) pthread_cond_wait(&arrived_, &mutex_);
    pthread_mutex_unlock(&mutex_);
    return size_;
  }
  void wait() {
    pthread_mutex_lock(&mutex_);
    const int64_t phase = phase_;
    if (++waiting_ == size_) {
      waiting_ = 0;
      ++phase_;
      pthread_cond_broadcast(&arrived_);
    }
    while (phase_ == phase) pthread_cond_wait(&arrived_, &mutex_);
    pthread_mutex_unlock(&mutex_);
  }

 private:
  int size_ = 0, waiting_ = 0;
  int64_t phase_ = 0;
  pthread_mutex_t mutex_;
  pthread_cond_t arrived_;
};

class Team {
 public:
  explicit Team(int size, Meeting* meeting = nullptr) : size_(size), meeting_(meeting) {}
  int size() const { return size_; }
  void barrier() {
    if (meeting_ != nullptr) {
      meeting_->wait();
      return;
    }
#if defined(_OPENMP)
    if (size_ > 1) {
#pragma omp barrier
    }
#endif
  }

 private:
  int size_;
  Meeting* meeting_;  // of threads that are not OpenMP's, else null
};

template <class Body>
void parallel_without_openmp(int threads, const Body& body) {
  Meeting meeting;
  const auto work = [&](int thread) {
    Team team(meeting.size(), &meeting);
    body(team, thread);
  };
  std::vector<std::thread> others;
  try {
    others.reserve(threads - 1);
    for (int thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
  } catch (const std::bad_alloc&) {  // those that there are do the work
  } catch (const std::system_error&) {
  }
  meeting.open(1 + static_cast<int>(others.size()));
  work(0);
  for (std::thread& other : others) other.join();
}

template <class Body>
void parallel(int threads, const Body& body) {  // body(Team&, int thread)
#if defined(FASTWGAN_STD_THREAD)
  // libgomp's barriers are invisible to ThreadSanitizer; those of std::thread are not.
  if (threads > 1) return parallel_without_openmp(threads, body);
#elif defined(_OPENMP)
  if (threads > 1 && is_forked()) return parallel_without_openmp(threads, body);
  if (threads > 1) {
#pragma omp parallel num_threads(threads)
    {
      Team team(omp_get_num_threads());
      body(team, omp_get_thread_num());
    }
    return;
  }
#endif
  (void)threads;
  Team team(1);
  body(team, 0);
}

}  // namespace fastwgan
