// One time step of a layer for a few rows, for generation: each matrix is read once, nothing is kept for a backward pass.
//
//     ĥ_t, ĉ_t = LSTM([x_t; h_{t-1}], ĥ_{t-1}, ĉ_{t-1})                     the hyper cell of a hyper network
//     z_a = P_a ĥ_t + p_a,  d_a = D_a z_a                                   for a of h, x, b and each block
//     pre = d_h ⊙ W_h h_{t-1} + d_x ⊙ W_x x_t + d_b + b                     (a plain network: pre = W_h h_{t-1} + W_x x_t + b)
//     the new state from pre: the cell's forward
//
// An RHN does this once for each depth, with W_x at the first alone. A thread has the same columns of every block: it scales what it
// multiplied itself. What a row's cell gives depends on the whole row where there is a layer norm, and is then made by one thread.
#pragma once

#include <type_traits>
#include <vector>

#include "cell.h"
#include "dot.h"
#include "lstm_cell.h"
#include "stepper.h"
#include "workspace.h"

namespace hn {

// The layer's fields with their types. `swapped` swaps the state and the room for the next.
template <class S> struct StepLayer {
  using T = typename S::T;
  using Big = Matrix<S>;

  StepLayer(const StepperLayer& given, bool swapped)
      : I(given.input), H(given.hidden), K(given.hyper), Z(given.embedding), depth(given.depth),
        h(in(swapped ? given.next_h : given.h)), c(in(swapped ? given.next_c : given.c)),
        hyper_h(in(swapped ? given.next_hyper_h : given.hyper_h)), hyper_c(in(swapped ? given.next_hyper_c : given.hyper_c)),
        next_h(out(swapped ? given.h : given.next_h)), next_c(out(swapped ? given.c : given.next_c)),
        next_hyper_h(out(swapped ? given.hyper_h : given.next_hyper_h)),
        next_hyper_c(out(swapped ? given.hyper_c : given.next_hyper_c)), bias(in(given.bias)), hyper_bias(in(given.hyper_bias)),
        p(in(given.p)), hyper_W_h{in(given.hyper_weight_h), K, nullptr}, P{in(given.P), K, nullptr},
        W_x(big(given.weight_x, given.weight_x_stride, given.weight_x_scale)),
        W_h(big(given.weight_h, given.weight_h_stride, given.weight_h_scale)),
        hyper_on_x(big(given.hyper_on_x, given.hyper_on_x_stride, given.hyper_on_x_scale)),
        hyper_on_h(big(given.hyper_on_h, given.hyper_on_h_stride, given.hyper_on_h_scale)),
        D(big(given.D, given.D_stride, given.D_scale)),
        row_weights{in(given.gain), in(given.shift), in(given.cell_gain), in(given.cell_shift), in(given.bias_h), T(given.eps)},
        hyper_row_weights{in(given.hyper_gain), in(given.hyper_shift), in(given.hyper_cell_gain), in(given.hyper_cell_shift),
                          nullptr, T(given.eps)} {}

  static const T* in(const void* p) { return static_cast<const T*>(p); }
  static T* out(void* p) { return static_cast<T*>(p); }
  static Big big(const void* data, long stride, const void* scale) {
    return {static_cast<const typename S::Weight*>(data), stride, in(scale)};
  }

  const long I, H, K, Z, depth;
  const T *h, *c, *hyper_h, *hyper_c;
  T *next_h, *next_c, *next_hyper_h, *next_hyper_c;
  const T *bias, *hyper_bias, *p;
  const Matrix<Own<T>> hyper_W_h, P;
  const Big W_x, W_h, hyper_on_x, hyper_on_h, D;
  const RowWeights<T> row_weights, hyper_row_weights;
};

template <template <class> class CellOf, class S> struct OneStep {
  using T = typename S::T;
  using Cell = CellOf<T>;
  using Layer = StepLayer<S>;
  static constexpr long G = Cell::blocks, A = Cell::apart;

  OneStep(const StepperCall& call, int threads) : B(call.batch), swapped(call.swapped), workspace(static_cast<T*>(call.workspace)) {
    const auto* given = static_cast<const StepperLayer*>(call.layer);
    for (long l = 0; l < call.layers; l++) layers.emplace_back(given[l], swapped);
    long I = 0;
    for (const Layer& layer : layers) I = std::max(I, layer.I);
    const Layer& any = layers[0];
    const long H = any.H, K = any.K, Z = any.Z, L = any.depth;
    of_x = workspace.take(B * G * H);
    of_h = workspace.take(B * G * H);
    scales = workspace.take(K ? B * 3 * G * H : 0);
    pre = workspace.take(B * (G + A) * H);
    hyper_pre = workspace.take(B * 4 * K);
    for (T*& to : s) to = workspace.take(L > 1 ? B * H : 0);
    for (int t = 0; t < threads; t++) {
      Room own{};
      own.hyper_h = workspace.take(B * K);
      own.hyper_c = workspace.take(B * K);
      own.z = workspace.take(B * blocks_z(any) * Z);
      own.cell = workspace.take(std::max(H, K));
      own.stats = workspace.take(std::max(Cell::stats, LSTMCell<T>::stats));
      if constexpr (std::is_same_v<S, Int8>) {
        own.x_numbers = {rounded(B * I), workspace.take(B)};
        own.h_numbers = {rounded(B * H), workspace.take(B)};
        own.z_numbers = {rounded(B * blocks_z(any) * Z), workspace.take(B)};
      }
      rooms.push_back(own);
    }
  }

  // Room for rounded vectors and their scales.
  struct Numbers { typename S::Number* numbers; T* scales; };
  // What a thread has for itself.
  struct Room {
    T *hyper_h, *hyper_c, *z, *cell, *stats;
    Numbers x_numbers, h_numbers, z_numbers;
  };
  // A thread's columns of each block, and for these, row by row: W_x x, W_h h, the scales, and `pre` where it needs no whole rows.
  struct Columns {
    long begin, n;
    T *of_x, *of_h, *scales, *pre;
  };

  const long B;
  const bool swapped;
  Workspace<T> workspace;
  std::vector<Layer> layers;
  std::vector<Room> rooms;
  T *of_x, *of_h, *scales, *pre, *hyper_pre, *s[2];

  // Embeddings z of a row: for each block of W_h at each depth, of W_x, and of b at each depth.
  static long blocks_z(const Layer& layer) { return layer.K ? G * (2 * layer.depth + 1) : 0; }

  typename S::Number* rounded(long n) {
    return reinterpret_cast<typename S::Number*>(workspace.take((n + PADDING) / 2 + 1));
  }

  void run(const Thread& thread, const T* x, T* output) const {
    for (const Layer& layer : layers) {
      layer_step(thread, layer, x, &layer == &layers.back() ? output : nullptr);
      x = layer.next_h;
      if (&layer != &layers.back()) thread.wait();
    }
  }

  Columns own_columns(const Thread& thread, long H) const {
    const Range own = thread.share(H);
    const long at = B * G * own.begin;
    return {own.begin, own.end - own.begin, of_x + at, of_h + at, scales + 3 * at, pre + B * (G + A) * own.begin};
  }

  void layer_step(const Thread& thread, const Layer& layer, const T* x, T* output) const {
    const Room& own = rooms[thread.index];
    const Columns columns = own_columns(thread, layer.H);
    const bool whole_rows = layer.row_weights.norm();
    Vectors<S> z{};
    for (long l = 0; l < layer.depth; l++) {
      const T* before = l == 0 ? layer.h : s[(l - 1) % 2];
      T* after = l == layer.depth - 1 ? layer.next_h : s[l % 2];
      const Vectors<S> h = vectors<S>(B, layer.H, before, layer.H, own.h_numbers.numbers, own.h_numbers.scales);
      products(thread, layer, own, columns, l, x, h);
      if (layer.K && l == 0) {
        thread.wait();
        // Every thread makes ĥ and z for itself, which is less work than waiting.
        hyper_cell(thread, layer, own);
        const long width = blocks_z(layer) * layer.Z;
        z = vectors<S>(B, width, own.z, width, own.z_numbers.numbers, own.z_numbers.scales);
      }
      if (layer.K) make_scales(layer, columns, l, z);
      sums(layer, columns, l, whole_rows);
      if (whole_rows) thread.wait();
      cells(thread, layer, own, columns, before, after, l == layer.depth - 1 ? output : nullptr);
      if (l < layer.depth - 1) thread.wait();
    }
  }

  // W_x x, W_h h and the hyper cell's pre, in this order or, where `swapped`, in the other; no bit depends on which.
  void products(const Thread& thread, const Layer& layer, const Room& own, const Columns& columns, long l, const T* x,
                const Vectors<S>& h) const {
    const long n = columns.n;
    auto blocks = [&](const Matrix<S>& W, long k, const Vectors<S>& given, T* to) {
      for (long i = 0; i < G; i++) {
        const long block = swapped ? G - 1 - i : i;
        some_at_a_time({0, n}, swapped, [&](Range rows) {
          dots(B, rows, W.from(block * layer.H + columns.begin), k, given, to + block * n, G * n, true);
        });
      }
    };
    auto on_h = [&] { blocks(layer.W_h.from(l * G * layer.H), layer.H, h, columns.of_h); };
    if (l > 0) return on_h();
    const Vectors<S> given_x = vectors<S>(B, layer.I, x, layer.I, own.x_numbers.numbers, own.x_numbers.scales);
    auto on_x = [&] { blocks(layer.W_x, layer.I, given_x, columns.of_x); };
    auto hyper = [&] { if (layer.K) hyper_products(thread, layer, given_x, h); };
    if (swapped) {
      hyper();
      on_h();
      on_x();
    } else {
      on_x();
      on_h();
      hyper();
    }
  }

  void hyper_products(const Thread& thread, const Layer& layer, const Vectors<S>& x, const Vectors<S>& h) const {
    const long K = layer.K;
    const Range own = thread.share(4 * K);
    some_at_a_time(own, swapped, [&](Range rows) {
      dots(B, rows, layer.hyper_on_x, layer.I, x, hyper_pre, 4 * K, true);
      dots(B, rows, layer.hyper_on_h, layer.H, h, hyper_pre, 4 * K, false);
      dots(B, rows, layer.hyper_W_h, K, Vectors<Own<T>>{layer.hyper_h, K, nullptr}, hyper_pre, 4 * K, false);
    });
    for (long r = 0; r < B; r++) add_row(own.end - own.begin, layer.hyper_bias + own.begin, hyper_pre + r * 4 * K + own.begin);
  }

  static void add_row(long n, const T* from, T* to) {
    lanes<T>(n, [&](long j, auto part) { add(to + j, load(from + j, part), part); });
  }

  // ĥ, ĉ and z of all rows
  void hyper_cell(const Thread& thread, const Layer& layer, const Room& own) const {
    const long K = layer.K, width = blocks_z(layer) * layer.Z, shifted = width - layer.depth * G * layer.Z;
    const LSTMCell<T> cell{K, layer.hyper_row_weights};
    for (long r = 0; r < B; r++)
      cell.forward({hyper_pre + r * 4 * K, nullptr, nullptr, nullptr, layer.hyper_c + r * K, own.hyper_h + r * K,
                    own.hyper_c + r * K, own.stats, own.cell});
    dots(B, {0, width}, layer.P, K, Vectors<Own<T>>{own.hyper_h, K, nullptr}, own.z, width, true);
    for (long r = 0; r < B; r++) add_row(shifted, layer.p, own.z + r * width);
    if (thread.index > 0) return;
    std::copy_n(own.hyper_h, B * K, layer.next_hyper_h);
    std::copy_n(own.hyper_c, B * K, layer.next_hyper_c);
  }

  // d_h, d_x and d_b of depth l, in this thread's columns; d_x at the first alone.
  void make_scales(const Layer& layer, const Columns& columns, long l, const Vectors<S>& z) const {
    const long n = columns.n, L = layer.depth;
    const long first[3] = {l * G, L * G, (L + 1 + l) * G};
    for (long a = 0; a < 3; a++)
      for (long i = 0; i < G && !(a == 1 && l > 0); i++) {
        const long block = first[a] + i;
        dots(B, {0, n}, layer.D.from(block * layer.H + columns.begin), layer.Z, z.from(0, block * layer.Z),
             columns.scales + (a * G + i) * n, 3 * G * n, true);
      }
  }

  // pre, and what is apart: for all threads to read where a cell needs whole rows, else for this one.
  void sums(const Layer& layer, const Columns& columns, long l, bool whole_rows) const {
    const long n = columns.n, width = whole_rows ? layer.H : n;
    T* to = whole_rows ? pre + columns.begin : columns.pre;
    for (long r = 0; r < B; r++)
      for (long i = 0; i < G; i++) {
        const T *wx = columns.of_x + (r * G + i) * n, *wh = columns.of_h + (r * G + i) * n, *d = columns.scales + (r * 3 * G + i) * n;
        const T* b = layer.bias ? layer.bias + (l * G + i) * layer.H + columns.begin : nullptr;
        T *sum = to + (r * (G + A) + i) * width, *apart = sum + A * width;
        const bool is_apart = i >= G - A;
        lanes<T>(n, [&](long j, auto part) {
          Vec<T> h = load(wh + j, part), x{};
          if (l == 0) x = load(wx + j, part);
          if (layer.K) {
            h *= load(d + j, part);
            if (l == 0) x *= load(d + G * n + j, part);
            x += load(d + 2 * G * n + j, part);
          }
          if (b) x += load(b + j, part);
          if (is_apart) store(apart + j, h, part);
          store(sum + j, is_apart ? x : h + x, part);
        });
      }
  }

  // The new state: of some rows, or of all in this thread's columns.
  void cells(const Thread& thread, const Layer& layer, const Room& own, const Columns& columns, const T* before, T* after,
             T* output) const {
    const long H = layer.H;
    const bool whole_rows = layer.row_weights.norm();
    const Range rows = whole_rows ? thread.share(B) : Range{0, B};
    const long first = whole_rows ? 0 : columns.begin, n = whole_rows ? H : columns.n;
    RowWeights<T> weights = layer.row_weights;
    if (weights.bias_h) weights.bias_h += first;
    const Cell cell{n, weights};
    for (long r = rows.begin; r < rows.end; r++) {
      const T* sums = (whole_rows ? pre : columns.pre) + r * (G + A) * n;
      const long at = r * H + first;
      cell.forward({sums, sums + G * n, nullptr, before + at, layer.c ? layer.c + at : nullptr, after + at,
                    layer.next_c ? layer.next_c + at : nullptr, own.stats, own.cell});
      if (output) std::copy_n(after + at, n, output + at);
    }
  }
};

}  // namespace hn
