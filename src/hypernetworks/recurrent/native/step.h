// Products for one step of a few rows without packing: each number of the matrix is used once, so reading it is all there is.
#pragma once

#include "team.h"
#include "vector.h"

namespace hn {

// y (R rows, `y_stride` apart) = or += x Wᵀ in the columns `own`: W (·, k) row-major, its rows `stride` apart; x rows `x_stride`
// apart.
template <class T, int R>
[[gnu::noinline]] void dots(Range own, const T* W, long stride, long k, const T* x, long x_stride, T* y, long y_stride,
                            bool anew) {
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
      for (int r = 0; r < R; r++) {
        T& to = y[r * y_stride + n + i];
        to = sum<T>(sums[i][r]) + (anew ? T(0) : to);
      }
    n += m;
  };
  while (n + M <= own.end) some(std::integral_constant<int, M>{});
  while (n < own.end) some(std::integral_constant<int, 1>{});
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

}  // namespace hn
