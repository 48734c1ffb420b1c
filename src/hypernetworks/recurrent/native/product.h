// Matrix products for a recurrent network: one large matrix, read at every step, times a few rows.
//
// The large matrix is packed once per call into panels of NR columns, [panel][k][NR]: a step then reads it from its first
// byte to its last, in order, and each thread its own panels, which stay in its own cache. One tile is R rows times NR columns (R ≤ MR,
// two vectors), its R·2 sums in registers: 6·2 sums and two vectors of the panel fill the 16 registers of AVX2, 12·2 and two fit
// into the 32 of AVX-512. While one panel is multiplied the next is fetched, a few lines every UNROLL numbers: a matrix too
// large for the second cache would stall the multipliers.
#pragma once

#include <utility>

#include "threads.h"
#include "vector.h"

namespace hn {

constexpr long MR = HN_VECTOR_BYTES == 64 ? 12 : 6;  // rows of a tile
constexpr long FEW = 3;                              // rows for which a tile has two panels
constexpr long ROWS = 144;                           // rows that one pass over the panels serves: they stay in the second cache
constexpr long PASS = 1024;                          // k of one pass over the panels, for the same reason; shorter sums are also more exact
constexpr long UNROLL = 16;                          // k between two fetches
constexpr int SUMS = 8;                              // this number at once keeps the multipliers busy
constexpr long LINE = 64;                            // bytes that are fetched at once
static_assert(ROWS % MR == 0);
template <class T> constexpr long NR = 2 * LANES<T>; // columns of a panel

template <class T> constexpr long panels(long n) { return (n + NR<T> - 1) / NR<T>; }
template <class T> constexpr long packed(long k, long n) { return panels<T>(n) * NR<T> * k; }

// Panels of a matrix (k, n) given by its columns: column(c) points to k numbers. They become the rows first … first + k of
// panels of depth `depth`; columns beyond n, and those for which column(c) is null, are zeros.
template <class T, class Column>
void pack_columns(const Thread& thread, T* out, long k, long n, Column column, long first, long depth) {
  Range own = thread.share(panels<T>(n));
  for (long p = own.begin; p < own.end; p++) {
    T* panel = out + (p * depth + first) * NR<T>;
    for (long c = 0; c < NR<T>; c++) {
      const T* from = p * NR<T> + c < n ? column(p * NR<T> + c) : nullptr;
      for (long i = 0; i < k; i++) panel[i * NR<T> + c] = from ? from[i] : T(0);
    }
  }
}

// Panels of a matrix (k, n) given by its rows: row(i) points to n numbers.
template <class T, class Row> void pack_rows(const Thread& thread, T* out, long k, long n, Row row) {
  Range own = thread.share(panels<T>(n));
  for (long p = own.begin; p < own.end; p++) {
    for (long i = 0; i < k; i++) {
      const T* from = row(i) + p * NR<T>;
      T* to = out + (p * k + i) * NR<T>;
      if ((p + 1) * NR<T> <= n) {
        store(to, load(from));
        store(to + LANES<T>, load(from + LANES<T>));
      } else {
        for (long c = 0; c < NR<T>; c++) to[c] = p * NR<T> + c < n ? from[c] : T(0);
      }
    }
  }
}

// The next panel, to be fetched into the second cache while this one is multiplied: `lines` lines from `from` on every UNROLL
// numbers. (Into the first it would drive out this one.)
template <class T> struct Ahead {
  const T* from;
  long lines;

  Ahead() : from(nullptr), lines(0) {}
  // Part t of `parts` of a panel of depth k.
  Ahead(const T* panel, long k, long t, long parts)
      : from(panel + k * t / parts * NR<T>), lines((UNROLL * NR<T> * long(sizeof(T)) / LINE + parts - 1) / parts) {}
  void fetch() {
    for (long i = 0; i < lines; i++, from += LINE / sizeof(T)) __builtin_prefetch(from, 0, 2);
  }
};

// out (R, P·NR) = Σ_i a(r, i) b(i, ·) for R rows and P panels. a(r, i) = a[r·a_row + i·a_next], row i of panel p of b at
// b[p·b_panel + i·b_next].
template <class T, int R, int P>
[[gnu::noinline]] void tile(const T* a, long a_row, long a_next, const T* b, long b_next, long b_panel, long k, Ahead<T> ahead,
                            T* out) {
  // A sum waits for the one before: with few of them each is made as several, of every `chains`-th number of k.
  constexpr int chains = R * 2 * P >= SUMS ? 1 : SUMS / (R * 2 * P);
  Vec<T> sums[chains][R][2 * P]{};
  auto next = [&](int chain) {
    Vec<T> panel[2 * P];
    for (int v = 0; v < 2 * P; v++) panel[v] = load(b + (v / 2) * b_panel + (v % 2) * LANES<T>);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      T number = a[r * a_row];
#pragma GCC unroll 8
      for (int v = 0; v < 2 * P; v++) sums[chain][r][v] += number * panel[v];
    }
    a += a_next;
    b += b_next;
  };
  long i = 0;
  for (; i + UNROLL <= k; i += UNROLL) {
    ahead.fetch();
#pragma GCC unroll 4
    for (long u = 0; u < UNROLL; u += chains)
#pragma GCC unroll 4
      for (int chain = 0; chain < chains; chain++) next(chain);
  }
  for (; i < k; i++) next(0);
  for (int r = 0; r < R; r++)
    for (int v = 0; v < 2 * P; v++) {
      for (int chain = 1; chain < chains; chain++) sums[0][r][v] += sums[chain][r][v];
      store(out + (r * 2 * P + v) * LANES<T>, sums[0][r][v]);
    }
}

