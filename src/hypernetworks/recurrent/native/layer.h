// A layer of a recurrent network in one call, with or without a hyper cell: what its two passes share.
//
//     ĥ_t, ĉ_t = LSTM([x_t; h_{t-1}], ĥ_{t-1}, ĉ_{t-1})                     the hyper cell, of size K
//     z_a = P_a ĥ_t + p_a,  d_a = D_a z_a                                   for each row block a of W_h, W_x and b; no p for b
//     pre = d_h ⊙ W_h h_{t-1} + d_x ⊙ W_x x_t + d_b + b                     without a hyper cell: pre = W_h h_{t-1} + W_x x_t + b
//     h_t = cell(pre)                                                       cell.h
//
// A step of the RHN has several levels (its depth), each a cell with an R and a b of its own on the h of the level before; x and the
// hyper cell belong to level 0. All other networks have one level. Of some blocks the cell needs the part of h apart (cell.h).
// Forward in forward.h, backward in backward.h.
#pragma once

#include "layer_call.h"
#include "lstm_cell.h"
#include "product.h"
#include "sequence.h"

namespace hn {

constexpr long SOME = 8;  // rows that are worked on together between two barriers: their scales stay in the second cache

// The call, with its types; symbols are those of the equations.
template <class T, class Cell> struct Layer {
  static constexpr long G = Cell::blocks, A = Cell::apart, STATS = Cell::stats, HYPER_STATS = LSTMCell<T>::stats;

  explicit Layer(const LayerCall& call)
      : call(call), I(call.input), H(call.hidden), L(call.depth), K(call.hyper), Z(call.embedding), B(call.batch),
        sequence(call.batch_sizes, call.steps, call.reverse), x(in(call.x)), mask(in(call.mask)), W_x(in(call.weight_x)),
        W_h(in(call.weight_h)), b(in(call.bias)), hyper_W_x(in(call.hyper_weight_x)), hyper_W_h(in(call.hyper_weight_h)),
        hyper_b(in(call.hyper_bias)), P(in(call.P)), p(in(call.p)), D(in(call.D)), output(out(call.output)),
        cell{H, {in(call.gain), in(call.shift), in(call.cell_gain), in(call.cell_shift), in(call.bias_h), T(call.eps)}},
        hyper_cell{K, {in(call.hyper_gain), in(call.hyper_shift), in(call.hyper_cell_gain), in(call.hyper_cell_shift), nullptr,
                       T(call.eps)}} {}

  static const T* in(const void* p) { return static_cast<const T*>(p); }
  static T* out(void* p) { return static_cast<T*>(p); }

  const LayerCall& call;
  const long I, H, L, K, Z, B;
  const Sequence sequence;
  const T *x, *mask, *W_x, *W_h, *b, *hyper_W_x, *hyper_W_h, *hyper_b, *P, *p, *D;
  T* output;
  const Cell cell;
  const LSTMCell<T> hyper_cell;

  bool hyper() const { return K > 0; }
  // Blocks whose product on h is added to that on x, and those for which it is kept in wh: all where a hyper cell scales them.
  long summed() const { return hyper() ? 0 : G - A; }
  long kept() const { return G - summed(); }
  // Row widths: [W_x x (G·H); hyper pre (4K)], wh, the state [h (H); ĥ (K)], z.
  long pre_width() const { return G * H + 4 * K; }
  long wh_width() const { return (hyper() ? L * G : A) * H; }
  long state_width() const { return H + K; }
  long z_width() const { return z_blocks() * Z; }
  // Blocks of z and D: L·G of h, G of x, L·G of b, those without a p last.
  long z_blocks() const { return with_p() + L * G; }
  long with_p() const { return L * G + G; }
  // The block of z and D for a gate at a level: of h (0), of b (1), of x (2).
  long block(long level, long of, long gate) const {
    return gate + (of == 0 ? level * G : of == 1 ? with_p() + level * G : L * G);
  }
  // How many scales a gate has at a level.
  static constexpr long scales(long level) { return level == 0 ? 3 : 2; }

  // Row c of [Ŵ_x; Ŵ_h], where it meets h.
  const T* hyper_W_h_on_h(long c) const { return hyper_W_x + c * (I + H) + I; }
  const T* mask_row(long row, long level) const { return mask ? mask + (row * L + level) * H : nullptr; }
  // c_{t-1}, and the h that a level starts from, of row r of a step, of those that are kept.
  const T* c_before(const Step& step, long r) const {
    return Cell::has_c ? step.before_row(r, in(call.saved_c), in(call.c0), H) : nullptr;
  }
  const T* h_before(const Step& step, long r, long level) const {
    return level > 0 ? saved_s(step.first + r, level - 1) : step.before_row(r, in(call.output), in(call.h0), H);
  }
  T* saved_s(long row, long level) const { return out(call.saved_s) + (row * (L - 1) + level) * H; }
};

// Rows for which the scales of one gate are made at once: 3·2 sums each, which the registers hold.
constexpr int TOGETHER = HN_VECTOR_BYTES == 64 ? 4 : 2;

// d_a = D_a z_a of one gate for R rows and one panel of columns: N scales a, of panels D[a] and embeddings z[a], `stride` apart.
template <class T, int N, int R>
inline void scales_of(const T* const (&D)[N], const T* const (&z)[N], long stride, long Z, Vec<T> (&d)[N][R][2]) {
  for (auto& of_a : d)
    for (auto& of_row : of_a)
      for (Vec<T>& v : of_row) v = Vec<T>{};
  for (long i = 0; i < Z; i++)
#pragma GCC unroll 3
    for (int a = 0; a < N; a++) {
      const T* panel = D[a] + i * NR<T>;
      const Vec<T> first = load(panel), second = load(panel + LANES<T>);
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) {
        const T number = z[a][r * stride + i];
        d[a][r][0] += number * first;
        d[a][r][1] += number * second;
      }
    }
}

