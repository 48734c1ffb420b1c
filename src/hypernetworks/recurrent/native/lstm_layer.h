// A layer of LSTM or HyperLSTM in one call, plain or layer-normalised: what its passes share.
//
//     ĥ_t, ĉ_t = LSTM([x_t; h_{t-1}], ĥ_{t-1}, ĉ_{t-1})                     the hyper cell
//     z_a = P_a ĥ_t + p_a,  d_a = D_a z_a                                   for a of h, x, b and each gate
//     pre = d_h ⊙ W_h h_{t-1} + d_x ⊙ W_x x_t + d_b + b                     (an LSTM: pre = W_h h_{t-1} + W_x x_t + b)
//     h_t, c_t = gates of pre: lstm_cell.h
//
// Forward in lstm_forward.cpp, backward in lstm_backward.cpp.
#pragma once

#include "lstm_cell.h"
#include "lstm.h"
#include "product.h"
#include "sequence.h"

namespace hn {

constexpr long STATS = LSTMCell<float>::stats;
constexpr long SOME = 8;  // rows that are worked on together between two barriers: their scales stay in the second cache

// The call, with its types; symbols are those of the equations.
template <class T> struct Layer {
  explicit Layer(const LSTMCall& call)
      : call(call), I(call.input), H(call.hidden), K(call.hyper), Z(call.embedding), B(call.batch),
        sequence(call.batch_sizes, call.steps, call.reverse), W_x(in(call.weight_x)), W_h(in(call.weight_h)), b(in(call.bias)),
        hyper_W_x(in(call.hyper_weight_x)), hyper_W_h(in(call.hyper_weight_h)), hyper_b(in(call.hyper_bias)),
        P(in(call.P)), p(in(call.p)), D(in(call.D)), x(in(call.x)), mask(in(call.mask)), output(out(call.output)),
        main{H, {in(call.gain), in(call.shift), in(call.cell_gain), in(call.cell_shift), nullptr, T(call.eps)}},
        hyper_lstm{K, {in(call.hyper_gain), in(call.hyper_shift), in(call.hyper_cell_gain), in(call.hyper_cell_shift), nullptr,
                       T(call.eps)}} {}

  static const T* in(const void* p) { return static_cast<const T*>(p); }
  static T* out(void* p) { return static_cast<T*>(p); }

  const LSTMCall& call;
  const long I, H, K, Z, B;
  const Sequence sequence;
  const T *W_x, *W_h, *b, *hyper_W_x, *hyper_W_h, *hyper_b, *P, *p, *D, *x, *mask;
  T* output;
  const LSTMCell<T> main, hyper_lstm;

  bool hyper() const { return K > 0; }
  // Row widths: [W_x x (4H); hyper pre (4K)], the state [h (H); ĥ (K)], z.
  long pre_width() const { return 4 * H + 4 * K; }
  long state_width() const { return H + K; }
  long z_width() const { return 12 * Z; }

  // Row c of [W_x; Ŵ_x].
  const T* input_row(long c) const { return c < 4 * H ? W_x + c * I : hyper_W_x + (c - 4 * H) * (I + H); }
  // Row c of [W_h; Ŵ_h].
  const T* recurrent_row(long c) const { return c < 4 * H ? W_h + c * H : hyper_W_h_on_h(c - 4 * H); }
  const T* hyper_W_h_on_h(long c) const { return hyper_W_x + c * (I + H) + I; }
  const T* mask_row(long row) const { return mask ? mask + row * H : nullptr; }
  // c_{t-1} of row r of a step, of those that are kept.
  const T* c_before(const Step& step, long r) const {
    return step.before_row(r, in(call.saved_c), in(call.c0), H);
  }
};

// Rows for which the scales of one gate are made at once: 3·2 sums each, which the registers hold.
constexpr int TOGETHER = HN_VECTOR_BYTES == 64 ? 4 : 2;

// d_a = D_a z_a of one gate for R rows and one panel of columns: a of h, x, b, whose panels and z lie `next_D` and `next_z` apart.
template <class T, int R>
inline void scales_of(const T* D, long next_D, const T* z, long next_z, long stride, long Z, Vec<T> (&d)[3][R][2]) {
  for (auto& of_a : d)
    for (auto& of_row : of_a)
      for (Vec<T>& v : of_row) v = Vec<T>{};
  for (long i = 0; i < Z; i++)
#pragma GCC unroll 3
    for (int a = 0; a < 3; a++) {
      const T* panel = D + a * next_D + i * NR<T>;
      const Vec<T> first = load(panel), second = load(panel + LANES<T>);
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) {
        const T number = z[a * next_z + r * stride + i];
        d[a][r][0] += number * first;
        d[a][r][1] += number * second;
      }
    }
}

// pre = d_h ⊙ W_h h + d_x ⊙ W_x x + d_b + b with d_a = D_a z_a, for some rows; keep(block of d, row, column, d, part) sees each d_h
// and d_x: blocks 0 to 3 and 4 to 7.
template <class T, class Keep>
void scaled_sum(const Layer<T>& layer, const T* D, long count, const T* z, const T* wx, const T* wh, T* pre, Keep keep) {
  const long H = layer.H, Z = layer.Z, next = packed<T>(Z, H);
  auto rows = [&]<int R>(std::integral_constant<int, R>, long first, long gate, long p) {
    Vec<T> d[3][R][2];
    scales_of<T, R>(D + gate * next + p * Z * NR<T>, 4 * next, z + first * layer.z_width() + gate * Z, 4 * Z, layer.z_width(), Z, d);
#pragma GCC unroll 2
    for (int v = 0; v < 2; v++) {
      const long column = p * NR<T> + v * LANES<T>, at = gate * H + column;
      within<T>(column, H, [&](auto part) {
        const Vec<T> b = load(layer.b + at, part);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
          const long row = first + r;
          const Vec<T> d_h = d[0][r][v], d_x = d[1][r][v], d_b = d[2][r][v];
          const Vec<T> of_h = load(wh + row * 4 * H + at, part), of_x = load(wx + row * layer.pre_width() + at, part);
          store(pre + row * 4 * H + at, d_h * of_h + d_x * of_x + d_b + b, part);
          keep(gate, row, column, d_h, part);
          keep(4 + gate, row, column, d_x, part);
        }
      });
    }
  };
  for (long gate = 0; gate < 4; gate++)
    for (long p = 0; p < panels<T>(H); p++) {
      long first = 0;
      for (; first + TOGETHER <= count; first += TOGETHER) rows(std::integral_constant<int, TOGETHER>{}, first, gate, p);
      for (; first < count; first++) rows(std::integral_constant<int, 1>{}, first, gate, p);
    }
}

}  // namespace hn
