// The threads that run one call together: the index of each, equal shares of the work, and a barrier.
#pragma once

#include <algorithm>
#include <atomic>
#include <sched.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

namespace hn {

struct Range { long begin, end; };

// Bytes of a core's second cache; 0 where the system does not say.
inline long second_cache() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  static const long bytes = std::max(0l, sysconf(_SC_LEVEL2_CACHE_SIZE));
  return bytes;
#else
  return 0;
#endif
}

class Barrier {
 public:
  void wait(int threads) {
    if (threads == 1) return;
    int turn = turn_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      turn_.store(turn + 1, std::memory_order_release);
      return;
    }
    // Steps are tens of microseconds apart, so waiting is spinning; but where another process holds the core that the last
    // thread needs, spinning would keep it away: then give the core up.
    for (int spins = 0; turn_.load(std::memory_order_acquire) == turn; spins++) {
      if (spins < 2000) pause();
      else sched_yield();
    }
  }

 private:
  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> turn_{0};
};

// One of the threads of a call.
class Thread {
 public:
  Thread(int index, int count, Barrier& barrier) : index(index), count(count), barrier_(barrier) {}
  const int index, count;

  // Wait until all threads have called this: what each wrote before, all may read afterwards.
  void wait() const { barrier_.wait(count); }

  // This thread's part of n things.
  Range share(long n) const { return {n * index / count, n * (index + 1) / count}; }

 private:
  Barrier& barrier_;
};

// Run work(thread) on up to `threads` threads at once; how many these are is the same for the same call on the same machine.
template <class Work> void run_threads(int threads, Work work) {
  Barrier barrier;
#ifdef _OPENMP
#pragma omp parallel num_threads(std::max(threads, 1))
  work(Thread(omp_get_thread_num(), omp_get_num_threads(), barrier));
#else
  (void)threads;
  work(Thread(0, 1, barrier));
#endif
}

}  // namespace hn
