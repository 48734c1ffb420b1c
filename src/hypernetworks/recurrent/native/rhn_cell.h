// One highway layer of the Recurrent Highway Network; a step is `depth` of them, one after another. The main cell of HyperRHN.
//
//     h, t  = tanh(pre^h), σ(pre^t)
//     s_l   = m ⊙ h ⊙ t + s_{l-1} ⊙ (1 − t)                           m: the dropout mask, or 1
//
// s_{l-1} and s_l are the h_before and h of a row.
#pragma once

#include "cell.h"

namespace hn {

template <class T> struct RHNCell {
  static constexpr long blocks = 2, apart = 0, stats = 0;
  static constexpr bool has_c = false, adds_h = true;

  long H;
  RowWeights<T> weights;

  void forward(const ForwardRow<T>& row) const {
    lanes<T>(H, [&](long j, auto part) {
      Vec<T> h = tanh<T>(load(row.pre + j, part)), t = sigmoid<T>(load(row.pre + H + j, part));
      const Vec<T> s = load(row.h_before + j, part);
      if (row.mask) h *= load(row.mask + j, part);
      // s_l = m ⊙ h ⊙ t + s_{l-1} ⊙ (1 − t)
      store(row.h + j, s + t * (h - s), part);
    });
  }

  void backward(const BackwardRow<T>& row, const VectorGrads<T>& grads) const {
    lanes<T>(H, [&](long j, auto part) {
      const Vec<T> h = tanh<T>(load(row.pre + j, part)), t = sigmoid<T>(load(row.pre + H + j, part));
      const Vec<T> m = row.mask ? load(row.mask + j, part) : Vec<T>{} + T(1), d = load(row.dh + j, part);
      const Vec<T> dh = d * t * m * (T(1) - h * h), dt = d * (m * h - load(row.h_before + j, part)) * t * (T(1) - t);
      store(row.dpre + j, dh, part);
      store(row.dpre + H + j, dt, part);
      add(grads.bias + j, dh, part);
      add(grads.bias + H + j, dt, part);
      store(row.dh_before + j, d * (T(1) - t), part);
    });
  }
};

}  // namespace hn
