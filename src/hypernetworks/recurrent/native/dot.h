// Products for one step of a few rows without packing: each number of the matrix is used once, so reading it is all there is.
//
// What one step read last is in the cache when the next begins. Where the weights are larger than the cache, a step that reads them
// from their other end finds it there; one that begins where the last began finds nothing.
#pragma once

#include "threads.h"
#include "vector.h"

namespace hn {

// y (R rows, `y_stride` apart) = or += x Wᵀ in the columns `own`: W (·, k) row-major, its rows `stride` apart; x rows `x_stride`
// apart.
template <class T, int R>
[[gnu::noinline]] void dots(Range own, const T* W, long stride, long k, const T* x, long x_stride, T* y, long y_stride,
                            bool anew) {
  // rows of W at once: enough sums to keep the multipliers busy, as many as the registers hold. No bit of a sum hangs on it.
  constexpr int M = R == 1 || HN_VECTOR_BYTES == 64 ? 4 : 2;
  for (long first = own.begin; first < own.end; first += LANES<T>) {
    const long count = std::min(LANES<T>, own.end - first);
    // a vector for each number of y, whose lanes are summed at the end
    Vec<T> sums[R][LANES<T>]{};
    auto some = [&]<int m>(std::integral_constant<int, m>, long n) {
      const T* from = W + (first + n) * stride;
      Vec<T> of[m][R]{};
      lanes<T>(k, [&](long j, auto part) {
        Vec<T> numbers[R];
        for (int r = 0; r < R; r++) numbers[r] = load(x + r * x_stride + j, part);
        for (int i = 0; i < m; i++) {
          const Vec<T> w = load(from + i * stride + j, part);
          for (int r = 0; r < R; r++) of[i][r] += w * numbers[r];
        }
      });
      for (int i = 0; i < m; i++)
        for (int r = 0; r < R; r++) sums[r][n + i] = of[i][r];
    };
    long n = 0;
    for (; n + M <= count; n += M) some(std::integral_constant<int, M>{}, n);
    for (; n < count; n++) some(std::integral_constant<int, 1>{}, n);
    within<T>(first, own.end, [&](auto part) {
      for (int r = 0; r < R; r++) {
        T* to = y + r * y_stride + first;
        const Vec<T> total = sum_each<T>(sums[r]);
        store(to, anew ? total : total + load(to, part), part);
      }
    });
  }
}

// The same for a number of rows that is known when it is run.
template <class T>
[[gnu::noinline]] void dots(long rows, Range own, const T* W, long stride, long k, const T* x, long x_stride, T* y,
                            long y_stride, bool anew) {
  for (long r = 0; r < rows; r += 4) {
    const T* from = x + r * x_stride;
    T* to = y + r * y_stride;
    switch (std::min(4l, rows - r)) {
      case 1: dots<T, 1>(own, W, stride, k, from, x_stride, to, y_stride, anew); break;
      case 2: dots<T, 2>(own, W, stride, k, from, x_stride, to, y_stride, anew); break;
      case 3: dots<T, 3>(own, W, stride, k, from, x_stride, to, y_stride, anew); break;
      case 4: dots<T, 4>(own, W, stride, k, from, x_stride, to, y_stride, anew); break;
    }
  }
}

constexpr long TURN = 64;  // rows of a matrix that are read in their order, whichever end is the first

// f(rows) for all of `own`, some at a sequence, from the first or, where `turned`, from the last.
template <class F> void some_at_a_time(Range own, bool turned, F f) {
  const long count = (own.end - own.begin + TURN - 1) / TURN;
  for (long i = 0; i < count; i++) {
    const long begin = own.begin + (turned ? count - 1 - i : i) * TURN;
    f(Range{begin, std::min(own.end, begin + TURN)});
  }
}

}  // namespace hn
