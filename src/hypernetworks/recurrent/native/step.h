// Products for one step of a few rows without packing: each number of the matrix is used once, so reading it is all there is.
#pragma once

#include "team.h"
#include "vector.h"

namespace hn {

// put(row of W, row of x, W x) for the rows of W in `own`: W (·, k) row-major, its rows `stride` apart; x rows `x_stride` apart.
template <class T, int R, class Put>
inline void dots(Range own, const T* W, long stride, long k, const T* x, long x_stride, Put put) {
  constexpr int M = R == 1 ? 4 : R == 2 ? 3 : 2;  // rows of W at once: enough sums to keep the multipliers busy
  long n = own.begin;
  auto some = [&](auto count) {
    constexpr int m = decltype(count)::value;
    Vec<T> sums[m][R]{};
    lanes<T>(k, [&](long j, auto part) {
      Vec<T> numbers[R];
      for (int r = 0; r < R; r++) numbers[r] = load(x + r * x_stride + j, part);
      for (int i = 0; i < m; i++) {
        const Vec<T> w = load(W + (n + i) * stride + j, part);
        for (int r = 0; r < R; r++) sums[i][r] += w * numbers[r];
      }
    });
    for (int i = 0; i < m; i++)
      for (int r = 0; r < R; r++) put(n + i, r, sum<T>(sums[i][r]));
    n += m;
  };
  while (n + M <= own.end) some(std::integral_constant<int, M>{});
  while (n < own.end) some(std::integral_constant<int, 1>{});
}

template <class T, class Put>
inline void dots(long rows, Range own, const T* W, long stride, long k, const T* x, long x_stride, Put put) {
  long r = 0;
  auto from = [&](long first) { return [&put, first](long n, long i, T value) { put(n, first + i, value); }; };
  for (; r + 4 <= rows; r += 4) dots<T, 4>(own, W, stride, k, x + r * x_stride, x_stride, from(r));
  if (rows - r == 3) dots<T, 3>(own, W, stride, k, x + r * x_stride, x_stride, from(r));
  if (rows - r == 2) dots<T, 2>(own, W, stride, k, x + r * x_stride, x_stride, from(r));
  if (rows - r == 1) dots<T, 1>(own, W, stride, k, x + r * x_stride, x_stride, from(r));
}

}  // namespace hn