// The same for a number of rows that is known when it is run.
template <class T, int P>
inline void tile_of(long rows, const T* a, long a_row, long a_next, const T* b, long b_next, long b_panel, long k, Ahead<T> ahead,
                    T* out) {
  auto run = [&]<int... R>(std::integer_sequence<int, R...>) {
    (void)((rows == R + 1 && (tile<T, R + 1, P>(a, a_row, a_next, b, b_next, b_panel, k, ahead, out), true)) || ...);
  };
  run(std::make_integer_sequence<int, P == 1 ? MR : FEW>{});
}

// The order in which panels are read. What a step read last is in the cache when the next step begins: where the matrix is larger
// than the cache, a step that begins at the other end finds it there, and one that begins at the same end finds nothing.
enum class From { start, end };
inline From other_end_each(long step) { return step % 2 ? From::end : From::start; }

// What `done` of a product touches, to be fetched while the tile before it is made: nothing.
struct Nothing { void operator()(long, long) const {} };

// a (m rows, `stride` apart) times the rows `depth` of the panels of `own`, each of k rows: done(row, panel, first vector, second
// vector), and before the tile that they come from fetch(row, panel).
template <class T, class Done, class Fetch = Nothing>
void product(long m, const T* a, long stride, const T* b, long k, Range depth, Range own, Done done, From from = From::start,
             Fetch fetch = {}) {
  const long panel = k * NR<T>, length = depth.end - depth.begin, count = own.end - own.begin;
  const T* rows_of = b + depth.begin * NR<T>;
  a += depth.begin;
  alignas(64) T sums[std::max(MR, 2 * FEW) * NR<T>];
  for (long first = 0; first < m; first += ROWS) {
    const long rows = std::min(ROWS, m - first), tiles = (rows + MR - 1) / MR;
    auto at = [&](long i) { return from == From::start ? own.begin + i : own.end - 1 - i; };
    long i = 0;
    // With few rows the sums of one panel are too few to keep the multipliers busy: take two panels at once.
    if (rows <= FEW)
      for (; i + 2 <= count; i += 2) {
        const long p = std::min(at(i), at(i + 1));
        tile_of<T, 2>(rows, a + first * stride, stride, 1, rows_of + p * panel, NR<T>, panel, length, {}, sums);
        for (long r = 0; r < rows; r++)
          for (long q = 0; q < 2; q++) {
            const T* of = sums + (r * 2 + q) * NR<T>;
            done(first + r, p + q, load(of), load(of + LANES<T>));
          }
      }
    for (; i < count; i++)
      for (long t = 0; t < tiles; t++) {
        const long p = at(i), next = at(i + 1 < count ? i + 1 : 0);
        const long begin = rows * t / tiles, end = rows * (t + 1) / tiles;
        for (long r = begin; r < end; r++) fetch(first + r, p);
        tile_of<T, 1>(end - begin, a + (first + begin) * stride, stride, 1, rows_of + p * panel, NR<T>, 0,
                        length, Ahead<T>(rows_of + next * panel, length, t, tiles), sums);
        for (long r = begin; r < end; r++) {
          const T* of = sums + (r - begin) * NR<T>;
          done(first + r, p, load(of), load(of + LANES<T>));
        }
      }
  }
}

