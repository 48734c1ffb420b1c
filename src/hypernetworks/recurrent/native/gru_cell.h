// The GRU, plain or layer-normalised; the main cell of HyperGRU.
//
//     r, u  = σ(LN_r(pre^r)), σ(LN_u(pre^u))
//     n     = tanh(LN_n(pre^n + r ⊙ (apart + b_h)))                   apart: W_h^n h, scaled or not
//     h_t   = (1 − u) ⊙ m ⊙ n + u ⊙ h_{t-1}                           m: the dropout mask, or 1
#pragma once

#include "cell.h"

namespace hn {

template <class T> struct GRUCell {
  static constexpr long blocks = 3, apart = 1, stats = 6;
  static constexpr bool has_c = false, adds_h = true;

  long H;
  RowWeights<T> weights;

  Vec<T> gate(const T* pre, const T* stats, long block, long j, auto part) const {
    return normalised(weights, H, pre + block * H, stats, block, j, part);
  }

  // apart + b_h
  Vec<T> n_h(const T* apart, long j, auto part) const {
    return weights.bias_h ? load(apart + j, part) + load(weights.bias_h + j, part) : load(apart + j, part);
  }

  void forward(const ForwardRow<T>& row) const {
    const bool norm = weights.norm();
    std::fill_n(row.stats, stats, T(0));
    if (norm)
      for (long block = 0; block < 2; block++) moments(H, row.pre + block * H, weights.eps, row.stats + 2 * block);
    // pre^n + r ⊙ (apart + b_h)
    auto candidate = [&](long j, auto part) {
      Vec<T> r = sigmoid<T>(gate(row.pre, row.stats, 0, j, part));
      return load(row.pre + 2 * H + j, part) + r * n_h(row.apart, j, part);
    };
    // h_t = (1 − u) ⊙ m ⊙ n + u ⊙ h_{t-1}, from what n is the tanh of
    auto finish = [&](Vec<T> y, long j, auto part) {
      Vec<T> n = tanh<T>(y), u = sigmoid<T>(gate(row.pre, row.stats, 1, j, part));
      if (row.mask) n *= load(row.mask + j, part);
      store(row.h + j, n + u * (load(row.h_before + j, part) - n), part);
    };
    if (!norm) {
      lanes<T>(H, [&](long j, auto part) { finish(candidate(j, part), j, part); });
      return;
    }
    lanes<T>(H, [&](long j, auto part) { store(row.room + j, candidate(j, part), part); });
    moments(H, row.room, weights.eps, row.stats + 4);
    lanes<T>(H, [&](long j, auto part) { finish(normalised(weights, H, row.room, row.stats, 2, j, part), j, part); });
  }

  void backward(const BackwardRow<T>& row, const VectorGrads<T>& grads) const {
    T *dr = row.dpre, *du = row.dpre + H, *dn = row.dpre + 2 * H;
    // room: pre^n + r ⊙ (apart + b_h), and r is kept where the gradient of apart will be
    lanes<T>(H, [&](long j, auto part) {
      Vec<T> r = sigmoid<T>(gate(row.pre, row.stats, 0, j, part));
      store(row.dapart + j, r, part);
      store(row.room + j, load(row.pre + 2 * H + j, part) + r * n_h(row.apart, j, part), part);
    });
    // h_t = (1 − u) ⊙ m ⊙ n + u ⊙ h_{t-1}
    lanes<T>(H, [&](long j, auto part) {
      Vec<T> n = tanh<T>(normalised(weights, H, row.room, row.stats, 2, j, part));
      Vec<T> u = sigmoid<T>(gate(row.pre, row.stats, 1, j, part)), d = load(row.dh + j, part);
      Vec<T> m = row.mask ? load(row.mask + j, part) : Vec<T>{} + T(1);
      store(du + j, d * (load(row.h_before + j, part) - m * n) * u * (T(1) - u), part);
      store(dn + j, d * (T(1) - u) * m * (T(1) - n * n), part);
      store(row.dh_before + j, d * u, part);
    });
    norm_backward(weights, H, row.room, row.stats, 2, dn, grads);
    // pre^n + r ⊙ (apart + b_h)
    lanes<T>(H, [&](long j, auto part) {
      Vec<T> r = load(row.dapart + j, part), d = load(dn + j, part), of_h = d * r;
      store(dr + j, d * n_h(row.apart, j, part) * r * (T(1) - r), part);
      store(row.dapart + j, of_h, part);
      add(grads.bias_h + j, of_h, part);
    });
    for (long block = 0; block < 2; block++)
      norm_backward(weights, H, row.pre + block * H, row.stats, block, row.dpre + block * H, grads);
  }
};

}  // namespace hn