// pre = d_h ⊙ W_h h + d_x ⊙ W_x x + d_b + b with d_a = D_a z_a, for some rows at one level; deeper ones have no x. D holds panels, z, wx
// and wh the first row's numbers. keep(block, row, column, d, part) sees each d_h (blocks 0 … G − 1) and d_x (G … 2G − 1).
template <class T, class Cell, class Keep> struct ScaledSum {
  const Layer<T, Cell>& layer;
  const T *D, *z, *wx, *wh;
  T *pre, *apart;
  Keep keep;

  static constexpr long G = Cell::blocks, A = Cell::apart;

  void operator()(long level, long count) const {
    if (level == 0) all<3>(level, count);
    else all<2>(level, count);
  }

 private:
  template <int N> void all(long level, long count) const {
    for (long gate = 0; gate < G; gate++)
      for (long p = 0; p < panels<T>(layer.H); p++) {
        long first = 0;
        for (; first + TOGETHER <= count; first += TOGETHER) rows<N, TOGETHER>(level, gate, p, first);
        for (; first < count; first++) rows<N, 1>(level, gate, p, first);
      }
  }

  template <int N, int R> void rows(long level, long gate, long p, long first) const {
    const long H = layer.H, Z = layer.Z;
    const T *D_of[N], *z_of[N];
    for (int a = 0; a < N; a++) {
      const long block = layer.block(level, a, gate);
      D_of[a] = D + block * packed<T>(Z, H) + p * Z * NR<T>;
      z_of[a] = z + first * layer.z_width() + block * Z;
    }
    Vec<T> d[N][R][2];
    scales_of<T, N, R>(D_of, z_of, layer.z_width(), Z, d);
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) {
      const long column = p * NR<T> + v * LANES<T>, at = gate * H + column;
      within<T>(column, H, [&](auto part) {
        const Vec<T> b = load(layer.b + level * G * H + at, part);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
          const long row = first + r;
          const T *of_wh = wh + row * layer.wh_width() + level * G * H + at, *of_wx = wx + row * layer.pre_width() + at;
          __builtin_prefetch(of_wh + NR<T>);  // of the next panel, which the backward pass reads from memory
          if constexpr (N == 3) __builtin_prefetch(of_wx + NR<T>);
          const Vec<T> d_h = d[0][r][v], d_b = d[1][r][v], of_h = load(of_wh, part);
          Vec<T> sum = d_h * of_h;
          if (A > 0 && gate >= G - A) {
            store(apart + (row * A - (G - A)) * H + at, sum, part);
            sum = Vec<T>{};
          }
          if constexpr (N == 3) {
            const Vec<T> d_x = d[2][r][v];
            sum = sum + d_x * load(of_wx, part);
            keep(G + gate, row, column, d_x, part);
          }
          store(pre + row * G * H + at, sum + d_b + b, part);
          keep(gate, row, column, d_h, part);
        }
      });
    }
  }
};

}  // namespace hn
