// The plain recurrent network, with or without layer norm; the main cell of HyperRNN, where that scales rows.
//
//     h_t = m ⊙ tanh(LN(pre))                                         m: the dropout mask, or 1
#pragma once

#include "cell.h"

namespace hn {

template <class T> struct RNNCell {
  static constexpr long blocks = 1, apart = 0, stats = 2;
  static constexpr bool has_c = false, adds_h = false;

  long H;
  RowWeights<T> weights;

  Vec<T> tanh_of(const T* pre, const T* stats, long j, auto part) const {
    return tanh<T>(normalised(weights, H, pre, stats, 0, j, part));
  }

  void forward(const ForwardRow<T>& row) const {
    if (weights.norm()) moments(H, row.pre, weights.eps, row.stats);
    else std::fill_n(row.stats, stats, T(0));
    lanes<T>(H, [&](long j, auto part) {
      // h_t = m ⊙ tanh(LN(pre))
      Vec<T> h = tanh_of(row.pre, row.stats, j, part);
      if (row.mask) h *= load(row.mask + j, part);
      store(row.h + j, h, part);
    });
  }

  void backward(const BackwardRow<T>& row, const VectorGrads<T>& grads) const {
    lanes<T>(H, [&](long j, auto part) {
      Vec<T> y = tanh_of(row.pre, row.stats, j, part), d = load(row.dh + j, part);
      if (row.mask) d *= load(row.mask + j, part);
      store(row.dpre + j, d * (T(1) - y * y), part);
    });
    norm_backward(weights, H, row.pre, row.stats, 0, row.dpre, grads);
  }
};

}  // namespace hn
