// One row of an LSTM from its products on, forward and backward: layer norm, gates, cell state.
//
//     y     = LN_y(pre^y) = (pre^y − mean) / sqrt(var + ε) ⊙ gain^y + shift^y        for the gates y of i, f, g, o
//     c_t   = σ(f) ⊙ c_{t-1} + σ(i) ⊙ m ⊙ tanh g                                     m: the dropout mask, or 1
//     h_t   = σ(o) ⊙ tanh(LN_c(c_t))
//
// Without gain and shift LN(a) = a. Rows hold the four gates one after another, each H wide.
#pragma once

#include <algorithm>
#include <cmath>

#include "vector.h"

namespace hn {

template <class T> struct Norm {
  const T *gain, *shift, *cell_gain, *cell_shift;
  T eps;
  explicit operator bool() const { return gain != nullptr; }
};

// What one thread's rows add to the gradients of the vectors; gain and shift are not touched where there is no norm.
template <class T> struct VectorGrads { T *bias, *gain, *shift, *cell_gain, *cell_shift; };

constexpr long STATS = 10;  // mean and 1/σ of the four gates and of c

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

// y of gate `gate` at j
template <class T>
inline Vec<T> normalised(const Norm<T>& norm, long H, const T* pre, const T* stats, long gate, long j, auto part) {
  const long at = gate * H + j;
  if (!norm) return load(pre + at, part);
  return centred(pre + at, stats + 2 * gate, part) * load(norm.gain + at, part) + load(norm.shift + at, part);
}

// `gates` is room for H numbers; `stats` for STATS, and may be thrown away where no backward follows. c may be c_before.
template <class T>
inline void lstm_row(long H, const Norm<T>& norm, const T* pre, const T* mask, const T* c_before, T* c, T* h, T* stats,
                     T* gates) {
  if (norm)
    for (long gate = 0; gate < 4; gate++) moments(H, pre + gate * H, norm.eps, stats + 2 * gate);
  else
    std::fill_n(stats, STATS, T(0));
  lanes<T>(H, [&](long j, auto part) {
    auto y = [&](long gate) { return normalised(norm, H, pre, stats, gate, j, part); };
    // c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ m ⊙ tanh g
    Vec<T> g = tanh<T>(y(2));
    if (mask) g *= load(mask + j, part);
    Vec<T> new_c = sigmoid<T>(y(1)) * load(c_before + j, part) + sigmoid<T>(y(0)) * g;
    store(c + j, new_c, part);
    Vec<T> o = sigmoid<T>(y(3));
    if (norm) store(gates + j, o, part);
    else store(h + j, o * tanh<T>(new_c), part);
  });
  if (!norm) return;
  moments(H, c, norm.eps, stats + 8);
  lanes<T>(H, [&](long j, auto part) {
    // h_t = σ(o) ⊙ tanh(LN_c(c_t))
    Vec<T> u = centred(c + j, stats + 8, part) * load(norm.cell_gain + j, part) + load(norm.cell_shift + j, part);
    store(h + j, load(gates + j, part) * tanh<T>(u), part);
  });
}

// From dh and dc (both of step t) to the gradient of pre, and dc of step t − 1 in place. `room` is for H numbers.
template <class T>
inline void lstm_row_backward(long H, const Norm<T>& norm, const T* pre, const T* stats, const T* mask, const T* c_before,
                              const T* c, const T* dh, T* dc, T* dpre, const VectorGrads<T>& grads, T* room) {
  auto y = [&](long gate, long j, auto part) { return normalised(norm, H, pre, stats, gate, j, part); };
  // h = σ(o) ⊙ tanh u, u = LN_c(c)
  Vec<T> sum_d{}, sum_dc{};
  lanes<T>(H, [&](long j, auto part) {
    Vec<T> hat{}, u;
    if (norm) {
      hat = centred(c + j, stats + 8, part);
      u = hat * load(norm.cell_gain + j, part) + load(norm.cell_shift + j, part);
    } else {
      u = load(c + j, part);
    }
    Vec<T> top = tanh<T>(u), o = sigmoid<T>(y(3, j, part)), d = load(dh + j, part);
    store(dpre + 3 * H + j, d * top * o * (T(1) - o), part);
    Vec<T> du = d * o * (T(1) - top * top);
    if (norm) {
      add(grads.cell_gain + j, du * hat, part);
      add(grads.cell_shift + j, du, part);
      du *= load(norm.cell_gain + j, part);
      sum_d += du;
      sum_dc += du * hat;
      store(room + j, du, part);
    } else {
      add(dc + j, du, part);
    }
  });
  const T mean_d = sum<T>(sum_d) / T(H), mean_dc = sum<T>(sum_dc) / T(H);
  // c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ m ⊙ tanh g
  lanes<T>(H, [&](long j, auto part) {
    Vec<T> d = load(dc + j, part);
    if (norm) d += stats[9] * (load(room + j, part) - mean_d - centred(c + j, stats + 8, part) * mean_dc);
    Vec<T> i = sigmoid<T>(y(0, j, part)), f = sigmoid<T>(y(1, j, part)), g = tanh<T>(y(2, j, part));
    Vec<T> m = mask ? load(mask + j, part) : Vec<T>{} + T(1);
    store(dpre + j, d * m * g * i * (T(1) - i), part);
    store(dpre + H + j, d * load(c_before + j, part) * f * (T(1) - f), part);
    store(dpre + 2 * H + j, d * i * m * (T(1) - g * g), part);
    store(dc + j, d * f, part);
  });
  for (long gate = 0; gate < 4; gate++) {
    T* d = dpre + gate * H;
    if (norm) {
      // LN: dpre = (dy ⊙ gain − mean(dy ⊙ gain) − hat ⊙ mean(dy ⊙ gain ⊙ hat)) / σ
      const T *a = pre + gate * H, *of = stats + 2 * gate, *gain = norm.gain + gate * H;
      Vec<T> first{}, second{};
      lanes<T>(H, [&](long j, auto part) {
        Vec<T> dy = load(d + j, part), hat = centred(a + j, of, part);
        add(grads.gain + gate * H + j, dy * hat, part);
        add(grads.shift + gate * H + j, dy, part);
        dy *= load(gain + j, part);
        first += dy;
        second += dy * hat;
      });
      const T mean = sum<T>(first) / T(H), mean_hat = sum<T>(second) / T(H);
      lanes<T>(H, [&](long j, auto part) {
        Vec<T> v = of[1] * (load(d + j, part) * load(gain + j, part) - mean - centred(a + j, of, part) * mean_hat);
        store(d + j, v, part);
        add(grads.bias + gate * H + j, v, part);
      });
    } else {
      lanes<T>(H, [&](long j, auto part) { add(grads.bias + gate * H + j, load(d + j, part), part); });
    }
  }
}

}  // namespace hn
