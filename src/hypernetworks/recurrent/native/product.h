// Matrix products for a recurrent network: one large matrix, read anew at every step, times a few rows.
//
// The large matrix is packed once per call into panels of NR columns, [panel][k][NR]: a step then reads it from its first
// byte to its last, in order, and each thread its own panels, which stay in its own cache. One tile is R rows times NR columns (R ≤ 6,
// two vectors), its R·2 sums in registers; 6·2 sums and two vectors of the panel fill the 16 registers of AVX2.
#pragma once

#include "team.h"
#include "vector.h"

namespace hn {

constexpr long MR = 6;                               // rows of a tile
constexpr long ROWS = 24 * MR;                       // rows that one pass over the panels serves: they stay in the second cache
constexpr long DEPTH = 512;                          // k of one pass of add_outer
constexpr long BLOCK = 8 * MR;                       // rows of its packed block
template <class T> constexpr long NR = 2 * LANES<T>; // columns of a panel

template <class T> constexpr long panels(long n) { return (n + NR<T> - 1) / NR<T>; }
template <class T> constexpr long packed(long k, long n) { return panels<T>(n) * NR<T> * k; }

// How much of the vector v (0 or 1) of a panel lies within n columns, as a call f(part); nothing where none does.
template <class T, class F> inline void within(long column, long n, F f) {
  if (column + LANES<T> <= n) f(Whole{});
  else if (column < n) f(Part{n - column});
}

// Panels of a matrix (k, n) given by its columns: column(c) points to k numbers. They become the rows first … first + k of
// panels of depth `depth`; columns beyond n, and those for which column(c) is null, are zeros.
template <class T, class Column>
void pack_columns(const Team& team, T* out, long k, long n, Column column, long first, long depth) {
  Range own = team.share(panels<T>(n));
  for (long p = own.begin; p < own.end; p++) {
    T* panel = out + (p * depth + first) * NR<T>;
    for (long c = 0; c < NR<T>; c++) {
      const T* from = p * NR<T> + c < n ? column(p * NR<T> + c) : nullptr;
      for (long i = 0; i < k; i++) panel[i * NR<T> + c] = from ? from[i] : T(0);
    }
  }
}

// Panels of a matrix (k, n) given by its rows: row(i) points to n numbers.
template <class T, class Row> void pack_rows(const Team& team, T* out, long k, long n, Row row) {
  Range own = team.share(panels<T>(n));
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

// Σ_i a(r, i) b(i, ·) for R rows and P panels: done(r, p, first vector, second vector). a(r, i) = a[r·a_row + i·a_next], row i
// of panel p of b at b[p·b_panel + i·b_next].
template <class T, int R, int P, class Done>
inline void tile(const T* a, long a_row, long a_next, const T* b, long b_next, long b_panel, long k, Done done) {
  Vec<T> sums[R][2 * P];
  for (int r = 0; r < R; r++)
    for (int v = 0; v < 2 * P; v++) sums[r][v] = Vec<T>{};
  for (long i = 0; i < k; i++) {
    Vec<T> panel[2 * P];
    for (int v = 0; v < 2 * P; v++) panel[v] = load(b + (v / 2) * b_panel + (v % 2) * LANES<T>);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      T number = a[r * a_row];
#pragma GCC unroll 8
      for (int v = 0; v < 2 * P; v++) sums[r][v] += number * panel[v];
    }
    a += a_next;
    b += b_next;
  }
  for (int r = 0; r < R; r++)
    for (int p = 0; p < P; p++) done(r, p, sums[r][2 * p], sums[r][2 * p + 1]);
}

// The same for a number of rows that is known when it is run.
template <class T, int P, class Done>
inline void tile_of(long rows, const T* a, long a_row, long a_next, const T* b, long b_next, long b_panel, long k, Done done) {
  switch (rows) {
    case 1: return tile<T, 1, P>(a, a_row, a_next, b, b_next, b_panel, k, done);
    case 2: return tile<T, 2, P>(a, a_row, a_next, b, b_next, b_panel, k, done);
    case 3: return tile<T, 3, P>(a, a_row, a_next, b, b_next, b_panel, k, done);
    case 4: if constexpr (P == 1) return tile<T, 4, P>(a, a_row, a_next, b, b_next, b_panel, k, done); break;
    case 5: if constexpr (P == 1) return tile<T, 5, P>(a, a_row, a_next, b, b_next, b_panel, k, done); break;
    case 6: if constexpr (P == 1) return tile<T, 6, P>(a, a_row, a_next, b, b_next, b_panel, k, done); break;
  }
}

// a (m rows, `stride` apart, k wide) times the panels of `own`: done(row, panel, first vector, second vector).
template <class T, class Done>
void product(long m, const T* a, long stride, const T* b, long k, Range own, Done done) {
  const long panel = k * NR<T>;
  for (long first = 0; first < m; first += ROWS) {
    const long rows = std::min(ROWS, m - first), tiles = (rows + MR - 1) / MR;
    long p = own.begin;
    // With few rows the sums of one panel are too few to keep the multipliers busy: take more panels at once.
    if (rows <= 3)
      for (; p + 2 <= own.end; p += 2)
        tile_of<T, 2>(rows, a + first * stride, stride, 1, b + p * panel, NR<T>, panel, k,
                      [&](long r, long q, Vec<T> u, Vec<T> v) { done(first + r, p + q, u, v); });
    for (; p < own.end; p++)
      for (long t = 0; t < tiles; t++) {
        const long begin = first + rows * t / tiles, end = first + rows * (t + 1) / tiles;
        tile_of<T, 1>(end - begin, a + begin * stride, stride, 1, b + p * panel, NR<T>, panel, k,
                      [&](long r, long, Vec<T> u, Vec<T> v) { done(begin + r, p, u, v); });
      }
  }
}

// The same, written to a matrix of n columns: put(row, column, vector, part) for each vector that lies within.
template <class T, class Put>
void product_into(long m, const T* a, long stride, const T* b, long k, long n, Range own, Put put) {
  product(m, a, stride, b, k, own, [&](long row, long p, Vec<T> u, Vec<T> v) {
    const long column = p * NR<T>;
    within<T>(column, n, [&](auto part) { put(row, column, u, part); });
    within<T>(column + LANES<T>, n, [&](auto part) { put(row, column + LANES<T>, v, part); });
  });
}

// What add_outer needs: panels, shared, and a block for each thread.
template <class T> struct OuterSpace { T *panels, *block; };
template <class T> constexpr long outer_block = BLOCK * DEPTH;

// out (m, n) = or += aᵀ b: the gradient of a weight from k rows of a (m wide, `stride` apart) and of b (row(i), n wide), out
// given by its rows. All threads come in together, each writes its own rows of `out`.
template <class T, class Row, class Out>
void add_outer(const Team& team, long m, long n, long k, const T* a, long stride, Row row, Out out, bool begin_anew,
               OuterSpace<T> space) {
  const Range own = team.share((m + MR - 1) / MR);
  for (long first = 0; first < k; first += DEPTH) {
    const long depth = std::min(DEPTH, k - first);
    team.wait();
    pack_rows(team, space.panels, depth, n, [&](long i) { return row(first + i); });
    team.wait();
    const bool anew = begin_anew && first == 0;
    for (long t0 = own.begin; t0 < own.end; t0 += BLOCK / MR) {
      const long t1 = std::min(own.end, t0 + BLOCK / MR);
      for (long t = t0; t < t1; t++)
        for (long i = 0; i < depth; i++)
          for (long r = 0; r < MR; r++)
            space.block[((t - t0) * depth + i) * MR + r] =
                t * MR + r < m ? a[(first + i) * stride + t * MR + r] : T(0);
      for (long p = 0; p < panels<T>(n); p++)
        for (long t = t0; t < t1; t++) {
          for (long r = 0; r < std::min(MR, m - t * MR); r++) __builtin_prefetch(out(t * MR + r) + p * NR<T>, 1);
          tile<T, MR, 1>(space.block + (t - t0) * depth * MR, 1, MR, space.panels + p * depth * NR<T>, NR<T>, 0, depth,
                         [&](long r, long, Vec<T> u, Vec<T> v) {
                           if (t * MR + r >= m) return;
                           auto put = [&](long column, Vec<T> value) {
                             within<T>(column, n, [&](auto part) {
                               T* to = out(t * MR + r) + column;
                               store(to, anew ? value : load(to, part) + value, part);
                             });
                           };
                           put(p * NR<T>, u);
                           put(p * NR<T> + LANES<T>, v);
                         });
        }
    }
  }
}

}  // namespace hn
