// Products for one step of a few rows: each number of the matrix is used once, so the time is that of reading it.
//
// What one step read last is in the cache when the next begins. Where the weights are larger than the cache, a step that reads them
// from their other end finds it there; one that begins where the last began finds nothing.
#pragma once

#include "storage.h"
#include "threads.h"

namespace hn {

// y (R rows, `y_stride` apart) = or += x Wᵀ in the columns `own`, k numbers each.
template <class S, int R>
[[gnu::noinline]] void dots(Range own, const Matrix<S>& W, long k, const Vectors<S>& x, typename S::T* y, long y_stride,
                            bool overwrite) {
  using T = typename S::T;
  // rows of W at once: enough sums to keep the multipliers busy, as many as the registers hold. No bit of a sum depends on it.
  constexpr int M = R == 1 || HN_VECTOR_BYTES == 64 ? 4 : 2;
  for (long first = own.begin; first < own.end; first += LANES<T>) {
    const long count = std::min(LANES<T>, own.end - first);
    // a vector for each number of y, whose lanes are summed at the end
    Vec<T> sums[R][LANES<T>]{};
    auto some = [&]<int m>(std::integral_constant<int, m>, long n) {
      Vec<T> of[m][R]{};
      RowSums<S, m, R>::add(W.from(first + n), k, x, of);
      for (int i = 0; i < m; i++)
        for (int r = 0; r < R; r++) sums[r][n + i] = of[i][r];
    };
    long n = 0;
    for (; n + M <= count; n += M) some(std::integral_constant<int, M>{}, n);
    for (; n < count; n++) some(std::integral_constant<int, 1>{}, n);
    within<T>(first, own.end, [&](auto part) {
      for (int r = 0; r < R; r++) {
        T* to = y + r * y_stride + first;
        const Vec<T> total = sum_each<T>(sums[r]), before = overwrite ? Vec<T>{} : load(to, part);
        store(to, W.scale ? multiply_add(total, load(W.scale + first, part) * x.scale[r], before) : total + before, part);
      }
    });
  }
}

// The same for a number of rows that is known when it is run.
template <class S>
[[gnu::noinline]] void dots(long rows, Range own, const Matrix<S>& W, long k, const Vectors<S>& x, typename S::T* y, long y_stride,
                            bool overwrite) {
  for (long r = 0; r < rows; r += 4) {
    const Vectors<S> from = x.from(r);
    typename S::T* to = y + r * y_stride;
    switch (std::min(4l, rows - r)) {
      case 1: dots<S, 1>(own, W, k, from, to, y_stride, overwrite); break;
      case 2: dots<S, 2>(own, W, k, from, to, y_stride, overwrite); break;
      case 3: dots<S, 3>(own, W, k, from, to, y_stride, overwrite); break;
      case 4: dots<S, 4>(own, W, k, from, to, y_stride, overwrite); break;
    }
  }
}

constexpr long TURN = 64;  // rows of a matrix that are read in their order, whichever end is the first

// f(rows) for all of `own`, some at a time, from the first or, where `reversed`, from the last.
template <class F> void some_at_a_time(Range own, bool reversed, F f) {
  const long count = (own.end - own.begin + TURN - 1) / TURN;
  for (long i = 0; i < count; i++) {
    const long begin = own.begin + (reversed ? count - 1 - i : i) * TURN;
    f(Range{begin, std::min(own.end, begin + TURN)});
  }
}

}  // namespace hn
