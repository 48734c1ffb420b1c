// What the cells of all networks share: what a row of a step is given, forward and backward, and the layer norm.
//
// A cell is a policy: a class of the weights that act on single rows, with
//
//     blocks          row blocks of W_x, each H rows: one for each gate and candidate
//     apart           how many of the last blocks need W_h h and W_x x one by one and not as a sum
//     stats           what the layer norms of a row keep for the backward pass: mean and 1/σ of each
//     has_c           whether the state has a c
//     adds_h          whether h_{t-1} acts on h_t directly, not only through W_h
//     forward(row)    from the products to the new state
//     backward(row)   from the gradient of the new state to those of the products and of the state before
//
// Products, scales of a hyper network, weight gradients, threads and the order of steps are the driver's: forward.h, backward.h.
// A row holds its blocks one after another, each H wide.
#pragma once

#include <algorithm>
#include <cmath>

#include "vector.h"

namespace hn {

// The weights that act on single rows. Without gain there is no layer norm: LN(a) = a.
template <class T> struct RowWeights {
  const T *gain, *shift, *cell_gain, *cell_shift, *bias_h;
  T eps;
  bool norm() const { return gain != nullptr; }
};

// What one thread's rows add to the gradients of the vectors; those of a norm are not touched where there is none.
template <class T> struct VectorGrads { T *bias, *bias_h, *gain, *shift, *cell_gain, *cell_shift; };

// A row forward. h may be h_before, and c may be c_before.
template <class T> struct ForwardRow {
  const T* pre;       // blocks·H: d_h ⊙ W_h h + d_x ⊙ W_x x + d_b + b; of a block apart without its part of h
  const T* apart;     // apart·H: d_h ⊙ W_h h of the blocks apart
  const T* mask;      // H: the dropout mask, or null
  const T *h_before, *c_before;
  T *h, *c;
  T* stats;           // written in any case
  T* room;            // H numbers for the cell's own use
};

// A row backward: dh is the whole gradient of h_t.
template <class T> struct BackwardRow {
  const T *pre, *apart, *mask, *h_before, *c_before, *c, *stats, *dh;
  T* dc;              // of c_t, becomes that of c_{t-1}
  T *dpre, *dapart;   // of pre and of apart
  T* dh_before;       // of h_{t-1}, its direct part, where the cell adds h; may be where dh is
  T* room;            // H numbers for the cell's own use
};

// stats = mean(a), 1 / sqrt(var(a) + ε)
template <class T> inline void moments(long H, const T* a, T eps, T* stats) {
  Vec<T> total{};
  lanes<T>(H, [&](long j, auto part) { total += load(a + j, part); });
  const T mean = sum<T>(total) / T(H);
  Vec<T> squares{};
  lanes<T>(H, [&](long j, auto part) {
    Vec<T> d = keep(load(a + j, part) - mean, part);
    squares += d * d;
  });
  stats[0] = mean;
  stats[1] = T(1) / std::sqrt(sum<T>(squares) / T(H) + eps);
}

// (a − mean) / σ
template <class T> inline Vec<T> centred(const T* a, const T* stats, auto part) {
  return (load(a, part) - stats[0]) * stats[1];
}

// LN(a) of block `block` at j; `a` is the block's first number.
template <class T>
inline Vec<T> normalised(const RowWeights<T>& weights, long H, const T* a, const T* stats, long block, long j, auto part) {
  if (!weights.norm()) return load(a + j, part);
  return centred(a + j, stats + 2 * block, part) * load(weights.gain + block * H + j, part) +
         load(weights.shift + block * H + j, part);
}

// From d, the gradient of LN(a) of a block, to that of a, in place; without a norm it is d. Adds to the vectors' gradients.
template <class T>
inline void norm_backward(const RowWeights<T>& weights, long H, const T* a, const T* stats, long block, T* d,
                          const VectorGrads<T>& grads) {
  T* bias = grads.bias + block * H;
  if (!weights.norm()) {
    lanes<T>(H, [&](long j, auto part) { add(bias + j, load(d + j, part), part); });
    return;
  }
  // da = (d ⊙ gain − mean(d ⊙ gain) − hat ⊙ mean(d ⊙ gain ⊙ hat)) / σ
  const T *of = stats + 2 * block, *gain = weights.gain + block * H;
  Vec<T> first{}, second{};
  lanes<T>(H, [&](long j, auto part) {
    Vec<T> dy = load(d + j, part), hat = centred(a + j, of, part);
    add(grads.gain + block * H + j, dy * hat, part);
    add(grads.shift + block * H + j, dy, part);
    dy *= load(gain + j, part);
    first += dy;
    second += dy * hat;
  });
  const T mean = sum<T>(first) / T(H), mean_hat = sum<T>(second) / T(H);
  lanes<T>(H, [&](long j, auto part) {
    Vec<T> v = of[1] * (load(d + j, part) * load(gain + j, part) - mean - centred(a + j, of, part) * mean_hat);
    store(d + j, v, part);
    add(bias + j, v, part);
  });
}

}  // namespace hn
