// The LSTM, plain or layer-normalised; the main cell of HyperLSTM and the hyper cell of all hyper networks.
//
//     y     = LN_y(pre^y)                                             for the gates y of i, f, g, o
//     c_t   = σ(f) ⊙ c_{t-1} + σ(i) ⊙ m ⊙ tanh g                      m: the dropout mask, or 1
//     h_t   = σ(o) ⊙ tanh(LN_c(c_t))
#pragma once

#include "cell.h"

namespace hn {

template <class T> struct LSTMCell {
  static constexpr long blocks = 4, apart = 0, stats = 10;
  static constexpr bool has_c = true, adds_h = false;

  long H;
  RowWeights<T> weights;

  Vec<T> gate(const T* pre, const T* stats, long block, long j, auto part) const {
    return normalised(weights, H, pre + block * H, stats, block, j, part);
  }

  // LN_c(c) before gain and shift, and with them
  Vec<T> hat_c(const T* c, const T* stats, long j, auto part) const { return centred(c + j, stats + 8, part); }
  Vec<T> scaled_c(Vec<T> hat, long j, auto part) const {
    return hat * load(weights.cell_gain + j, part) + load(weights.cell_shift + j, part);
  }

  void forward(const ForwardRow<T>& row) const;
  void backward(const BackwardRow<T>& row, const VectorGrads<T>& grads) const;
};

template <class T> void LSTMCell<T>::forward(const ForwardRow<T>& row) const {
  const bool norm = weights.norm();
  if (norm)
    for (long block = 0; block < blocks; block++) moments(H, row.pre + block * H, weights.eps, row.stats + 2 * block);
  else
    std::fill_n(row.stats, stats, T(0));
  auto y = [&](long block, long j, auto part) { return gate(row.pre, row.stats, block, j, part); };
  lanes<T>(H, [&](long j, auto part) {
    // c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ m ⊙ tanh g
    Vec<T> added = sigmoid_tanh<T>(y(0, j, part), y(2, j, part));
    if (row.mask) added *= load(row.mask + j, part);
    Vec<T> c = sigmoid<T>(y(1, j, part)) * load(row.c_before + j, part) + added;
    store(row.c + j, c, part);
    if (!norm) store(row.h + j, sigmoid_tanh<T>(y(3, j, part), c), part);
  });
  if (!norm) return;
  moments(H, row.c, weights.eps, row.stats + 8);
  lanes<T>(H, [&](long j, auto part) {
    // h_t = σ(o) ⊙ tanh(LN_c(c_t))
    Vec<T> u = scaled_c(hat_c(row.c, row.stats, j, part), j, part);
    store(row.h + j, sigmoid_tanh<T>(y(3, j, part), u), part);
  });
}

template <class T> void LSTMCell<T>::backward(const BackwardRow<T>& row, const VectorGrads<T>& grads) const {
  const bool norm = weights.norm();
  auto y = [&](long block, long j, auto part) { return gate(row.pre, row.stats, block, j, part); };
  // h = σ(o) ⊙ tanh u, u = LN_c(c)
  Vec<T> sum_d{}, sum_dc{};
  lanes<T>(H, [&](long j, auto part) {
    Vec<T> hat{}, u;
    if (norm) {
      hat = hat_c(row.c, row.stats, j, part);
      u = scaled_c(hat, j, part);
    } else {
      u = load(row.c + j, part);
    }
    Vec<T> top = tanh<T>(u), o = sigmoid<T>(y(3, j, part)), d = load(row.dh + j, part);
    store(row.dpre + 3 * H + j, d * top * o * (T(1) - o), part);
    Vec<T> du = d * o * (T(1) - top * top);
    if (norm) {
      add(grads.cell_gain + j, du * hat, part);
      add(grads.cell_shift + j, du, part);
      du *= load(weights.cell_gain + j, part);
      sum_d += du;
      sum_dc += du * hat;
      store(row.room + j, du, part);
    } else {
      add(row.dc + j, du, part);
    }
  });
  const T mean_d = sum<T>(sum_d) / T(H), mean_dc = sum<T>(sum_dc) / T(H);
  // c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ m ⊙ tanh g
  lanes<T>(H, [&](long j, auto part) {
    Vec<T> d = load(row.dc + j, part);
    if (norm) d += row.stats[9] * (load(row.room + j, part) - mean_d - hat_c(row.c, row.stats, j, part) * mean_dc);
    Vec<T> i = sigmoid<T>(y(0, j, part)), f = sigmoid<T>(y(1, j, part)), g = tanh<T>(y(2, j, part));
    Vec<T> m = row.mask ? load(row.mask + j, part) : Vec<T>{} + T(1);
    store(row.dpre + j, d * m * g * i * (T(1) - i), part);
    store(row.dpre + H + j, d * load(row.c_before + j, part) * f * (T(1) - f), part);
    store(row.dpre + 2 * H + j, d * i * m * (T(1) - g * g), part);
    store(row.dc + j, d * f, part);
  });
  for (long block = 0; block < blocks; block++)
    norm_backward(weights, H, row.pre + block * H, row.stats, block, row.dpre + block * H, grads);
}

#if defined(HN_TYPE) && !defined(HN_LSTM)
extern template struct LSTMCell<HN_TYPE>;  // compiled once, in lstm.cpp, and not for each network with a hyper cell
#endif

}  // namespace hn
