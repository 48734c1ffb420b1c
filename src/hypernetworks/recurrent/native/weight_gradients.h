// The gradients of weights: aᵀ b for many rows of a, the gradients of a product, and of b, what the matrix was multiplied with.
#pragma once

#include <initializer_list>
#include <vector>

#include "product.h"

namespace hn {

constexpr long DEPTH = 512;  // rows of one pass
constexpr long BLOCK = 48;   // rows of the gradient that are made together, from a packed block
static_assert(BLOCK % MR == 0);

// The memory of add_outer: panels, shared, and a block for each thread.
template <class T> struct OuterSpace { T *panels, *block; };
template <class T> constexpr long outer_block = BLOCK * DEPTH;

// A matrix b (k, n) by its rows, and where its product with aᵀ goes (m, n), by its rows.
template <class T> struct Factor {
  long n;
  const T* const* rows;
  T* const* out;
};

// out (m, n) = or += aᵀ b for each factor: the gradients of weights from k rows of a (m wide, `stride` apart), which are read once for
// all of them. All threads call it together, each writes its own rows of each out.
template <class T>
void add_outer(const Thread& thread, long m, long k, const T* a, long stride, bool overwrite_first, OuterSpace<T> workspace,
               std::initializer_list<Factor<T>> factors) {
  const Range own = thread.share((m + MR - 1) / MR);
  alignas(64) T sums[MR * NR<T>];
  // f(factor, its panels)
  auto each = [&](long depth, auto f) {
    T* of_factor = workspace.panels;
    for (const Factor<T>& factor : factors) {
      f(factor, of_factor);
      of_factor += packed<T>(depth, factor.n);
    }
  };
  for (long first = 0; first < k; first += DEPTH) {
    const long depth = std::min(DEPTH, k - first);
    thread.wait();
    each(depth, [&](const Factor<T>& factor, T* of_factor) {
      pack_rows(thread, of_factor, depth, factor.n, [&](long i) { return factor.rows[first + i]; });
    });
    thread.wait();
    const bool overwrite = overwrite_first && first == 0;
    for (long t0 = own.begin; t0 < own.end; t0 += BLOCK / MR) {
      const long t1 = std::min(own.end, t0 + BLOCK / MR);
      for (long t = t0; t < t1; t++) {
        const T* from = a + first * stride + t * MR;
        T* to = workspace.block + (t - t0) * depth * MR;
        const long rows = std::min(MR, m - t * MR);
        if (rows == MR)
          for (long i = 0; i < depth; i++) __builtin_memcpy(to + i * MR, from + i * stride, MR * sizeof(T));  // inlined, not called
        else
          for (long i = 0; i < depth; i++) std::fill(std::copy_n(from + i * stride, rows, to + i * MR), to + (i + 1) * MR, T(0));
      }
      each(depth, [&](const Factor<T>& factor, const T* of_factor) {
        for (long p = 0; p < panels<T>(factor.n); p++)
          for (long t = t0; t < t1; t++) {
            const long rows = std::min(MR, m - t * MR), column = p * NR<T>;
            for (long r = 0; r < rows; r++)
              for (long c = 0; c < 2; c++) __builtin_prefetch(factor.out[t * MR + r] + column + c * LANES<T>, 1);
            tile<T, MR, 1>(workspace.block + (t - t0) * depth * MR, 1, MR, of_factor + p * depth * NR<T>, NR<T>, 0, depth,
                           Ahead<T>(of_factor + (p + 1) * depth * NR<T>, depth, t - t0, t1 - t0), sums);
            for (long r = 0; r < rows; r++)
              for (long c = 0; c < 2; c++)
                within<T>(column + c * LANES<T>, factor.n, [&](auto part) {
                  T* to = factor.out[t * MR + r] + column + c * LANES<T>;
                  const Vec<T> v = load(sums + r * NR<T> + c * LANES<T>);
                  store(to, overwrite ? v : load(to, part) + v, part);
                });
          }
      });
    }
  }
}

#ifdef HN_TYPE
HN_EXTERN template void add_outer(const Thread&, long, long, const HN_TYPE*, long, bool, OuterSpace<HN_TYPE>,
                                  std::initializer_list<Factor<HN_TYPE>>);
#endif

}  // namespace hn
