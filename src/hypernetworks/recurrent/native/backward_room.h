// The memory of one thread in a backward pass.
#pragma once

#include "layer.h"
#include "weight_gradients.h"
#include "workspace.h"

namespace hn {

constexpr long PENDING = 24;  // rows whose share of D's gradient is summed at once

// The gradients of the scales of one level (PENDING, blocks·H), and z (PENDING, blocks·Z), of rows that are not summed into dD yet.
template <class T> struct Pending {
  T *dd, *z;
  long rows;
};

// A thread's room. `scales` holds d_h and d_x of some rows (SOME, 2·G·H); dD is (blocks, Z, H).
template <class T> struct BackwardRoom {
  T *scales, *pre, *apart, *dpre, *dapart, *dh, *dhyper_h, *row, *dD, *dp;
  VectorGrads<T> cell, hyper_cell;
  OuterSpace<T> outer;
  std::vector<Pending<T>> pending;  // of each level
};

template <class T, class Cell> BackwardRoom<T> take_room(const Layer<T, Cell>& layer, Workspace<T>& workspace, T* shared) {
  const long G = Cell::blocks, A = Cell::apart, H = layer.H, K = layer.K, Z = layer.Z, of_hyper = layer.hyper();
  auto take = [&](long n) { return workspace.take(n); };
  BackwardRoom<T> r;
  r.scales = take(SOME * 2 * G * H * of_hyper);
  r.pre = take(SOME * G * H * of_hyper);
  r.apart = take(SOME * A * H * of_hyper);
  r.dpre = take(SOME * G * H * of_hyper);
  r.dapart = take(SOME * A * H * of_hyper);
  r.dh = take(H);
  r.dhyper_h = take(SOME * K);
  r.row = take(std::max(H, K));
  for (long l = 0; l < layer.L * of_hyper; l++) {
    const long blocks = layer.scales(l) * G;
    r.pending.push_back({take(PENDING * blocks * H), take(PENDING * blocks * Z), 0});
  }
  r.outer = {shared, take(outer_block<T>)};
  r.cell = {take(layer.L * G * H), take(A * H), take(G * H), take(G * H), take(H), take(H)};
  r.hyper_cell = {take(4 * K), take(0), take(4 * K), take(4 * K), take(K), take(K)};
  r.dD = take(layer.z_width() * H);
  r.dp = take(layer.with_p() * Z);
  return r;
}

// All sums begin at zero.
template <class T, class Cell> void zero(const BackwardRoom<T>& room, const Layer<T, Cell>& layer) {
  auto vectors = [](const VectorGrads<T>& grads, long biases, long apart, long blocks, long n) {
    std::fill_n(grads.bias, biases * n, T(0));
    std::fill_n(grads.bias_h, apart * n, T(0));
    for (T* p : {grads.gain, grads.shift}) std::fill_n(p, blocks * n, T(0));
    for (T* p : {grads.cell_gain, grads.cell_shift}) std::fill_n(p, n, T(0));
  };
  vectors(room.cell, layer.L * Cell::blocks, Cell::apart, Cell::blocks, layer.H);
  vectors(room.hyper_cell, 4, 0, 4, layer.K);
  std::fill_n(room.dD, layer.z_width() * layer.H, T(0));
  std::fill_n(room.dp, layer.with_p() * layer.Z, T(0));
}

}  // namespace hn
