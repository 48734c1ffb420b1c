// The threads that run one call together: who is who, equal shares of the work, and a barrier.
#pragma once

#include <algorithm>
#include <atomic>
#include <sched.h>
#ifdef _OPENMP
#include <omp.h>
#endif

namespace hn {

struct Range { long begin, end; };

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

class Team {
 public:
  Team(int index, int size, Barrier& barrier) : index(index), size(size), barrier_(barrier) {}
  const int index, size;

  // Wait until all threads have come here: what each wrote before, all may read after.
  void wait() const { barrier_.wait(size); }

  // This thread's part of n things.
  Range share(long n) const { return {n * index / size, n * (index + 1) / size}; }

 private:
  Barrier& barrier_;
};

// Run work(team) on up to `threads` threads at once; the number that came is the same for the same call on the same machine.
template <class Work> void with_team(int threads, Work work) {
  Barrier barrier;
#ifdef _OPENMP
#pragma omp parallel num_threads(std::max(threads, 1))
  work(Team(omp_get_thread_num(), omp_get_num_threads(), barrier));
#else
  (void)threads;
  work(Team(0, 1, barrier));
#endif
}

}  // namespace hn
