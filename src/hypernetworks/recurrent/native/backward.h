// A layer backward.
//
// Each level of a step: from dh to the gradients of all products, each thread some rows; a barrier; from there to the dh before,
// each thread some columns; a barrier. What a weight's gradient needs is kept for some hundred rows, then multiplied at once. The
// scales, pre and the gates are computed again from z and the products, which are kept.
#pragma once

#include "backward_room.h"

namespace hn {

// Σ over threads of n numbers that are `stride` apart, into to[i], each thread some of them.
template <class T, class To> void gather(const Thread& thread, const T* parts, long stride, long n, To to) {
  const Range own = thread.share(n);
  for (long i = own.begin; i < own.end; i++) {
    T total = 0;
    for (int t = 0; t < thread.count; t++) total += parts[t * stride + i];
    *to(i) = total;
  }
}

template <class T, class Cell> struct Backward : Layer<T, Cell> {
  using Base = Layer<T, Cell>;
  using Base::G, Base::A, Base::call, Base::I, Base::H, Base::L, Base::K, Base::Z, Base::B, Base::sequence, Base::in, Base::out,
      Base::pre_width, Base::wh_width, Base::z_width, Base::hyper, Base::block, Base::scales;

  Backward(const LayerCall& call, int threads) : Base(call), pieces(sequence.pieces(DEPTH)), workspace(out(call.workspace)) {
    W_h = workspace.take(packed<T>(pre_width(), H));
    deeper_W_h = workspace.take((L - 1) * packed<T>(G * H, H));
    hyper_W_h = workspace.take(packed<T>(4 * K, K));
    W_x = call.need_input ? workspace.take(packed<T>(pre_width(), I)) : nullptr;
    P = workspace.take(packed<T>(z_width(), K));
    D = workspace.take(hyper() ? Base::z_blocks() * packed<T>(Z, H) : 0);
    grads = workspace.take(most_rows(pieces) * width());
    dh = workspace.take(B * H);
    dc = workspace.take(B * H * Cell::has_c);
    dhyper_h = workspace.take(B * K);
    dhyper_c = workspace.take(B * K);
    T* shared = workspace.take(std::max(packed<T>(DEPTH, I) + packed<T>(DEPTH, H), packed<T>(DEPTH, K)));
    const long before = workspace.used();
    for (int t = 0; t < threads; t++) {
      room.push_back(take_room<T>(*this, workspace, shared));
      stride = (workspace.used() - before) / (t + 1);
    }
  }

  const std::vector<Piece> pieces;
  Workspace<T> workspace;
  T *W_h, *deeper_W_h, *hyper_W_h, *W_x, *P, *D, *grads, *dh, *dc, *dhyper_h, *dhyper_c;
  std::vector<BackwardRoom<T>> room;
  long stride = 0;  // from a thread's room to the next one's

  // A row of gradients with a hyper cell: of W_h h (G·H), of the hyper cell's pre (4K), of W_x x (G·H), of z, and of R^l s (G·H) for
  // each deeper level. Without one: of the part of h apart (A·H), of pre (G·H); the first G·H numbers are then those of W_h h, its
  // blocks apart first.
  long width() const { return hyper() ? from_deeper(L) : (A + G) * H; }
  long from_x() const { return (hyper() ? G : A) * H; }
  long from_z() const { return 2 * G * H + 4 * K; }
  long from_deeper(long level) const { return from_z() + z_width() + (level - 1) * G * H; }
  long from_h(long level) const { return level == 0 ? 0 : from_deeper(level); }
  // The row of W_h whose product has number c of W_h h's gradients.
  long h_row(long c) const { return hyper() ? c : (c + (G - A) * H) % (G * H); }

  void run(const Thread& thread) {
    BackwardRoom<T>& own = room[thread.index];
    pack(thread);
    begin(thread, own);
    bool first = true;
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); piece++, first = false) {
      thread.wait();
      for (long s = piece->end - 1; s >= piece->begin; s--) {
        const Step& step = sequence.order[s];
        T* step_grads = grads + (step.first - piece->first) * width();
        for (long level = L - 1; level >= 0; level--) {
          rows(thread, own, step, level, step_grads);
          thread.wait();
          products(thread, step, level, other_end_each(s), step_grads);
          thread.wait();
        }
      }
      if (call.need_input) inputs(thread, *piece);
      if (call.need_weights) weights(thread, own, *piece, first);
    }
    finish(thread, own);
  }

  void pack(const Thread& thread) const {
    pack_rows(thread, W_h, pre_width(), H,
              [&](long c) { return c < G * H ? Base::W_h + h_row(c) * H : this->hyper_W_h_on_h(c - G * H); });
    for (long l = 1; l < L; l++)
      pack_rows(thread, deeper_W_h + (l - 1) * packed<T>(G * H, H), G * H, H,
                [&](long c) { return Base::W_h + (l * G * H + c) * H; });
    if (W_x)
      pack_rows(thread, W_x, pre_width(), I,
                [&](long c) { return c < 4 * K ? Base::hyper_W_x + c * (I + H) : Base::W_x + (c - 4 * K) * I; });
    if (!hyper()) return;
    pack_rows(thread, hyper_W_h, 4 * K, K, [&](long c) { return Base::hyper_W_h + c * K; });
    pack_rows(thread, P, z_width(), K, [&](long c) { return Base::P + c * K; });
    for (long a = 0; a < Base::z_blocks(); a++)
      pack_columns(thread, D + a * packed<T>(Z, H), Z, H, [&](long j) { return Base::D + (a * H + j) * Z; }, 0, Z);
  }

  void begin(const Thread& thread, BackwardRoom<T>& own) const {
    const Range rows = thread.share(B);
    const long first = rows.begin, count = rows.end - rows.begin;
    // a gradient that was not given is zero
    auto start = [&](const void* given, T* to, long n) {
      if (given) std::copy_n(in(given) + first * n, count * n, to + first * n);
      else std::fill_n(to + first * n, count * n, T(0));
    };
    start(call.grad_h, dh, H);
    if (Cell::has_c) start(call.grad_c, dc, H);
    start(call.grad_hyper_h, dhyper_h, K);
    start(call.grad_hyper_c, dhyper_c, K);
    zero(own, *this);
  }

  // From dh to the gradients of all products of a level.
  void rows(const Thread& thread, BackwardRoom<T>& own, const Step& step, long level, T* grads) const {
    const Range range = thread.share(step.rows);
    for (long first = range.begin; first < range.end; first += SOME) {
      const long count = std::min(SOME, range.end - first), row = step.first + first;
      T* to = grads + first * width();
      const T *pre = in(call.saved_pre) + row * pre_width(), *wh = in(call.saved_wh) + row * wh_width();
      if (!hyper()) {
        for (long r = 0; r < count; r++)
          main_row(own, step, first + r, level, pre + r * pre_width(), wh + r * wh_width(), to + r * width() + A * H,
                   to + r * width());
        continue;
      }
      auto keep = [&](long block, long r, long j, Vec<T> d, auto part) {
        store(own.scales + (r * 2 * G + block) * H + j, d, part);
      };
      ScaledSum<T, Cell, decltype(keep)>{*this, D, in(call.saved_z) + row * z_width(), pre, wh, own.pre, own.apart,
                                         keep}(level, count);
      for (long r = 0; r < count; r++)
        main_row(own, step, first + r, level, own.pre + r * G * H, own.apart + r * A * H, own.dpre + r * G * H,
                 own.dapart + r * A * H);
      scaled_rows(own, step, first, count, level, to);
      if (level == 0) hyper_rows(own, step, first, count, to);
    }
  }

  void main_row(BackwardRoom<T>& own, const Step& step, long r, long level, const T* pre, const T* apart, T* dpre, T* dapart) const {
    const long row = step.first + r;
    const T* given = level == L - 1 && call.grad_output ? in(call.grad_output) + row * H : nullptr;
    lanes<T>(H, [&](long j, auto part) {
      store(own.dh + j, load(dh + r * H + j, part) + (given ? load(given + j, part) : Vec<T>{}), part);
    });
    VectorGrads<T> of_level = own.cell;
    of_level.bias += level * G * H;
    this->cell.backward({.pre = pre, .apart = apart, .mask = this->mask_row(row, level),
                         .h_before = Cell::adds_h ? this->h_before(step, r, level) : nullptr, .c_before = this->c_before(step, r),
                         .c = in(call.saved_c) + (Cell::has_c ? row * H : 0), .stats = in(call.saved_stats) + row * Base::STATS,
                         .dh = own.dh, .dc = dc + r * H, .dpre = dpre, .dapart = dapart, .dh_before = dh + r * H, .room = own.row},
                        of_level);
  }

  // From dpre of some rows at a level through the scales to z.
  void scaled_rows(BackwardRoom<T>& own, const Step& step, long first, long count, long level, T* grads) const {
    Pending<T>& pending = own.pending[level];
    if (pending.rows + count > PENDING) sum_pending(own, level);
    const long blocks = scales(level) * G;
    for (long r = 0; r < count; r++) {
      const long row = step.first + first + r;
      const T *wx = in(call.saved_pre) + row * pre_width(), *wh = in(call.saved_wh) + row * wh_width() + level * G * H;
      const T *d = own.scales + r * 2 * G * H, *dpre = own.dpre + r * G * H, *dapart = own.dapart + r * A * H;
      T *of_h = grads + r * width() + from_h(level), *of_x = grads + r * width() + G * H + 4 * K;
      T* dd = pending.dd + (pending.rows + r) * blocks * H;
      lanes<T>(G * H, [&](long j, auto part) {
        const Vec<T> v = load(dpre + j, part);
        store(dd + G * H + j, v, part);                              // of d_b:    dpre
        if (A == 0 || j < (G - A) * H) {
          store(of_h + j, v * load(d + j, part), part);              // of W_h h:  dpre ⊙ d_h
          store(dd + j, v * load(wh + j, part), part);               // of d_h:    dpre ⊙ W_h h
        }
        if (level > 0) return;
        store(of_x + j, v * load(d + G * H + j, part), part);        // of W_x x:  dpre ⊙ d_x
        store(dd + 2 * G * H + j, v * load(wx + j, part), part);     // of d_x:    dpre ⊙ W_x x
      });
      for (long k = (G - A) * H; k < G * H; k += H)
        lanes<T>(H, [&](long i, auto part) {
          const Vec<T> v = load(dapart + k - (G - A) * H + i, part);
          store(of_h + k + i, v * load(d + k + i, part), part);      // of a block apart: dapart in place of dpre
          store(dd + k + i, v * load(wh + k + i, part), part);
        });
    }
    for (long of = 0; of < scales(level); of++) {
      const long a = block(level, of, 0), here = of * G;  // the first of the gates, whose blocks follow one another
      // dz_a = D_aᵀ dd_a
      for (long gate = 0; gate < G; gate++)
        product_transposed(count, pending.dd + (pending.rows * blocks + here + gate) * H, blocks * H,
                           D + (a + gate) * packed<T>(Z, H), Z, H, grads + from_z() + (a + gate) * Z, width());
      // z is kept with dd until both are summed into dD
      for (long r = 0; r < count; r++)
        std::copy_n(in(call.saved_z) + (step.first + first + r) * z_width() + a * Z, G * Z,
                    pending.z + ((pending.rows + r) * blocks + here) * Z);
    }
    pending.rows += count;
  }

  // From dz of some rows to ĥ and the hyper cell's pre.
  void hyper_rows(BackwardRoom<T>& own, const Step& step, long first, long count, T* grads) const {
    // dĥ_t = what was given + Σ_a P_aᵀ dz_a
    std::copy_n(dhyper_h + first * K, count * K, own.dhyper_h);
    product_to(count, grads + from_z(), width(), P, z_width(), K, {0, panels<T>(K)}, own.dhyper_h, K, false);
    for (long r = 0; r < count; r++) {
      const long row = step.first + first + r;
      const T* dz = grads + r * width() + from_z();
      lanes<T>(Base::with_p() * Z, [&](long j, auto part) { add(own.dp + j, load(dz + j, part), part); });
      const T* c_before = step.before_row(first + r, in(call.saved_hyper_c), in(call.hyper_c0), K);
      this->hyper_cell.backward(
          {.pre = in(call.saved_pre) + row * pre_width() + G * H, .apart = nullptr, .mask = nullptr, .h_before = nullptr,
           .c_before = c_before, .c = in(call.saved_hyper_c) + row * K,
           .stats = in(call.saved_hyper_stats) + row * Base::HYPER_STATS, .dh = own.dhyper_h + r * K,
           .dc = dhyper_c + (first + r) * K, .dpre = grads + r * width() + G * H, .dapart = nullptr, .dh_before = nullptr,
           .room = own.row},
          own.hyper_cell);
    }
  }

  // dD_aᵀ += z_aᵀ dd_a over the rows of a level that wait.
  void sum_pending(BackwardRoom<T>& own, long level) const {
    Pending<T>& pending = own.pending[level];
    alignas(64) T sums[MR * NR<T>];
    const long tiles = (Z + MR - 1) / MR, blocks = scales(level) * G;
    for (long here = 0; here < blocks; here++) {
      T* dD = own.dD + block(level, here / G, here % G) * Z * H;
      for (long column = 0; column < H; column += NR<T>)
        for (long t = 0; t < tiles; t++) {
          const long first = Z * t / tiles, rows = Z * (t + 1) / tiles - first;
          tile_of<T, 1>(rows, pending.z + here * Z + first, 1, blocks * Z, pending.dd + here * H + column, blocks * H, 0,
                        pending.rows, {}, sums);
          for (long r = 0; r < rows; r++)
            lanes<T>(std::min(NR<T>, H - column), [&](long j, auto part) {
              add(dD + (first + r) * H + column + j, load(sums + r * NR<T> + j), part);
            });
        }
    }
    pending.rows = 0;
  }

  // dh before = R^lᵀ (dpre ⊙ d_h), at level 0 W_hᵀ (dpre ⊙ d_h) + Ŵ_hᵀ dhyper_pre, to what h adds directly;  dĥ_{t-1} = Ŵ_ĥᵀ dhyper_pre
  void products(const Thread& thread, const Step& step, long level, From from, const T* grads) const {
    const T* W = level == 0 ? W_h : deeper_W_h + (level - 1) * packed<T>(G * H, H);
    product_to(step.rows, grads + from_h(level), width(), W, level == 0 ? pre_width() : G * H, H, thread.share(panels<T>(H)), dh, H,
               !Cell::adds_h, from);
    if (hyper() && level == 0)
      product_to(step.rows, grads + G * H, width(), hyper_W_h, 4 * K, K, thread.share(panels<T>(K)), dhyper_h, K, true);
  }

  // dx = W_xᵀ (dpre ⊙ d_x) + Ŵ_xᵀ dhyper_pre for all rows of a piece.
  void inputs(const Thread& thread, const Piece& piece) const {
    product_to(piece.rows, grads + from_x(), width(), W_x, pre_width(), I, thread.share(panels<T>(I)),
               out(call.grad_x) + piece.first * I, I, true);
  }

  // The matrices' gradients: rows of gradients times what the matrices were multiplied with.
  void weights(const Thread& thread, const BackwardRoom<T>& own, const Piece& piece, bool first) const {
    auto outer = [&](long from, long m, std::initializer_list<Factor<T>> factors) {
      add_outer(thread, m, piece.rows, grads + from, width(), first, own.outer, factors);
    };
    // Where the rows of a factor are; f(step, row within it) finds those of a state.
    auto table = [](long n, auto f) {
      std::vector<decltype(f(0))> places(n);
      for (long i = 0; i < n; i++) places[i] = f(i);
      return places;
    };
    auto states = [&](auto f) {
      return table(piece.rows, [&](long i) {
        const Step& step = sequence.step_of(piece.first + i);
        return f(step, piece.first + i - step.first);
      });
    };
    auto h_rows = [&](long level) { return states([&](const Step& step, long r) { return this->h_before(step, r, level); }); };
    const auto x = table(piece.rows, [&](long i) { return this->x + (piece.first + i) * I; });
    const auto h = h_rows(0);
    const auto of_x = table(pre_width(), [&](long c) {
      return c < 4 * K ? hyper_grad_row(c) : out(call.grad_weight_x) + (c - 4 * K) * I;
    });
    const auto of_h = table(pre_width(), [&](long c) {
      return c < G * H ? out(call.grad_weight_h) + h_row(c) * H : hyper_grad_row(c - G * H) + I;
    });
    const Factor<T> factor_x{I, x.data(), of_x.data()}, factor_h{H, h.data(), of_h.data()};
    if (from_x() == 0) {
      outer(0, G * H, {factor_h, factor_x});
      return;
    }
    outer(0, pre_width(), {factor_h});
    outer(from_x(), pre_width(), {factor_x});
    for (long l = 1; l < L; l++) {
      const auto s = h_rows(l);
      const auto of_s = table(G * H, [&](long c) { return out(call.grad_weight_h) + (l * G * H + c) * H; });
      outer(from_h(l), G * H, {{H, s.data(), of_s.data()}});
    }
    if (!hyper()) return;
    const auto hyper_h = states([&](const Step& step, long r) {
      return step.before_row(r, in(call.saved_hyper_h), in(call.hyper_h0), K);
    });
    const auto of_hyper_h = table(4 * K, [&](long c) { return out(call.grad_hyper_weight_h) + c * K; });
    outer(G * H, 4 * K, {{K, hyper_h.data(), of_hyper_h.data()}});
    const auto new_hyper_h = table(piece.rows, [&](long i) { return in(call.saved_hyper_h) + (piece.first + i) * K; });
    const auto of_P = table(z_width(), [&](long c) { return out(call.grad_P) + c * K; });
    outer(from_z(), z_width(), {{K, new_hyper_h.data(), of_P.data()}});
  }

  T* hyper_grad_row(long c) const { return out(call.grad_hyper_weight_x) + c * (I + H); }

  // The state's gradients, and the vectors', which each thread has summed for its rows.
  void finish(const Thread& thread, BackwardRoom<T>& own) const {
    for (long l = 0; l < long(own.pending.size()); l++)
      if (own.pending[l].rows) sum_pending(own, l);
    thread.wait();
    const Range rows = thread.share(B);
    for (long r = rows.begin; r < rows.end; r++) {
      std::copy_n(dh + r * H, H, out(call.grad_h0) + r * H);
      if (Cell::has_c) std::copy_n(dc + r * H, H, out(call.grad_c0) + r * H);
      if (!hyper()) continue;
      std::copy_n(dhyper_h + r * K, K, out(call.grad_hyper_h0) + r * K);
      std::copy_n(dhyper_c + r * K, K, out(call.grad_hyper_c0) + r * K);
    }
    auto vector = [&](const T* parts, void* to, long n) {
      if (to) gather(thread, parts, stride, n, [&](long i) { return out(to) + i; });
    };
    const VectorGrads<T>&cell = room[0].cell, &hyper_cell = room[0].hyper_cell;
    vector(cell.bias, call.grad_bias, L * G * H);
    vector(cell.bias_h, call.grad_bias_h, A * H);
    vector(cell.gain, call.grad_gain, G * H);
    vector(cell.shift, call.grad_shift, G * H);
    vector(cell.cell_gain, call.grad_cell_gain, H);
    vector(cell.cell_shift, call.grad_cell_shift, H);
    if (!hyper()) return;
    vector(hyper_cell.bias, call.grad_hyper_bias, 4 * K);
    vector(hyper_cell.gain, call.grad_hyper_gain, 4 * K);
    vector(hyper_cell.shift, call.grad_hyper_shift, 4 * K);
    vector(hyper_cell.cell_gain, call.grad_hyper_cell_gain, K);
    vector(hyper_cell.cell_shift, call.grad_hyper_cell_shift, K);
    vector(room[0].dp, call.grad_p, Base::with_p() * Z);
    // (blocks, Z, H) -> (blocks, H, Z)
    if (call.grad_D) gather(thread, room[0].dD, stride, z_width() * H, [&](long i) {
      return out(call.grad_D) + (i / (Z * H) * H + i % H) * Z + i / H % Z;
    });
  }
};

}  // namespace hn