// The same for all of k.
template <class T, class Done>
void product(long m, const T* a, long stride, const T* b, long k, Range own, Done done) {
  product(m, a, stride, b, k, {0, k}, own, done);
}

// The same, into a matrix c of n columns, its rows `c_stride` apart: put(place in c, column, vector, part) for each vector within
// its columns.
template <class T, class Put>
void product_into(long m, const T* a, long stride, const T* b, long k, long n, Range depth, Range own, T* c, long c_stride, Put put,
                  From from = From::start) {
  auto done = [&](long row, long p, Vec<T> u, Vec<T> v) {
    const long column = p * NR<T>;
    T* to = c + row * c_stride + column;
    within<T>(column, n, [&](auto part) { put(to, column, u, part); });
    within<T>(column + LANES<T>, n, [&](auto part) { put(to + LANES<T>, column + LANES<T>, v, part); });
  };
  auto fetch = [&](long row, long p) {
    const T* to = c + row * c_stride + p * NR<T>;
    __builtin_prefetch(to, 1);
    __builtin_prefetch(to + LANES<T>, 1);
  };
  product(m, a, stride, b, k, depth, own, done, from, fetch);
}

// The columns `own` of c (m, n; rows `c_stride` apart) = or += a b.
template <class T>
[[gnu::noinline]] void product_to(long m, const T* a, long stride, const T* b, long k, long n, Range own, T* c, long c_stride,
                                  bool overwrite, From from = From::start) {
  const long passes = m <= FEW ? 1 : std::max(1l, (k + PASS - 1) / PASS);  // few rows stay in the cache however long they are
  for (long i = 0; i < passes; i++, overwrite = false) {
    auto put = [&](T* to, long, Vec<T> v, auto part) { store(to, overwrite ? v : load(to, part) + v, part); };
    product_into(m, a, stride, b, k, n, {k * i / passes, k * (i + 1) / passes}, own, c, c_stride, put, from);
  }
}

// y = a Bᵀ in M columns (M ≤ LANES), for a row a that is n wide and panels b of a matrix B (k, n).
template <class T, int M> [[gnu::noinline]] void transposed_tile(const T* a, const T* b, long k, long n, T* y) {
  Vec<T> sums[LANES<T>]{};
  // No lambda that captures the sums: with one, GCC keeps them in memory.
  for (long column = 0; column < n; column += NR<T>, b += k * NR<T>)
    for (long v = 0; v < 2 && column + v * LANES<T> < n; v++) {
      const T* from = a + column + v * LANES<T>;
      const long left = n - column - v * LANES<T>;
      const Vec<T> numbers = left >= LANES<T> ? load(from) : load(from, Part{left});
#pragma GCC unroll 16
      for (int i = 0; i < M; i++) sums[i] += numbers * load(b + i * NR<T> + v * LANES<T>);
    }
  if constexpr (M == LANES<T>) store(y, sum_each<T>(sums));
  else store(y, sum_each<T>(sums), Part{M});
}

// The same for m rows, `stride` and `y_stride` apart, and all k columns.
template <class T>
void product_transposed(long m, const T* a, long stride, const T* b, long k, long n, T* y, long y_stride) {
  constexpr int most = LANES<T>, some = std::min(4, most);
  for (long r = 0; r < m; r++, a += stride, y += y_stride) {
    long i = 0;
    for (; i + most <= k; i += most) transposed_tile<T, most>(a, b + i * NR<T>, k, n, y + i);
    for (; i + some <= k; i += some) transposed_tile<T, some>(a, b + i * NR<T>, k, n, y + i);
    for (; i < k; i++) transposed_tile<T, 1>(a, b + i * NR<T>, k, n, y + i);
  }
}

#ifdef HN_TYPE
// Compiled once, in product.cpp, and not for each network. Tiles are not: each caller has one made for its strides.
#ifndef HN_EXTERN
#define HN_EXTERN extern
#endif
HN_EXTERN template void product_to(long, const HN_TYPE*, long, const HN_TYPE*, long, long, Range, HN_TYPE*, long, bool, From);
HN_EXTERN template void product_transposed(long, const HN_TYPE*, long, const HN_TYPE*, long, long, HN_TYPE*, long);
#endif

}  // namespace hn
